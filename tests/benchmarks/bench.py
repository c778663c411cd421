"""``make bench``: every section in a process of its own, one table, and the exit status 1 if a gate is missed.

    make bench                                       everything, in one to three minutes
    make bench ONLY=services,drf                     these sections; the others keep their last figures in the report
    make bench PLOT=docs/images/performance.svg      and write the plot there too

Beside the table there are build/reports/bench.json, .txt and .svg, of all sections measured so far.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import django

from benchmarks.measuring import ROOT, Row, verdict
from benchmarks.plot import plot

#: Each is the module of that name, in the order of the table.
SECTIONS = {
    "core": "The C++ core, and OpenSSL alone",
    "services": "The services, and the pure-Python algorithm",
    "rings": "Rings of several keys",
    "threads": "Threads",
    "drf": "A DRF view",
    "memory": "Size and memory",
    "ledgers": "Each ledger, one client",
    "redis": "The Redis ledger, and its commands alone",
    "postgres": "The database ledger, and its SQL alone",
}
REPORTS = ROOT / "build" / "reports"


def machine() -> str:
    """Return one line about where this runs."""
    try:
        found = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = []
    cpu = f"{len(found)} x {found[0]}" if found else platform.processor() or platform.machine()
    return f"{cpu}; {platform.system()}; Python {platform.python_version()}, Django {django.__version__}"


def measure(section: str) -> dict[str, Any] | None:
    """Run *section* and return what it reports; None if it failed, and has said why."""
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{section}"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"machine": machine(), "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC", **found}


def microseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} us" if value < 100 else f"{value:.0f} us"


def line(one: Row) -> str:
    """Return *one* as a line of the table."""
    value = "" if one["value"] is None else f"{one['value']:.{0 if one['unit'] == ' B' else 2}f}{one['unit']}"
    sign = "" if one["gate"] is None else "<=" if one["aim"] < one["gate"] else ">="
    gate, aim = (f"{sign}{one[name]}{one['unit'].strip()}" if sign else "" for name in ("gate", "aim"))
    cells = f"{microseconds(one['ours']):>10}{microseconds(one['other']):>11}{value:>11}{gate:>9}{aim:>9}"
    return f"{one['text']:50}{cells}  {verdict(one)}".rstrip()


def table(section: str, found: dict[str, Any]) -> str:
    """Return what was found for *section* as text."""
    head = f"{SECTIONS[section]:50}{'ours':>10}{'other':>11}{'ratio':>11}{'gate':>9}{'aim':>9}"
    absent = [f"NOT MEASURED: {name}: {reason}" for name, reason in found["missing"].items()]
    return "\n".join([head, *map(line, found["rows"]), *absent]) + "\n"


def save(report: dict[str, Any], destination: Path | None) -> None:
    """Write *report* as JSON, text and picture."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "bench.json").write_text(json.dumps(report, indent=2))
    machines: dict[str, list[str]] = {}
    for section, found in report.items():
        machines.setdefault(f"{found['machine']}; {found['date'][:10]}", []).append(table(section, found))
    (REPORTS / "bench.txt").write_text("\n".join(f"{name}\n\n" + "\n".join(of) for name, of in machines.items()))
    picture = plot(report)
    for path in (REPORTS / "bench.svg", destination):
        if path is not None and picture is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(picture)
    if destination is not None and picture is None:
        print("bench: no plot yet; it needs the sections services and ledgers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help=f"sections, separated by commas: {','.join(SECTIONS)}")
    parser.add_argument("--plot", type=Path, help="write the plot here too")
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name] or list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"no such section: {', '.join(unknown)}. There are {','.join(SECTIONS)}.")

    print(machine(), flush=True)
    earlier = REPORTS / "bench.json"
    report = json.loads(earlier.read_text()) if options.only and earlier.exists() else {}
    missed, missing = [], []
    for section in SECTIONS:
        if section not in chosen:
            continue
        report.pop(section, None)
        found = measure(section)
        if found is None:
            missed.append(f"the section {section} failed")
            continue
        report[section] = found
        missed += [one["text"].strip() for one in found["rows"] if verdict(one) == "missed"]
        missing += found["missing"]
        print("\n" + table(section, found), end="", flush=True)
    save({section: report[section] for section in SECTIONS if section in report}, options.plot)
    print(f"\nbench: {'missed: ' + '; '.join(missed) if missed else 'every gate that was measured is met'}")
    if missing:
        print(f"bench: not measured: {'; '.join(missing)}")
    return 1 if missed or (missing and os.environ.get("CI")) else 0


if __name__ == "__main__":
    raise SystemExit(main())
