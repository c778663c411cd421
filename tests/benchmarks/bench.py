"""``make bench``: ratios measured interleaved in one process, beside the gates. Exit status 1 if a gate is missed.

Absolute times drift on shared machines, so nothing is judged by them: every gate is a ratio of two things that were
measured in turns, a few hundred calls each, in this very run.
"""

from __future__ import annotations

import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import django
from baseline import Baseline, Wrong
from django.conf import settings
from django.test import override_settings

from otp_actions.__main__ import generate_key
from otp_actions.exceptions import InvalidOTPException
from otp_actions.services import generate_otp, verify_otp

REPORT = Path(__file__).resolve().parents[2] / "build" / "reports" / "bench.json"
ROUNDS, WARM_UP, CALLS = 60, 5, 300
EMAIL = "ada.lovelace@example"  # 20 characters
METADATA = {"user_id": 4711, "next": "/account/settings/", "device": "Firefox on Linux", "scope": ["read", "pay"]}


class Piece(NamedTuple):
    """Something to time: ``call(*make())``, with what ``make`` does left out."""

    make: Callable[[], tuple[Any, ...]]
    call: Callable[..., Any]
    ledger: str | None = "process"


class Goal(NamedTuple):
    """One line of the table: how many times faster than the baseline."""

    text: str
    ours: str
    theirs: str
    gate: float
    aim: float


def without(error: type[Exception], function: Callable[..., Any], *args: Any) -> None:
    """Call *function*, which is meant to raise *error*."""
    try:
        function(*args)
    except error:
        return
    raise AssertionError("a wrong code was accepted")


def wrong(issued: tuple[str, str]) -> tuple[str, str]:
    """Return *issued* with another code."""
    code, context = issued
    return code[:-1] + str((int(code[-1]) + 1) % 10), context


def pieces(baseline: Baseline) -> dict[str, Piece]:
    """Return everything that is timed."""
    table = {}
    for name, metadata in (("", None), (" with 100 B", METADATA)):
        theirs = partial(baseline.generate, EMAIL, metadata)
        ours = partial(generate_otp, EMAIL, metadata)
        table[f"baseline generate{name}"] = Piece(tuple, theirs)
        table[f"baseline verify{name}"] = Piece(theirs, baseline.verify)
        table[f"process generate{name}"] = Piece(tuple, ours)
        table[f"process verify{name}"] = Piece(ours, verify_otp)
        table[f"none generate{name}"] = Piece(tuple, ours, None)
        table[f"none verify{name}"] = Piece(ours, verify_otp, None)
    table["baseline wrong code"] = Piece(
        lambda: wrong(baseline.generate(EMAIL)), partial(without, Wrong, baseline.verify)
    )
    table["process wrong code"] = Piece(
        lambda: wrong(generate_otp(EMAIL)), partial(without, InvalidOTPException, verify_otp)
    )
    return table


GOALS = [
    Goal("generate_otp, ledger None", "none generate", "baseline generate", 14, 24),
    Goal("verify_otp, ledger None", "none verify", "baseline verify", 14, 24),
    Goal('generate_otp, ledger "process"', "process generate", "baseline generate", 11, 20),
    Goal('verify_otp, ledger "process"', "process verify", "baseline verify", 11, 20),
    Goal("generate_otp, 100 B metadata", "process generate with 100 B", "baseline generate with 100 B", 7, 15),
    Goal("verify_otp, 100 B metadata", "process verify with 100 B", "baseline verify with 100 B", 7, 15),
]


