"""``OTP_LEDGER = None``: pure stateless, as release 0.1 was. Counts nothing, remembers nothing."""

from __future__ import annotations

from otp_actions import _core
from otp_actions.ledgers.native import NativeLedger


class NoLedger(NativeLedger):
    """Guarantees nothing: only the count inside the context limits a client that plays along."""

    remembers = False

    def __init__(self) -> None:
        super().__init__(_core.NoLedger())
