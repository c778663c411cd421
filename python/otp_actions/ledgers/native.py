"""What the ledgers of the C++ core have in common: ``none.py`` and ``process.py``."""

from __future__ import annotations

import logging

from otp_actions import _core
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers.base import Barrier, Claim, Denied, Event, Ledger, LedgerKey, Release, Taken

logger = logging.getLogger("otp_actions")


def ledger_is_full() -> OTPUnavailableException:
    """Tell the log, and return what the caller is told."""
    logger.error("The process ledger is full: nothing is accepted. Raise OTP_PROCESS_LEDGER_SIZE or share a ledger.")
    return OTPUnavailableException()


class NativeLedger(Ledger):
    """A ledger of the core, in the port's clothes."""

    blocking = False
    #: See :attr:`Ledger.core`. An attribute, since each verification asks for it.
    core: object = None

    def __init__(self, table: _core.Ledger) -> None:
        self._table = table
        # The core goes straight to its own table, but not past a subclass that overrides an operation.
        operations = ("take", "advance", "give_back", "_give_back")
        inherited = all(getattr(type(self), name) is getattr(NativeLedger, name) for name in operations)
        self.core = table if inherited else self

    def take(self, claims: tuple[Claim, ...], *, unless: tuple[Barrier, ...] = (), now: int) -> Taken | Denied:
        """See :meth:`Ledger.take`."""
        try:
            counts, index, retry_after = self._table.take(claims, unless, now)
        except _core.LedgerFull:
            raise ledger_is_full() from None
        if counts is not None:
            return Taken(claims, counts)
        entries: tuple[Barrier | Claim, ...] = (*unless, *claims)
        return Denied(entries[index], retry_after)

    def advance(
        self,
        mark: LedgerKey,
        value: int,
        *,
        ttl: int,
        now: int,
        release: tuple[Release, ...] = (),
        event: Event | None = None,
    ) -> bool:
        """See :meth:`Ledger.advance`."""
        try:
            return self._table.advance(mark, value, ttl, now, release)
        except _core.LedgerFull:
            raise ledger_is_full() from None

    def _give_back(self, release: Release, *, now: int) -> None:
        self._table.give_back(release, now)
