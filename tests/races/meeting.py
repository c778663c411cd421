"""A ledger whose callers meet at the worst moment: counted, but not yet compared."""

from otp_actions.ledgers import Ledger, ProcessLedger
from otp_actions.ledgers.base import Taken


class MeetingLedger(Ledger):
    """The process ledger; whoever was counted waits at ``place``, if there is one."""

    place = None

    def __init__(self):
        self.inner = ProcessLedger(2**10)

    def take(self, claims, *, unless=(), now):
        result = self.inner.take(claims, unless=unless, now=now)
        if self.place is not None and isinstance(result, Taken):
            self.place.wait(timeout=20)
        return result

    def advance(self, mark, value, *, ttl, now, release=(), event=None):
        return self.inner.advance(mark, value, ttl=ttl, now=now, release=release, event=event)

    def give_back(self, taken, which, *, now, units=1):
        self.inner.give_back(taken, which, now=now, units=units)

    def _give_back(self, *args, **kwargs):
        raise NotImplementedError("give_back is overridden")
