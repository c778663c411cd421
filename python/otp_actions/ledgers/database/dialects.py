"""What is said to each engine. The rule is the same in all three.

Whether a unit is taken or a mark moves is decided by the write itself, never by what was read before: the row that a
statement is about to change is locked first, and its condition is judged by what it holds then. Rows are locked in the
order of their keys, everywhere, so two operations hardly ever wait for each other in a circle.
"""

# ruff: noqa: S608 -- what is put together here is this file's own; what comes from outside is a parameter

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from otp_actions.ledgers.base import Barrier, Claim, LedgerKey, Release

MAX_VALUE: Final = 2**53
MAX_EXPIRY: Final = 2**54

#: What every entry of ours is. From one that is not, nobody takes, and nobody moves it.
_SOUND: Final = f"(value BETWEEN 0 AND {MAX_VALUE} AND expiry BETWEEN 1 AND {MAX_EXPIRY})"
_HELD_SOUND: Final = _SOUND.replace("value", "held.value").replace("expiry", "held.expiry")


def is_sound(value: int, expiry: int) -> bool:
    """Say whether an entry can be one of ours."""
    return 0 <= value <= MAX_VALUE and 1 <= expiry <= MAX_EXPIRY


class Dialect:
    """One attempt at an operation, over *cursor*, as SQLite and PostgreSQL understand it.

    Without :meth:`begin` each statement is a transaction of its own.

    Args:
        cursor: Of a connection in autocommit mode.
        timeout: Seconds that one statement may take.
    """

    _key = "key"

    def __init__(self, cursor: Any, timeout: float) -> None:
        self._cursor = cursor
        self._is_open = False

    @property
    def connection(self) -> Any:
        """What Django knows the connection as."""
        return self._cursor.db

    # --- Transactions

    def begin(self) -> None:
        """Begin a transaction."""
        self._cursor.execute("BEGIN")
        self._is_open = True

    def commit(self) -> bool:
        """Make the transaction last, and say whether it does."""
        self._cursor.execute("COMMIT")
        self._is_open = False
        return True

    def rollback(self) -> None:
        """Undo the transaction, if there is one."""
        if self._is_open:
            self._cursor.execute("ROLLBACK")
            self._is_open = False

    def run(self, sql: str, params: Sequence[object] = ()) -> None:
        """Run a statement; the cursor has its result."""
        self._cursor.execute(sql, params)

    def run_by_commit(self, sql: str, params: Sequence[object] = ()) -> None:
        """Run a statement without a result, at the latest when the transaction is committed."""
        self._cursor.execute(sql, params)

    # --- The ledger

    def take(self, claims: tuple[Claim, ...], unless: tuple[Barrier, ...], now: int) -> dict[LedgerKey, int] | None:
        """Take one unit of every claim and return the buckets' counts; or change nothing and return ``None``."""
        caps = _caps(claims, unless)
        others = [barrier for barrier in unless if barrier[0] not in caps]
        params = _rows(claims, now)
        for mark, above in others:
            params += (mark, now, above)
        params += (now, now, now)
        for cap in caps.items():
            params += cap
        if len(caps) > 1:
            self.begin()
        self.run(_take_sql(len(caps), len(others)), params)
        counts = {bytes(key): value for key, value in self._cursor.fetchall()}
        if len(counts) < len(caps):
            self.rollback()
            return None
        return counts if len(caps) == 1 or self.commit() else None

    def move(self, mark: LedgerKey, value: int, expiry: int, now: int) -> bool:
        """Set *mark* if that is forward, and say whether it was."""
        self.run(_MOVE, (mark, value, expiry, now))
        return bool(self._cursor.fetchall())

    def release(self, release: Release, now: int) -> None:
        """Give back, at the latest when the transaction is committed."""
        (bucket, limit, _), units = release
        self.run_by_commit(
            "UPDATE otp_actions_ledger SET value = CASE WHEN value > %s THEN value - %s ELSE 0 END "
            f"WHERE {self._key} = %s AND expiry > %s AND value BETWEEN 1 AND %s",
            (units, units, bucket, now, limit),
        )

    def look(self, keys: Iterable[LedgerKey]) -> dict[LedgerKey, tuple[int, int]]:
        """Return ``{key: (value, expiry)}`` as they are now, expired or not."""
        keys = sorted(set(keys))
        marks = ", ".join(["%s"] * len(keys))
        self.run(f"SELECT {self._key}, value, expiry FROM otp_actions_ledger WHERE {self._key} IN ({marks})", keys)
        return {bytes(key): (value, expiry) for key, value, expiry in self._cursor.fetchall()}

    def clear(self) -> None:
        """Delete every entry."""
        self.run("DELETE FROM otp_actions_ledger")


