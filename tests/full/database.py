"""What the tests of the database ledger have in common."""

import gc
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress

from django.conf import settings
from django.core import mail
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from otp_actions.ledgers.database.connection import own_cursor
from otp_actions.ledgers.database.ledger import DatabaseLedger

ALIAS = settings.OTP_LEDGER_DATABASE


def vendor():
    return connections[ALIAS].vendor


def fresh(timeout=2.0):
    """Return a ledger that has counted nothing."""
    ledger = DatabaseLedger(ALIAS, timeout=timeout)
    ledger.clear()
    return ledger


def as_in_production(monkeypatch, *, max_age):
    """Keep connections open as long as CONN_MAX_AGE says. In a test run each operation has its own."""
    monkeypatch.delattr(mail, "outbox", raising=False)
    monkeypatch.setitem(connections[ALIAS].settings_dict, "CONN_MAX_AGE", max_age)


# --- Another user of the database


@contextmanager
def somebody_else():
    """A cursor on a connection of its own, in autocommit mode."""
    other = connections[ALIAS].copy()
    other.inc_thread_sharing()
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        BaseDatabaseWrapper.close(other)  # Also of a database in memory.


def begin(cursor):
    cursor.execute("BEGIN IMMEDIATE" if vendor() == "sqlite" else "BEGIN")


KEY = "`key`" if vendor() == "mysql" else "key"


def put_sql(*entry):
    return f"INSERT INTO otp_actions_ledger ({KEY}, value, expiry) VALUES (%s, %s, %s)", list(entry)


def put(cursor, key, value, expiry):
    cursor.execute(*put_sql(key, value, expiry))


def rows():
    """Return the whole table: ``{key: (value, expiry)}``."""
    with somebody_else() as cursor:
        cursor.execute(f"SELECT {KEY}, value, expiry FROM otp_actions_ledger")
        return {bytes(key): (value, expiry) for key, value, expiry in cursor.fetchall()}


# --- Connections


def sessions():
    """Return how many connections to the ledger's database there are, this look at it not counted."""
    if vendor() == "sqlite":
        # Not the open files: SQLite keeps those of closed connections until the last one has gone.
        return sum(type(one) is sqlite3.Connection and _is_open(one) for one in gc.get_objects())
    with somebody_else() as cursor:
        cursor.execute(
            "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()"
            if vendor() == "mysql"
            else "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        )
        return cursor.fetchone()[0] - 1


def _is_open(connection):
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


def sessions_become(expected):
    """Say whether there are soon *expected* connections: a server needs a moment to see one go."""
    give_up = time.monotonic() + 10
    while sessions() != expected:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


def session_of(cursor):
    """Return what the server, or in SQLite this process, knows *cursor*'s connection as."""
    if vendor() == "sqlite":
        return id(cursor.db.connection)
    cursor.execute("SELECT CONNECTION_ID()" if vendor() == "mysql" else "SELECT pg_backend_pid()")
    return cursor.fetchone()[0]


def own_session(ledger):
    """Return the same of the connection that *ledger* uses in this thread."""
    with own_cursor(ALIAS, ledger._timeout) as cursor:
        return session_of(cursor)


class Proxy:
    """Passes on what is said to a server and what it says, until it is told to fall silent."""

    def __init__(self, host, port):
        self._server = host, port
        self._flows = threading.Event()
        self._flows.set()
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self):
        self._flows.clear()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.close()
        self._flows.set()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # Closing alone would not wake who reads from it.
            one.close()


@contextmanager
def proxy(monkeypatch):
    """A Proxy through which everybody who connects from now on reaches the database."""
    where = connections[ALIAS].settings_dict
    default = 3306 if vendor() == "mysql" else 5432
    with closing(Proxy(where["HOST"] or "127.0.0.1", int(where["PORT"] or default))) as between:
        monkeypatch.setitem(where, "HOST", "127.0.0.1")
        monkeypatch.setitem(where, "PORT", str(between.port))
        yield between
