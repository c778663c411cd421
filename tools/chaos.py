"""Kill workers and whole backends under load, and look whether a code was accepted twice. ``make chaos`` calls this.

``make chaos ROUNDS=100`` takes its time; ``.venv/bin/python tools/chaos.py --rounds 3 postgres`` does not. Every server
that is killed here was started for it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import backends
from serving import chaos


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how often each backend is killed (10)")
    parser.add_argument("setups", nargs="*", metavar="SETUP", help=f"{', '.join(chaos.SETUPS)}; all if none is named")
    options = parser.parse_args()
    if unknown := set(options.setups) - set(chaos.SETUPS):
        parser.error(f"no such setup: {', '.join(sorted(unknown))}. There are {', '.join(chaos.SETUPS)}.")
    if options.rounds < 1:
        parser.error("at least one round: nothing is shown if nothing is killed")
    failed = False
    for name in options.setups or chaos.SETUPS:
        print(f"==> {name}: {options.rounds} rounds", flush=True)
        try:
            report = chaos.run(name, options.rounds)
        except backends.Missing as error:
            print(f"NOT RUN: {error}")
            failed = True
            continue
        print(report)
        for fault in report.faults:
            print(f"FAULT: {fault}")
        failed |= bool(report.faults)
    print("chaos: failed" if failed else "chaos: nothing was lost, and nothing accepted twice, where that is promised")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
