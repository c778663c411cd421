"""``OTP_LEDGER = "process"``: exact within one process, no infrastructure, in C++."""

from __future__ import annotations

from otp_actions import _core
from otp_actions.ledgers.native import NativeLedger


class ProcessLedger(NativeLedger):
    """Counts attempts and single use exactly in this process; each further process and each restart starts afresh.

    Never drops a live entry: when *size* of them are alive (of challenges, budgets, throttles), what needs a new one is
    refused, which is a 503 for the client.
    """

    def __init__(self, size: int) -> None:
        super().__init__(_core.ProcessLedger(size))
