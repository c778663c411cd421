"""A ring of several keys, and a token of the last of them: the dearest case."""

from __future__ import annotations

from functools import partial

from django.test import override_settings

from benchmarks.measuring import EMAIL, Piece, in_turns, medians, report, row, set_up, times_the_cost
from otp_actions.__main__ import generate_key
from otp_actions.services import generate_otp, verify_otp

ROUNDS, CALLS = 40, 300
SIZES = (1, 2, 5, 8)


def main() -> None:
    set_up(OTP_LEDGER=None)
    keys = [generate_key() for _ in range(max(SIZES))]
    pieces = {}
    for size in SIZES:
        with override_settings(OTP_SIGNING_KEY=keys[size - 1]):
            issued = generate_otp(EMAIL)
        ring = {"OTP_SIGNING_KEY": keys[0], "OTP_SIGNING_KEY_FALLBACKS": keys[1:size]}
        pieces[str(size)] = Piece(partial(tuple, issued), verify_otp, ring)
    time = medians(in_turns(pieces, rounds=ROUNDS, calls=CALLS))

    rows = [row("verify_otp, ledger None, ring of 1 key", ours=time["1"])]
    for size in SIZES[1:]:
        rows.append(times_the_cost(f"ring of {size} keys, token of the last", time[str(size)], time["1"]))
    wrong_key = (time[str(SIZES[-1])] - time["1"]) / (SIZES[-1] - 1)
    rows.append(row("one wrong key more", ours=wrong_key))
    report(rows, {**time, "wrong key": wrong_key})


if __name__ == "__main__":
    main()
