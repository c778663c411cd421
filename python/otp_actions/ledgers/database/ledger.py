"""The ledger. See ``docs/database.md`` for what it guarantees and what it needs."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Final, TypeVar

from django.db import Error, connections

from otp_actions.conf import SettingError
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers.base import Barrier, Claim, Denied, Event, Ledger, LedgerKey, Release, Taken
from otp_actions.ledgers.database.connection import own_cursor
from otp_actions.ledgers.database.dialects import DIALECTS, Dialect, SQLite, is_sound
from otp_actions.ledgers.database.errors import is_missing_table, is_passing, is_slow, name_of

logger = logging.getLogger("otp_actions")

_T = TypeVar("_T")
_Held = dict[LedgerKey, tuple[int, int]]

_FIRST_PAUSE: Final = 0.002  # Seconds; the longest one of the first retry.
_LONGEST_PAUSE: Final = 0.05


class DatabaseLedger(Ledger):
    """Counts and marks in a table, on connections of its own that commit at once.

    Args:
        alias: The database, of ``DATABASES``.
        timeout: Seconds to wait for the database before giving up.

    Raises:
        SettingError: The database is none that this is written for.
    """

    transactional: ClassVar[bool] = True

    def __init__(self, alias: str, *, timeout: float) -> None:
        vendor = connections[alias].vendor
        if vendor not in DIALECTS:
            raise SettingError(
                "otp_actions.E015",
                f"OTP_LEDGER_DATABASE = {alias!r} is a {vendor} database, but the ledger is written for PostgreSQL, "
                "MySQL, MariaDB and SQLite. Name an alias of one of these, or use another OTP_LEDGER.",
            )
        self._alias = alias
        self._timeout = timeout
        self._dialect = DIALECTS[vendor]
        self._line = threading.Lock()
        _ledgers.add(self)

    def take(self, claims: tuple[Claim, ...], *, unless: tuple[Barrier, ...] = (), now: int) -> Taken | Denied:
        """See :meth:`Ledger.take`."""

        def attempt(dialect: Dialect) -> Taken | Denied:
            if claims and all(limit > 0 for _, limit, _ in claims):
                counts = dialect.take(claims, unless, now)
                if counts is not None:
                    return Taken(claims, tuple(counts[bucket] for bucket, _, _ in claims))
            # Nothing was taken. What is read now only tells the caller why; it never lets anybody in.
            keys = [mark for mark, _ in unless] + [bucket for bucket, _, _ in claims]
            denied = _obstacle(claims, unless, _look(dialect, keys), now) if keys else None
            if denied is None and claims:
                raise _GoneError  # It expired, or was given back, a moment ago.
            return denied or Taken(claims, ())

        return self._run(attempt)

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
        # In the order of keys. What comes before the mark is given back first, and not at all if that does not move.
        first = sorted(one for one in release if one[0][0] < mark)
        then = sorted(one for one in release if one[0][0] >= mark)

        def attempt(dialect: Dialect) -> bool:
            if release or event is not None:
                dialect.begin()
            for one in first:
                dialect.release(one, now)
            if not dialect.move(mark, value, now + ttl, now):
                dialect.rollback()
                held, expiry = _look(dialect, [mark]).get(mark, (0, 0))
                if expiry <= now or held < value:
                    raise _GoneError
                return False
            if event is not None:
                _write(event, dialect)
            for one in then:
                dialect.release(one, now)
            if (release or event is not None) and not dialect.commit():
                raise _GoneError
            return True

        return self._run(attempt)

    def _give_back(self, release: Release, *, now: int) -> None:
        self._run(lambda dialect: dialect.release(release, now))

    def clear(self) -> None:
        """Forget every count and mark, of every process. For tests."""
        self._run(lambda dialect: dialect.clear())

    def _run(self, attempt: Callable[[Dialect], _T]) -> _T:
        """Return what *attempt* returns, trying again while nothing but another transaction is in the way.

        Raises:
            OTPUnavailableException: It failed for another reason, or for too long. One line was logged.
        """
        give_up = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        try:
            with self._in_line(), own_cursor(self._alias, self._timeout) as cursor:
                while True:
                    dialect = self._dialect(cursor, self._timeout)
                    try:
                        return attempt(dialect)
                    except (Error, _GoneError) as error:
                        # Each on a schedule of its own, or the same ones would meet again.
                        delay = random.uniform(0, pause)  # noqa: S311 -- guards nothing
                        passing = isinstance(error, _GoneError) or is_passing(error)
                        if not passing or time.monotonic() + delay > give_up:
                            raise
                    dialect.rollback()
                    time.sleep(delay)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except (Error, _EventError, _GoneError, _UnsoundError) as error:
            kind, hint = _describe(error, self._alias)
        # Outside of the handler: no error that knows a password or a row hangs on ours.
        logger.error(
            'OTP_LEDGER = "database" (%s) cannot tell, so nothing is accepted: %s. %s', self._alias, kind, hint
        )
        raise OTPUnavailableException

    @contextmanager
    def _in_line(self) -> Iterator[None]:
        """Wait for this thread's turn where there is one writer at a time.

        SQLite has no line: who is there when the file happens to be free is next, and under load some never are.
        """
        if self._dialect is not SQLite:
            yield
            return
        if not self._line.acquire(timeout=self._timeout):
            raise _GoneError
        try:
            yield
        finally:
            self._line.release()


#: A forked child gets a lock that a thread of its parent may hold, and nobody there to release it.
_ledgers: Final[weakref.WeakSet[DatabaseLedger]] = weakref.WeakSet()


def _new_lines() -> None:
    for ledger in _ledgers:
        ledger._line = threading.Lock()  # noqa: SLF001 -- this module's own


os.register_at_fork(after_in_child=_new_lines)


# --- The rule -------------------------------------------------------------------------------------------------------


def _look(dialect: Dialect, keys: list[LedgerKey]) -> _Held:
    held = dialect.look(keys)
    if not all(is_sound(*entry) for entry in held.values()):
        raise _UnsoundError
    return held


def _obstacle(claims: tuple[Claim, ...], unless: tuple[Barrier, ...], held: _Held, now: int) -> Denied | None:
    """Return the first barrier, else the first claim, that stands in the way; ``None`` if none does."""
    live = {key: (value, expiry - now) for key, (value, expiry) in held.items() if expiry > now}
    for mark, above in unless:
        value, left = live.get(mark, (above, 0))
        if value > above:
            return Denied((mark, above), left)
    for claim in claims:
        value, left = live.get(claim[0], (0, 0))
        if value >= claim[1]:
            return Denied(claim, left)
    return None


def _write(event: Event, dialect: Dialect) -> None:
    try:
        statements = list(event(dialect.connection))
    except Exception as error:  # What others make may fail in any way; whatever it is: not recorded.
        name = type(error).__name__
    else:
        for sql, params in statements:
            dialect.run_by_commit(sql, params)
        return
    raise _EventError(name)


# --- What can be wrong ----------------------------------------------------------------------------------------------


class _GoneError(Exception):
    """What stood in the way was gone when it was looked at, or still there when the time was over."""


class _UnsoundError(Exception):
    """An entry is none that this ledger wrote."""


class _EventError(Exception):
    """What was to be written with the mark was not. The text names the error's class, or says as much."""


_UNSOUND_HINT: Final = (
    "Somebody else writes to the table otp_actions_ledger. Find out who, and delete the entries whose value is below 0 "
    "or whose expiry is not in Unix seconds."
)


def _describe(error: Exception, alias: str) -> tuple[str, str]:
    """Return the error's name and code, and what to do. Nothing of its text: that may quote rows or a password."""
    if isinstance(error, _EventError):
        return f"the event that belongs to it could not be written ({error})", "See the table of the audit trail."
    if isinstance(error, _UnsoundError):
        return "an entry holds what no ledger writes", _UNSOUND_HINT
    name = name_of(error)
    if is_missing_table(error):
        return name, f"The table is missing: python manage.py migrate --database={alias}"
    if isinstance(error, _GoneError) or is_slow(error):
        return name, "It had to wait longer than OTP_LEDGER_TIMEOUT: see who holds locks, or what makes it slow."
    return name, "See whether the database is up, reachable and writable with the settings of this alias."
