"""What every section of the benchmark uses: pieces that take turns, and rows that have a gate and an aim.

A section is a module with a ``main`` that prints one JSON object, see :func:`report`. ``bench.py`` runs each in a
process of its own. Absolute times drift on shared machines, so every goal is a ratio of things that took turns.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.conf import settings
from django.test import override_settings

from otp_actions.__main__ import generate_key

ROOT = Path(__file__).resolve().parents[2]
EMAIL = "ada.lovelace@example"  # 20 characters.

Row = dict[str, Any]


# --- Measuring ------------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """Something to time: ``call(*make())``, with what ``make`` does left out, under *settings* of its own."""

    make: Callable[[], tuple[Any, ...]]
    call: Callable[..., Any]
    settings: Mapping[str, Any] = {}


def set_up(**more: Any) -> None:
    """Configure Django as a small project, with *more* settings."""
    apps = ["otp_actions", *more.pop("INSTALLED_APPS", ())]
    settings.configure(
        SECRET_KEY="benchmark",
        INSTALLED_APPS=apps,
        USE_TZ=True,
        OTP_SIGNING_KEY=generate_key(),
        OTP_PROCESS_LEDGER_SIZE=2**20,  # The benchmark uses up more codes than a site does within their lifetime.
        OTP_LEDGER_TIMEOUT=60,  # A busy machine is slow, and that is what is measured; not down.
        **more,
    )
    django.setup()


def timed(call: Callable[..., Any], work: Iterable[tuple[Any, ...]]) -> int:
    """Return the nanoseconds that *call* takes for all of *work*, without the garbage collector."""
    gc.disable()
    start = time.perf_counter_ns()
    for arguments in work:
        call(*arguments)
    took = time.perf_counter_ns() - start
    gc.enable()
    return took


def timed_each(call: Callable[..., Any], work: Iterable[tuple[Any, ...]]) -> list[int]:
    """Return the nanoseconds of each call, those of reading the clock among them."""
    clock = time.perf_counter_ns
    times = []
    gc.disable()
    for arguments in work:
        start = clock()
        call(*arguments)
        times.append(clock() - start)
    gc.enable()
    return times


def in_turns(
    pieces: Mapping[str, Piece], *, rounds: int, calls: int, warm_up: int = 3, each: bool = False
) -> dict[str, list[float]]:
    """Return the microseconds of a call of each piece: one number a round, or one a call if *each*."""
    samples: dict[str, list[float]] = {name: [] for name in pieces}
    for turn in progress(rounds + warm_up):
        for name, piece in pieces.items():
            with override_settings(**piece.settings):
                work = [piece.make() for _ in range(calls)]
                piece.call(*piece.make())  # The settings are read afresh here, outside the clock.
                if each:
                    took = [one / 1000 for one in timed_each(piece.call, work)]
                else:
                    took = [timed(piece.call, work) / calls / 1000]
            if turn >= warm_up:
                samples[name] += took
    return samples


def medians(samples: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each piece."""
    return {name: statistics.median(values) for name, values in samples.items()}


def progress(rounds: int) -> Iterable[int]:
    """Count to *rounds*, and show a person how far it is."""
    show = sys.stderr.isatty()
    for turn in range(rounds):
        if show:
            print(f"\r  {turn + 1} of {rounds} rounds ", end="", file=sys.stderr, flush=True)
        yield turn
    if show:
        print("\r" + " " * 30 + "\r", end="", file=sys.stderr, flush=True)


# --- Rows -----------------------------------------------------------------------------------------------------------

#: By what was measured, the gate that its value must reach, and the aim: what we would like. Where the aim is less than
#: the gate, the gate must not be exceeded. Changed by an ADR only, see docs/adr/0013-gates-guard-what-was-reached.md.
GOALS = {
    "C++ seal, to the primitives alone": (1.6, 1.3),
    "C++ open, to the primitives alone": (1.8, 1.5),
    "generate_otp, to the best EVP loop": (3.0, 2.0),
    "verify_otp, to the best EVP loop": (5.0, 3.5),
    "generate_otp, ledger None": (9, 14),
    "verify_otp, ledger None": (7, 14),
    "generate_otp, ledger process": (9, 11),
    "verify_otp, ledger process": (5.5, 11),
    "generate_otp, 100 B of metadata": (5.5, 7),
    "verify_otp, 100 B of metadata": (4.5, 7),
    "generate_otp, our p95 to the baseline's p50": (5, 15),
    "verify_otp, our p95 to the baseline's p50": (3, 15),
    "added, of the view": (20, 10),
    "added, to what the baseline adds": (1.8, 6),
    "context, identifier of 20 characters": (560, 512),
    "growth over 10^6 generate + verify, None": (1, 0),
    "growth over 10^6 generate + verify, process": (1, 0),
    "verify_otp, to two redis.Redis.evalsha()": (1.3, 1.1),
    "verify_otp with audit, 8 clients, to bare SQL": (0.5, 0.8),
}


def row(
    text: str,
    *,
    ours: float | None = None,
    other: float | None = None,
    value: float | None = None,
    unit: str = "x",
) -> Row:
    """Return one line of the table.

    Args:
        text: What was measured; if ``GOALS`` has it, *value* is judged.
        ours: Our time, in microseconds.
        other: The time it is compared with.
        value: What there is to be judged.
        unit: Of *value* and its goal.
    """
    gate, aim = (None, None) if value is None else GOALS.get(text.strip(), (None, None))
    return {"text": text, "ours": ours, "other": other, "value": value, "unit": unit, "gate": gate, "aim": aim}


def times_faster(text: str, ours: float, other: float) -> Row:
    """Return a row that says how many times faster we are than *other*."""
    return row(text, ours=ours, other=other, value=other / ours)


def times_the_cost(text: str, ours: float, other: float) -> Row:
    """Return a row that says how many times the cost of *other* we cost."""
    return row(text, ours=ours, other=other, value=ours / other)


def verdict(line: Row) -> str:
    """Return "missed", "ok" or "aim"; "" for a row without a goal."""
    value, gate, aim = line["value"], line["gate"], line["aim"]
    if gate is None:
        return ""
    if aim < gate:  # The less, the better.
        value, gate, aim = -value, -gate, -aim
    return "missed" if value < gate else "ok" if value < aim else "aim"


def report(rows: list[Row], figures: Mapping[str, float], missing: Mapping[str, str] | None = None) -> None:
    """Print what a section has found.

    Args:
        rows: The lines of its table.
        figures: The medians behind them, in microseconds if the name says nothing else.
        missing: What could not be measured, and why.
    """
    print(json.dumps({"rows": rows, "figures": figures, "missing": missing or {}}))
