"""Ledgers that are not ours, for tests of what a project may bring itself."""

import threading
from typing import NamedTuple

from otp_actions import _core
from otp_actions.ledgers.base import Denied, Ledger, Taken


class DictLedger(Ledger):
    """The port in twenty lines: exact in one thread only, so the contract's thread tests do not run on it."""

    def __init__(self):
        self.entries = {}

    def _live(self, key, now):
        value, expiry = self.entries.get(key, (0, 0))
        return (value, expiry) if now < expiry else (None, now)

    def take(self, claims, *, unless=(), now):
        for mark, above in unless:
            value, expiry = self._live(mark, now)
            if value is not None and value > above:
                return Denied((mark, above), expiry - now)
        for bucket, limit, ttl in claims:
            value, expiry = self._live(bucket, now)
            if (value or 0) >= limit:
                return Denied((bucket, limit, ttl), expiry - now)
        counts = []
        for bucket, _, ttl in claims:
            value, expiry = self._live(bucket, now)
            self.entries[bucket] = (1, now + ttl) if value is None else (value + 1, expiry)
            counts.append(self.entries[bucket][0])
        return Taken(claims, tuple(counts))

    def advance(self, mark, value, *, ttl, now, release=(), event=None):
        stored, expiry = self._live(mark, now)
        if stored is not None and value <= stored:
            return False
        self.entries[mark] = (value, max(expiry, now + ttl))
        for one in release:
            self._give_back(one, now=now)
        return True

    def _give_back(self, release, *, now):
        (bucket, limit, _), units = release
        value, expiry = self._live(bucket, now)
        if value is not None and 1 <= value <= limit:
            self.entries[bucket] = (max(0, value - units), expiry)


class Call(NamedTuple):
    """One call of a RecordingLedger."""

    operation: str
    expiry: int
    compared: int  # How many codes the process had compared before.
    thread: int


class RecordingLedger(DictLedger):
    """Notes when it was asked what."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _note(self, operation, expiry=0):
        self.calls.append(Call(operation, expiry, _core.match_count(), threading.get_ident()))

    def take(self, claims, *, unless=(), now):
        self._note("take", now + claims[0][2] if claims else now)
        return super().take(claims, unless=unless, now=now)

    def advance(self, mark, value, *, ttl, now, release=(), event=None):
        self._note("advance", now + ttl)
        return super().advance(mark, value, ttl=ttl, now=now, release=release, event=event)

    def give_back(self, taken, which, *, now, units=1):
        self._note("give_back")
        super().give_back(taken, which, now=now, units=units)
