"""``generate_otp`` and ``verify_otp`` beside the pure-Python algorithm."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from benchmarks import baseline
from benchmarks.measuring import EMAIL, Piece, in_turns, medians, report, set_up, times_faster
from otp_actions.exceptions import InvalidOTPException
from otp_actions.services import generate_otp, verify_otp

ROUNDS, CALLS = 40, 300

SMALL = {"user_id": 4711, "next": "/account/settings/", "device": "Firefox on Linux", "scope": ["read", "pay"]}


def cart(size: int) -> dict[str, Any]:
    """Return metadata of about *size* bytes of JSON."""
    items = [{"sku": f"A-{number:05}", "count": 2, "price": "12.50"} for number in range(size // 50)]
    return {"user_id": 4711, "next": "/checkout/", "items": items}


METADATA = {"": None, "100 B": SMALL, "1 KB": cart(1000), "4 KB": cart(4000)}


def refused(error: type[Exception], function: Callable[..., Any], *args: Any) -> None:
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


def pieces() -> dict[str, Piece]:
    """Return everything that is timed."""
    table = {}
    no_ledger = {"OTP_LEDGER": None}
    for size, metadata in METADATA.items():
        theirs = partial(baseline.generate, EMAIL, metadata)
        ours = partial(generate_otp, EMAIL, metadata)
        table[f"baseline generate {size}"] = Piece(tuple, theirs)
        table[f"baseline verify {size}"] = Piece(theirs, baseline.verify)
        table[f"process generate {size}"] = Piece(tuple, ours)
        table[f"process verify {size}"] = Piece(ours, verify_otp)
        if metadata is None:
            table["None generate "] = Piece(tuple, ours, no_ledger)
            table["None verify "] = Piece(ours, verify_otp, no_ledger)
    # Of one identifier each: one for all would have no budget left.
    names = (f"ada.{number:08}@example" for number in count())
    table["baseline wrong code"] = Piece(
        lambda: wrong(baseline.generate(next(names))), partial(refused, baseline.Wrong, baseline.verify)
    )
    table["process wrong code"] = Piece(
        lambda: wrong(generate_otp(next(names))), partial(refused, InvalidOTPException, verify_otp)
    )
    return {name.strip(): piece for name, piece in table.items()}


def main() -> None:
    set_up()
    table = pieces()
    time = medians(in_turns(table, rounds=ROUNDS, calls=CALLS))
    alone = [f"{whose} {what}" for what in ("generate", "verify") for whose in ("process", "baseline")]
    single = in_turns({name: table[name] for name in alone}, rounds=ROUNDS // 2, calls=CALLS, each=True)

    rows = []
    for ledger in ("None", "process"):
        for what in ("generate", "verify"):
            text = f"{what}_otp, ledger {ledger}"
            rows.append(times_faster(text, time[f"{ledger} {what}"], time[f"baseline {what}"]))
    for size in ("100 B", "1 KB", "4 KB"):
        for what in ("generate", "verify"):
            text = f"{what}_otp, {size} of metadata"
            rows.append(times_faster(text, time[f"process {what} {size}"], time[f"baseline {what} {size}"]))
    rows.append(times_faster("verify_otp, a wrong code", time["process wrong code"], time["baseline wrong code"]))
    for what in ("generate", "verify"):
        slow = statistics.quantiles(single[f"process {what}"], n=20)[-1]
        usual = statistics.median(single[f"baseline {what}"])
        rows.append(times_faster(f"{what}_otp, our p95 to the baseline's p50", slow, usual))
        time[f"process {what} p95"] = slow
        time[f"baseline {what} p50 of single calls"] = usual
    for size, metadata in METADATA.items():
        time[f"bytes of metadata {size}".strip()] = len(json.dumps(metadata, separators=(",", ":"))) if metadata else 0
    report(rows, time)


if __name__ == "__main__":
    main()