def _caps(claims: tuple[Claim, ...], unless: tuple[Barrier, ...]) -> dict[LedgerKey, int]:
    """Return, for each bucket in order, the most it may hold before the take: by its limit, and by barriers on it."""
    caps = {bucket: limit - 1 for bucket, limit, _ in sorted(claims)}
    for mark, above in unless:
        if mark in caps:
            caps[mark] = min(caps[mark], above)
    return caps


def _rows(claims: tuple[Claim, ...], now: int) -> list[object]:
    """Return each bucket and the expiry it would have if it began now."""
    return [item for bucket, _, ttl in sorted(claims) for item in (bucket, now + ttl)]


@lru_cache
def _take_sql(claims: int, others: int) -> str:
    rows = f"VALUES {', '.join(['(%s, 1, %s)'] * claims)}"
    barred = (
        f"NOT EXISTS (SELECT 1 FROM otp_actions_ledger WHERE key = %s AND (expiry > %s AND value > %s OR NOT {_SOUND}))"
    )
    if others:
        rows = f"SELECT * FROM ({rows}) AS wanted WHERE {' AND '.join([barred] * others)}"
    return (
        f"INSERT INTO otp_actions_ledger AS held (key, value, expiry) {rows} "
        "ON CONFLICT (key) DO UPDATE SET "
        "value = CASE WHEN held.expiry > %s THEN held.value + 1 ELSE 1 END, "
        "expiry = CASE WHEN held.expiry > %s THEN held.expiry ELSE excluded.expiry END "
        f"WHERE {_HELD_SOUND} AND (held.expiry <= %s"
        f" OR held.value <= CASE held.key {' '.join(['WHEN %s THEN %s'] * claims)} END) "
        "RETURNING key, value"
    )


_MOVE: Final = (
    "INSERT INTO otp_actions_ledger AS held (key, value, expiry) VALUES (%s, %s, %s) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, "
    "expiry = CASE WHEN held.expiry > excluded.expiry THEN held.expiry ELSE excluded.expiry END "
    f"WHERE {_HELD_SOUND} AND (held.expiry <= %s OR held.value < excluded.value) "
    "RETURNING value"
)


class SQLite(Dialect):
    """One writer at a time: it waits at the beginning, instead of failing in the middle."""

    def begin(self) -> None:
        """Begin a transaction that may write."""
        self._cursor.execute("BEGIN IMMEDIATE")
        self._is_open = True


