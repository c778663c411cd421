"""The ledger's own connections: one for each thread, never the one that a request uses.

A request's connection may be in a transaction that is rolled back later, by ``ATOMIC_REQUESTS``, an ``atomic`` block
around the caller, or a view that raises. A count that is rolled back with it would be a free guess.
"""

from __future__ import annotations

import inspect
import math
import os
import select
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from django.core import mail
from django.core.signals import request_finished, request_started
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


class _Own:
    """A connection that ends with its thread, if not before."""

    __slots__ = ("__weakref__", "close", "connection", "cursor", "settings")

    def __init__(self, source: BaseDatabaseWrapper, timeout: float) -> None:
        options = source.settings_dict["OPTIONS"]
        #: What it was made from, to see when that changes: a test database gets its name late.
        self.settings = {**source.settings_dict, "OPTIONS": dict(options)}
        options = _options(source.vendor, options, timeout)
        self.connection = type(source)({**self.settings, "OPTIONS": options, "AUTOCOMMIT": True}, source.alias)
        self.close = weakref.finalize(self, _close, self.connection, os.getpid())
        self.cursor = self.connection.cursor()
        if source.vendor == "postgresql":
            _bound_waiting(self.connection.connection, timeout + 1)
        elif source.vendor == "mysql":
            seconds = max(1, math.ceil(timeout))
            self.cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}")
        else:
            # Several times as fast, and as durable. The file remembers it. If somebody is in the way: the next time.
            with suppress(Error):
                self.cursor.execute("PRAGMA journal_mode = WAL")
                self.cursor.fetchall()

    def is_usable(self, settings: dict[str, Any]) -> bool:
        """Say whether it can be used again, with what the alias's *settings* are now."""
        if self.settings != settings or _has_ended(self.connection.connection):
            return False
        self.connection.close_if_health_check_failed()  # Which does nothing unless CONN_HEALTH_CHECKS is set.
        return self.connection.connection is not None

    def is_kept(self) -> bool:
        """Say whether it stays open for this thread's next operation, as Django would decide it for its own."""
        if hasattr(mail, "outbox"):
            # A test run: in the end the test database is dropped, and PostgreSQL refuses while anybody is connected.
            return False
        if not _thread.in_request:
            # Nobody tells us when the work is done that this thread does: now may be the end of it.
            try:
                self.connection.close_if_unusable_or_obsolete()
            except Error:
                return False
        return self.connection.connection is not None


class _Thread(threading.local):
    """What is this thread's alone."""

    def __init__(self) -> None:
        self.in_request = False
        self.own: dict[tuple[str, float], _Own] = {}


_thread: Final = _Thread()
#: What a forked child got from its parent: see _close.
_inherited: Final[list[Any]] = []


@contextmanager
def own_cursor(alias: str, timeout: float) -> Iterator[CursorWrapper]:
    """Give a cursor of this thread's own connection to *alias*, in autocommit mode; whatever is raised here closes it.

    Args:
        alias: Its settings are followed as they are now.
        timeout: Seconds to wait for connecting, for a lock and for an answer, as far as the engine can be told here.

    Raises:
        django.db.Error: It cannot be had.
    """
    source = connections[alias]
    # Taken out while it is in use: an operation inside of this one gets another.
    own = _thread.own.pop((alias, timeout), None)
    if own is not None and not own.is_usable(source.settings_dict):
        own.close()
        own = None
    if own is None:
        own = _Own(source, timeout)
    try:
        yield own.cursor
        kept = own.is_kept()
    except BaseException:
        own.close()
        raise
    if kept:
        _thread.own[alias, timeout] = own
    else:
        own.close()


def _options(vendor: str, options: dict[str, Any], timeout: float) -> dict[str, Any]:
    seconds = max(1, math.ceil(timeout))
    if vendor == "postgresql":
        # A pool belongs to its alias, and so its connections are the requests' too.
        dropped = ("isolation_level", "pool", "server_side_binding")
        options = {name: value for name, value in options.items() if name not in dropped}
        return {**options, "connect_timeout": seconds, "tcp_user_timeout": int(timeout * 1000)}
    if vendor == "mysql":
        return {
            **options,
            "isolation_level": "read committed",
            "connect_timeout": seconds,
            # Later than the server gives up waiting for a lock, so that it is heard saying so.
            "read_timeout": seconds + 1,
            "write_timeout": seconds + 1,
        }
    return {**options, "timeout": timeout}


def _bound_waiting(driver: Any, seconds: float) -> None:
    """Have *driver* give up on a server that is there but says nothing: frozen, it keeps no timeout of its own."""
    if hasattr(driver, "wait") and {"interval", "timeout"} <= inspect.signature(driver.wait).parameters.keys():
        driver.wait = partial(driver.wait, timeout=seconds)  # psycopg 3.3; others have no such argument.


def _socket(driver: Any) -> int | None:
    """Return *driver*'s file descriptor, if it has a socket and says which."""
    with suppress(Exception):  # Each driver says in its own way that it is closed; SQLite has no socket at all.
        return int(driver.fileno())
    return None


def _has_ended(driver: Any) -> bool:
    """Say whether the server has hung up on *driver*, as it does when it is restarted, or tired of waiting."""
    socket = _socket(driver)
    if socket is None:
        return False
    idle = select.poll()
    idle.register(socket, select.POLLIN)
    return bool(idle.poll(0))  # Nothing was asked, so whatever there is to read is a farewell.


def _close(connection: Any, pid: int) -> None:
    # Not connection.close(): this may be another thread than its own, or one with an event loop, and Django never
    # closes a SQLite database in memory.
    raw, connection.connection = connection.connection, None
    if raw is None:
        return
    if pid == os.getpid():
        with suppress(connection.Database.Error):
            if connection.vendor == "sqlite":
                raw.rollback()  # A cursor that somebody still holds would keep the transaction, and its lock, alive.
            raw.close()
        return
    # This is a forked child, and the parent still uses the connection: nothing may be said over it, not even goodbye.
    # So the driver's object is never destroyed, and its socket is put out of its reach. A SQLite file stays open, since
    # SQLite forbids to close what came through a fork.
    _inherited.append(raw)
    socket = _socket(raw)
    if socket is not None:
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nowhere, socket, inheritable=False)
        os.close(nowhere)


def close_connections() -> None:
    """Close this thread's."""
    while _thread.own:
        _thread.own.popitem()[1].close()


def _begin_or_end_request(*, begins: bool) -> None:
    _thread.in_request = False
    for which, own in list(_thread.own.items()):
        if not own.is_kept():
            own.close()
            del _thread.own[which]
    _thread.in_request = begins


def _request_started(**kwargs: Any) -> None:
    _begin_or_end_request(begins=True)


def _request_finished(**kwargs: Any) -> None:
    _begin_or_end_request(begins=False)


request_started.connect(_request_started)
request_finished.connect(_request_finished)
os.register_at_fork(after_in_child=close_connections)