def measure(table: dict[str, Piece]) -> dict[str, list[float]]:
    """Return the microseconds per call of each piece, one number a round, taken in turns."""
    samples: dict[str, list[float]] = {name: [] for name in table}
    for turn in range(ROUNDS + WARM_UP):
        for name, piece in table.items():
            with override_settings(OTP_LEDGER=piece.ledger):
                work = [piece.make() for _ in range(CALLS)]
                piece.call(*piece.make())  # The settings are read afresh here, outside the clock.
                call = piece.call
                gc.disable()
                start = time.perf_counter_ns()
                for args in work:
                    call(*args)
                took = time.perf_counter_ns() - start
                gc.enable()
            if turn >= WARM_UP:
                samples[name].append(took / CALLS / 1000)
        if sys.stderr.isatty():
            print(f"\r  {turn + 1} of {ROUNDS + WARM_UP} rounds ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    return samples


def shared() -> dict[str, Any]:
    """Return the rows of the ledgers that hosts share, see ``shared.py``."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("shared.py")], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        return {"rows": [], "missing": {"Redis and PostgreSQL": "shared.py failed, see above"}}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def p95(values: list[float]) -> float:
    """Return the value that 95 % of *values* do not exceed."""
    return statistics.quantiles(values, n=20)[-1]


def machine() -> str:
    """Return one line about where this ran."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return f"{model}; Python {platform.python_version()}, Django {django.__version__}"


def main() -> int:
    settings.configure(
        SECRET_KEY="benchmark", INSTALLED_APPS=["otp_actions"], OTP_SIGNING_KEY=generate_key(), USE_I18N=True
    )
    django.setup()
    samples = measure(pieces(Baseline(settings.OTP_SIGNING_KEY.encode())))
    median = {name: statistics.median(values) for name, values in samples.items()}

    rows = [(*goal, median[goal.ours], median[goal.theirs], median[goal.theirs] / median[goal.ours]) for goal in GOALS]
    for name in ("generate", "verify"):
        ours = p95(samples[f"process {name}"])
        theirs = median[f"baseline {name}"]
        rows.append((f"p95 of {name}_otp to baseline's median", "", "", 15, 25, ours, theirs, theirs / ours))

    print(machine())
    print(f"{'':40}{'ours':>10}{'baseline':>12}{'ratio':>9}{'gate':>7}{'aim':>6}")
    for text, _, _, gate, aim, ours, theirs, ratio in rows:
        mark = "missed" if ratio < gate else "aim" if ratio >= aim else "ok"
        print(f"{text:40}{ours:8.2f}us{theirs:10.2f}us{ratio:8.1f}x{gate:6}x{aim:5}x  {mark}")
    ours, theirs = median["process wrong code"], median["baseline wrong code"]
    print(f"{'a wrong code (no gate)':40}{ours:8.2f}us{theirs:10.2f}us{theirs / ours:8.1f}x")
    size = len(generate_otp(EMAIL)[1])
    mark = "aim" if size <= 512 else "ok" if size <= 560 else "missed"
    print(f"{'context, 20-character e-mail':40}{size:8} B{'':20}{'<=560':>7}{'<=512':>7}  {mark}")
    missed = [row[0] for row in rows if row[-1] < row[3]] + (["context size"] if size > 560 else [])

    hosts = shared()
    print(f"\n{'':56}{'ours':>10}{'bare':>12}{'ratio':>9}{'gate':>7}{'aim':>6}")
    for row in hosts["rows"]:
        # A ratio of times should be small, one of throughputs large.
        small = row["gate"] > 1
        worse = (lambda ratio, bound: ratio > bound) if small else (lambda ratio, bound: ratio < bound)
        bad = worse(row["ratio"], row["gate"])
        mark = "missed" if bad else "ok" if worse(row["ratio"], row["aim"]) else "aim"
        missed += [row["text"]] if bad else []
        print(
            f"{row['text']:56}{row['ours']:8.1f}us{row['bare']:10.1f}us{row['ratio']:8.2f}x{row['gate']:6}x"
            f"{row['aim']:5}x  {mark}"
        )
    for name, reason in hosts["missing"].items():
        print(f"NOT MEASURED: {name}: {reason}")

    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "median_us": median, "context_size": size, "shared": hosts, "missed": missed}
    REPORT.write_text(json.dumps(report, indent=2))
    print(f"bench: {'missed: ' + ', '.join(missed) if missed else 'every gate is met'}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