class PostgreSQL(Dialect):
    """Statements whose results nobody waits for travel with the next one, as one text: fewer round trips.

    The timeout is the transaction's, not the session's: where a pooler such as PgBouncer lends one session to many,
    that would stay behind for somebody else.
    """

    def __init__(self, cursor: Any, timeout: float) -> None:
        super().__init__(cursor, timeout)
        self._limit = f"SET LOCAL statement_timeout = {int(timeout * 1000)}; "  # Waiting for a lock included.
        self._texts = ""
        self._params: list[object] = []

    def begin(self) -> None:
        """Begin a transaction, with its first statement."""
        self._texts = f"BEGIN ISOLATION LEVEL READ COMMITTED; {self._limit}"
        self._is_open = True

    def commit(self) -> bool:
        """Make the transaction last, and say whether it does: one in which a statement failed ends without a word."""
        self.run("COMMIT")
        self._is_open = False
        return bool(self._cursor.statusmessage == "COMMIT")

    def run(self, sql: str, params: Sequence[object] = ()) -> None:
        """Run a statement, after those that wait for it; the cursor has its result."""
        # Outside of BEGIN and COMMIT, what travels as one text is one transaction.
        texts = self._texts if self._is_open else self._limit
        params = [*self._params, *params]
        self._texts, self._params = "", []
        self._cursor.execute(texts + sql, params)
        driver = self._cursor.cursor
        if self._cursor.db.Database.__name__ == "psycopg":  # psycopg2 keeps nothing but the last result.
            if hasattr(driver, "set_result"):  # psycopg 3.3
                driver.set_result(-1)
            else:
                while driver.nextset():
                    pass

    def run_by_commit(self, sql: str, params: Sequence[object] = ()) -> None:
        """Run a statement with the next one of the transaction; outside of one, now."""
        if not self._is_open:
            self.run(sql, params)
            return
        self._texts += f"{sql}; "
        self._params += params


class MySQL(Dialect):
    """MySQL and MariaDB: an upsert here has no condition, and in MySQL it returns nothing.

    So a bucket that may not be taken from is set to -1, which nobody ever sees: the transaction is rolled back.
    """

    _key = "`key`"

    def take(self, claims: tuple[Claim, ...], unless: tuple[Barrier, ...], now: int) -> dict[LedgerKey, int] | None:
        """Take one unit of every claim and return the buckets' counts; or change nothing and return ``None``."""
        caps = _caps(claims, unless)
        params = [*_rows(claims, now), now]
        for cap in caps.items():
            params += cap
        params.append(now)
        self.begin()
        self.run(_mysql_take_sql(len(caps)), params)
        # The same transaction sees what it has written itself, and of others' what is committed by now.
        held = self.look([*caps, *[mark for mark, _ in unless]])
        barred = any(mark in held and mark not in caps and _bars(*held[mark], above, now) for mark, above in unless)
        if barred or any(held[bucket][0] < 0 for bucket in caps) or not self.commit():
            self.rollback()
            return None
        return {bucket: held[bucket][0] for bucket in caps}

    def move(self, mark: LedgerKey, value: int, expiry: int, now: int) -> bool:
        """Set *mark* if that is forward, and say whether it was."""
        self.run(_MYSQL_MOVE, (value, expiry, mark, now, value))
        if self._cursor.rowcount == 0:
            self.run(_MYSQL_INSERT, (mark, value, expiry))
        return bool(self._cursor.rowcount)


@lru_cache
def _mysql_take_sql(claims: int) -> str:
    # Columns are set from left to right: the value is worked out while the expiry is still the old one.
    return (
        f"INSERT INTO otp_actions_ledger (`key`, value, expiry) VALUES {', '.join(['(%s, 1, %s)'] * claims)} "
        "ON DUPLICATE KEY UPDATE "
        f"value = CASE WHEN NOT {_SOUND} THEN -1 WHEN expiry <= %s THEN 1 "
        f"WHEN value <= CASE `key` {' '.join(['WHEN %s THEN %s'] * claims)} END THEN value + 1 ELSE -1 END, "
        "expiry = CASE WHEN expiry > %s THEN expiry ELSE VALUES(expiry) END"
    )


_MYSQL_MOVE: Final = (
    "UPDATE otp_actions_ledger SET value = %s, expiry = GREATEST(expiry, %s) "
    f"WHERE `key` = %s AND {_SOUND} AND (expiry <= %s OR value < %s)"
)
_MYSQL_INSERT: Final = "INSERT IGNORE INTO otp_actions_ledger (`key`, value, expiry) VALUES (%s, %s, %s)"


def _bars(value: int, expiry: int, above: int, now: int) -> bool:
    return (expiry > now and value > above) or not is_sound(value, expiry)


DIALECTS: Final[dict[str, type[Dialect]]] = {"postgresql": PostgreSQL, "sqlite": SQLite, "mysql": MySQL}
