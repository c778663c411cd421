"""The ledger port: two atomic primitives and an undo.

Everything that must happen at most N times is a ``take`` (attempts, budgets, throttles); everything that must happen
once, or only move forward, is an ``advance`` (single use, revocation). A backend never builds them from a read
followed by a write: two requests would both read before either writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

#: What a ledger counts under: one byte for the kind, then 16 bytes for whom.
LedgerKey: TypeAlias = bytes
#: ``(bucket, limit, ttl)``: one unit of *bucket*, which holds at most *limit* and lives *ttl* seconds from its first.
Claim: TypeAlias = tuple[LedgerKey, int, int]
#: ``(mark, above)``: forbids a take while *mark* holds a value greater than *above*.
Barrier: TypeAlias = tuple[LedgerKey, int]
#: ``(claim, units)``: takes *units* from the claim's bucket, see :meth:`Ledger.give_back`.
Release: TypeAlias = tuple[Claim, int]
#: Returns the SQL, with its parameters, that writes what must be true exactly if a mark is; it is given the connection.
Event: TypeAlias = Callable[[Any], Iterable[tuple[str, Sequence[Any]]]]


class Taken:
    """What a take has taken.

    Attributes:
        claims: The claims, as they were made.
        counts: Each bucket's count after the take, in the order of the claims.
    """

    __slots__ = ("_left", "claims", "counts")

    def __init__(self, claims: tuple[Claim, ...], counts: tuple[int, ...]) -> None:
        self.claims = claims
        self.counts = counts
        self._left = list(claims)

    def release(self, which: Claim) -> bool:
        """Say whether *which* was claimed here and is released for the first time."""
        try:
            self._left.remove(which)  # One step: of two threads, one gets the ValueError.
        except ValueError:
            return False
        return True


class Denied(NamedTuple):
    """Why a take took nothing.

    Attributes:
        which: The first barrier, else the first claim, that stood in the way, as it was passed in.
        retry_after: Seconds until its entry expires; 0 if it has none.
    """

    which: Barrier | Claim
    retry_after: int


class Ledger(ABC):
    """Who counted what. Subclass it, pass ``tests/contract/ledger.py``, and name the class in ``OTP_LEDGER``."""

    #: True if an operation waits for something outside the process; the async API then runs it in a thread.
    blocking: ClassVar[bool] = True
    #: False if nothing is remembered, so that single use and revocation cannot be had.
    remembers: ClassVar[bool] = True
    #: True if ``advance`` writes an *event* in the same transaction as the mark. No other ledger is given one.
    transactional: ClassVar[bool] = False

    @property
    def core(self) -> object:
        """What the C++ core is handed: this ledger, or the core's own table behind it."""
        return self

    @abstractmethod
    def take(self, claims: tuple[Claim, ...], *, unless: tuple[Barrier, ...] = (), now: int) -> Taken | Denied:
        """Take one unit of every claim, or of none; never go above a limit.

        *unless* is looked at in the same atomic step. At most 8 keys in all, each bucket once. Without claims, only
        *unless* is looked at. *now* is Unix time in whole seconds, UTC, here and below.

        Raises:
            OTPUnavailableException: The ledger cannot tell. Nothing may be accepted then.
        """

    @abstractmethod
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
        """Store *value* under *mark* for *ttl* seconds if it is greater than what is there, and say whether it was.

        If it was, and only then, each claim of *release* is given back in the same atomic step.

        Raises:
            OTPUnavailableException: The ledger cannot tell. Nothing may be accepted then.
        """

    def give_back(self, taken: Taken, which: Claim, *, now: int, units: int = 1) -> None:
        """Return what claim *which* took: once, never below 0, and not to a mark that was set since.

        1 unit undoes this take; as many as the claim's limit empty the bucket.
        """
        if taken.release(which):
            self._give_back((which, units), now=now)

    @abstractmethod
    def _give_back(self, release: Release, *, now: int) -> None:
        """Take the units from the claim's bucket, down to 0, if that holds from 1 to the claim's limit.

        Failing here costs the user an attempt, nothing else.
        """
