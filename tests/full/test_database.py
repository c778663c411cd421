"""``OTP_LEDGER = "database"``: what the contract does not say. Faults, transactions, events, what is logged."""

import logging
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from django.db import Error, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from contract.ledger import NOW, TTL, claim, key
from full.database import (
    ALIAS,
    KEY,
    as_in_production,
    begin,
    fresh,
    own_session,
    proxy,
    put,
    put_sql,
    rows,
    somebody_else,
    vendor,
)
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers.base import Denied, Taken
from otp_actions.ledgers.database import errors
from otp_actions.ledgers.database import ledger as ledger_module
from otp_actions.ledgers.database.connection import close_connections
from otp_actions.ledgers.database.ledger import DatabaseLedger

# Each test is in a transaction on every database: the ledger does not care.
pytestmark = pytest.mark.django_db(databases="__all__")

CHALLENGE, IDENTIFIER, IP, EPOCH = (key(kind) for kind in "cipe")
USED = 2**40

needs_server = pytest.mark.skipif(vendor() == "sqlite", reason="there is no server")


@pytest.fixture
def ledger():
    yield fresh()
    fresh()
    close_connections()


def take(ledger, *buckets, limit=3, unless=(), now=NOW):
    return ledger.take(tuple(claim(bucket, limit) for bucket in buckets), unless=unless, now=now)


def verify(ledger, event=None):
    """Do what a right code makes the core do."""
    claims = (claim(CHALLENGE), claim(IDENTIFIER, 30), claim(IP, 100))
    taken = ledger.take(claims, unless=((CHALLENGE, 2 * USED - 1), (EPOCH, NOW), (CHALLENGE, USED - 1)), now=NOW)
    if isinstance(taken, Denied):
        return False
    return ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, release=((claims[1], 30), (claims[2], 1)), event=event)


@contextmanager
def unavailable(caplog, *, within=None, hint=""):
    """The block cannot be told, in time, and says so in exactly one line."""
    caplog.clear()
    began = time.monotonic()
    caught = None
    with caplog.at_level(logging.DEBUG, "otp_actions"):
        try:
            yield
        except OTPUnavailableException as error:
            caught = error
    assert caught is not None
    if within is not None:
        assert time.monotonic() - began < within
    [record] = [record for record in caplog.records if record.name == "otp_actions"]
    assert record.levelno == logging.ERROR
    assert hint in record.getMessage()
    assert caught.__cause__ is None
    assert caught.__context__ is None
    assert caught.retry_after > 0


# --- Transactions of others -----------------------------------------------------------------------------------------


def test_counts_and_marks_survive_a_transaction_around_the_caller(ledger):
    def work():
        with transaction.atomic(using=ALIAS), transaction.atomic():
            assert verify(ledger)
            fail()

    with pytest.raises(ZeroDivisionError):
        work()
    assert not verify(ledger)
    assert rows()[CHALLENGE][0] == USED


def test_counts_are_seen_by_others_within_a_transaction_of_the_caller(ledger):
    assert connections[ALIAS].in_atomic_block
    take(ledger, CHALLENGE)
    assert rows() == {CHALLENGE: (1, NOW + TTL)}


def test_take_that_is_denied_leaves_no_trace(ledger):
    take(ledger, IDENTIFIER, limit=1)
    before = rows()
    assert isinstance(take(ledger, CHALLENGE, IDENTIFIER, IP, limit=1), Denied)
    assert rows() == before


# --- Somebody holds a lock ------------------------------------------------------------------------------------------


@contextmanager
def locked(*keys):
    """Somebody else is in the middle of changing these entries."""
    with somebody_else() as cursor:
        begin(cursor)
        for one in keys:
            cursor.execute(f"UPDATE otp_actions_ledger SET value = value + 1 WHERE {KEY} = %s", [one])
        yield
        cursor.execute("ROLLBACK")


@pytest.mark.parametrize(
    "operation",
    [
        lambda ledger: take(ledger, IDENTIFIER),
        lambda ledger: take(ledger, CHALLENGE, IDENTIFIER),
        lambda ledger: ledger.advance(IDENTIFIER, USED, ttl=TTL, now=NOW),
        lambda ledger: ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, release=((claim(IDENTIFIER), 1),)),
        lambda ledger: ledger._give_back((claim(IDENTIFIER), 1), now=NOW),
    ],
)
def test_lock_of_somebody_else_makes_it_unavailable_in_time_and_changes_nothing(ledger, caplog, operation):
    take(ledger, IDENTIFIER)
    impatient = DatabaseLedger(ALIAS, timeout=0.3)
    within = 4 if vendor() == "mysql" else 1.5  # MySQL counts in whole seconds, and looks once a second.
    with locked(IDENTIFIER), unavailable(caplog, within=within, hint="OTP_LEDGER_TIMEOUT"):
        operation(impatient)
    assert rows() == {IDENTIFIER: (1, NOW + TTL)}
    operation(impatient)
    assert rows() != {IDENTIFIER: (1, NOW + TTL)}


def test_lock_that_is_released_in_time_does_no_harm(ledger):
    take(ledger, IDENTIFIER)
    done = threading.Event()

    def hold():
        with locked(IDENTIFIER):
            done.set()
            time.sleep(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    done.wait()
    assert take(ledger, CHALLENGE, IDENTIFIER).counts == (1, 2)
    holder.join()


@needs_server
def test_deadlock_is_tried_again(ledger, monkeypatch):
    ledger = fresh(timeout=20)
    take(ledger, CHALLENGE, IDENTIFIER, limit=9)
    met = []

    def note(error):
        met.append(errors.name_of(error))
        return errors.is_passing(error)

    monkeypatch.setattr(ledger_module, "is_passing", note)
    with somebody_else() as cursor:
        begin(cursor)
        for whom in range(100):  # InnoDB gives up the one that has done less.
            put(cursor, key("z", whom), 1, NOW)
        cursor.execute(f"UPDATE otp_actions_ledger SET value = value + 1 WHERE {KEY} = %s", [IDENTIFIER])
        results = []
        thread = threading.Thread(target=lambda: results.append(take(ledger, CHALLENGE, IDENTIFIER, limit=9)))
        thread.start()
        time.sleep(0.5)  # By now it holds the first entry and waits for the second.
        cursor.execute(f"UPDATE otp_actions_ledger SET value = value + 1 WHERE {KEY} = %s", [CHALLENGE])
        cursor.execute("COMMIT")
        thread.join()
    assert [result.counts for result in results] == [(3, 3)]
    assert met == ["OperationalError 1213" if vendor() == "mysql" else "OperationalError 40P01"]


# --- The database is not there --------------------------------------------------------------------------------------


def test_unreachable_database_makes_it_unavailable_and_it_recovers(ledger, caplog, monkeypatch):
    where = connections[ALIAS].settings_dict
    with monkeypatch.context() as patch:
        if vendor() == "sqlite":
            patch.setitem(where, "NAME", "/no/such/folder/otp.sqlite3")
        else:
            with socket.create_server(("127.0.0.1", 0)) as nobody:
                patch.setitem(where, "PORT", str(nobody.getsockname()[1]))
        patch.setitem(where, "USER", "canary-user")
        patch.setitem(where, "PASSWORD", "canary-password")
        with unavailable(caplog, within=2, hint="See whether the database is up"):
            take(ledger, CHALLENGE)
        with unavailable(caplog, within=2):
            ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW)
        assert "canary" not in caplog.text
    assert take(ledger, CHALLENGE).counts == (1,)


@needs_server
def test_server_that_accepts_and_says_nothing_makes_it_unavailable_in_time(caplog, monkeypatch):
    with proxy(monkeypatch) as between:
        between.fall_silent()
        with unavailable(caplog, within=5):  # psycopg waits at least two seconds for a connection.
            take(DatabaseLedger(ALIAS, timeout=0.5), CHALLENGE)


@needs_server
def test_server_that_falls_silent_makes_it_unavailable_in_time_and_it_recovers(ledger, caplog, monkeypatch):
    if vendor() == "postgresql":
        psycopg = pytest.importorskip("psycopg")
        if tuple(map(int, psycopg.__version__.split(".")[:2])) < (3, 3):
            pytest.skip("this psycopg waits for ever")
    as_in_production(monkeypatch, max_age=None)
    ledger = fresh(timeout=0.5)
    with monkeypatch.context() as patch, proxy(patch) as between:
        take(ledger, CHALLENGE)
        between.fall_silent()
        with unavailable(caplog, within=5):
            take(ledger, CHALLENGE)
    # What was on its way may have been counted.
    assert take(ledger, CHALLENGE).counts in ((2,), (3,))


@needs_server
def test_connection_that_the_server_has_closed_is_not_used_again(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    take(ledger, CHALLENGE)
    before = own_session(ledger)
    with somebody_else() as cursor:
        cursor.execute("KILL %s" if vendor() == "mysql" else "SELECT pg_terminate_backend(%s)", [before])
    time.sleep(0.3)  # Until the word gets round.
    assert take(ledger, CHALLENGE).counts == (2,)
    assert own_session(ledger) != before


def test_missing_table_makes_it_unavailable_and_the_log_says_what_to_type(ledger, caplog):
    with somebody_else() as cursor:
        cursor.execute("ALTER TABLE otp_actions_ledger RENAME TO otp_actions_away")
        try:
            for operation in (
                lambda: take(ledger, CHALLENGE),
                lambda: take(ledger, CHALLENGE, IDENTIFIER),
                lambda: ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW),
            ):
                with unavailable(caplog, within=1, hint=f"python manage.py migrate --database={ALIAS}"):
                    operation()
        finally:
            cursor.execute("ALTER TABLE otp_actions_away RENAME TO otp_actions_ledger")
    assert take(ledger, CHALLENGE).counts == (1,)


@needs_server
def test_limits_of_the_operation_do_not_stay_with_the_connection(ledger, monkeypatch):
    """A pooler lends one server connection to many: what is set for good would hit somebody else."""
    if vendor() == "mysql":
        pytest.skip("MySQL's are the session's own, and harmless to others")
    as_in_production(monkeypatch, max_age=None)
    ledger = fresh(timeout=0.5)
    seen = []

    def look(connection):
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            seen.append(cursor.fetchone()[0])
        return []

    ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=look)
    with ledger_module.own_cursor(ALIAS, 0.5) as cursor:
        look(cursor.db)
    assert seen == ["500ms", "0"]


# --- Entries that are not ours --------------------------------------------------------------------------------------

ENTRIES = [(-1, NOW + TTL), (-(2**63), NOW + TTL), (2**53 + 1, NOW + TTL), (1, 0), (1, -5), (1, 2**62), (0, 2**63 - 1)]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "operation",
    [
        lambda ledger: take(ledger, IDENTIFIER),
        lambda ledger: take(ledger, CHALLENGE, IDENTIFIER),
        lambda ledger: take(ledger, CHALLENGE, IDENTIFIER, IP),
        lambda ledger: take(ledger, CHALLENGE, unless=((IDENTIFIER, 2**53),)),
        lambda ledger: take(ledger, CHALLENGE, IP, unless=((IDENTIFIER, 2**53),)),
        lambda ledger: take(ledger, IDENTIFIER, unless=((IDENTIFIER, 2**53),)),
        lambda ledger: ledger.take((), unless=((IDENTIFIER, 2**53),), now=NOW),
        lambda ledger: ledger.advance(IDENTIFIER, USED, ttl=TTL, now=NOW),
        lambda ledger: ledger.advance(IDENTIFIER, USED, ttl=TTL, now=NOW, release=((claim(CHALLENGE), 1),)),
    ],
)
def test_poisoned_entry_is_an_error_and_stays_one(ledger, caplog, entry, operation):
    with somebody_else() as cursor:
        put(cursor, IDENTIFIER, *entry)
    for _ in range(3):
        with unavailable(caplog, hint="otp_actions_ledger"):
            operation(ledger)
    assert rows() == {IDENTIFIER: entry}


# --- Events ---------------------------------------------------------------------------------------------------------


def event_of(whom, then=lambda: None):
    """Return an event that has one more row written, after it has done something."""

    def event(connection):
        assert isinstance(connection, BaseDatabaseWrapper)
        assert connection is not connections[ALIAS]
        then()
        return [put_sql(key("z", whom), 1, NOW)]

    return event


def test_event_is_written_with_the_mark(ledger):
    assert verify(ledger, event_of(1))
    assert rows()[CHALLENGE] == (USED, NOW + TTL)
    assert key("z", 1) in rows()


def test_event_of_a_mark_that_does_not_move_is_not_written(ledger):
    assert verify(ledger)
    assert not ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=event_of(1))
    assert key("z", 1) not in rows()


def test_nobody_sees_the_mark_before_its_event_is_written(ledger):
    seen = []
    assert ledger.advance(
        CHALLENGE, USED, ttl=TTL, now=NOW, event=event_of(1, lambda: seen.append(CHALLENGE in rows()))
    )
    assert seen == [False]
    assert CHALLENGE in rows()


def fail():
    raise ZeroDivisionError("canary")


@pytest.mark.parametrize("release", [(), ((claim(IDENTIFIER, 30), 30),), ((claim(key("a"), 30), 30),)])
def test_event_that_fails_takes_mark_and_release_back(ledger, caplog, release):
    take(ledger, CHALLENGE, IDENTIFIER, key("a"))
    before = rows()
    with unavailable(caplog, hint="ZeroDivisionError"):
        ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, release=release, event=event_of(1, fail))
    assert "canary" not in caplog.text
    assert rows() == before
    assert ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, release=release, event=event_of(1))


def test_event_that_the_database_refuses_takes_the_mark_back(ledger, caplog):
    with somebody_else() as cursor:
        put(cursor, key("z", 1), 1, NOW)
    before = rows()
    with unavailable(caplog):
        ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=event_of(1))
    assert rows() == before


def test_event_that_hides_an_error_of_the_database_does_not_hide_that_the_mark_is_gone(ledger, caplog):
    """PostgreSQL answers the COMMIT after any error by rolling back, and calls that no error."""
    take(ledger, CHALLENGE)

    def event(connection):
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM there_is_no_such_table")
        return []

    try:
        moved = ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=event)
    except OTPUnavailableException:
        moved = False
    assert moved == (rows()[CHALLENGE] == (USED, NOW + TTL))
    assert moved == (vendor() != "postgresql")


def test_event_is_tried_again_with_its_mark_after_a_deadlock(ledger, monkeypatch):
    """An error of the kind that a deadlock is; a real one is provoked above."""
    as_in_production(monkeypatch, max_age=None)
    calls = []

    def once():
        if len(calls) == 1:
            raise OperationalError(1213)

    with meanwhile(ledger, put_sql()[0], once):
        assert ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=event_of(1, lambda: calls.append(1)))
    assert len(calls) == 2
    assert key("z", 1) in rows()


@needs_server  # SQLite has one writer at a time.
def test_operation_within_an_event_has_a_connection_of_its_own(ledger, caplog, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    take(ledger, CHALLENGE)
    with unavailable(caplog, hint="ZeroDivisionError"):
        ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=lambda _: (take(ledger, IDENTIFIER), fail()))
    assert rows() == {CHALLENGE: (1, NOW + TTL), IDENTIFIER: (1, NOW + TTL)}


def test_interrupted_event_leaves_neither_mark_nor_lock(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=event_of(1, interrupt))
    assert rows() == {}
    assert isinstance(take(ledger, CHALLENGE), Taken)
    assert rows() == {CHALLENGE: (1, NOW + TTL)}


# --- Others who are quicker -----------------------------------------------------------------------------------------


@contextmanager
def meanwhile(ledger, statement, work, *, time=1):
    """Do *work* just before the ledger runs such a *statement* for the first *time*, or the second."""
    seen = []

    def look(execute, sql, params, many, context):
        if statement in sql:
            seen.append(sql)
            if len(seen) == time:
                work()
        return execute(sql, params, many, context)

    with ledger_module.own_cursor(ALIAS, ledger._timeout) as cursor:
        own = cursor.db
    with own.execute_wrapper(look):
        yield
    assert len(seen) >= time


def put_of_somebody(*entry):
    with somebody_else() as cursor:
        put(cursor, *entry)


@pytest.mark.parametrize(("there", "moves"), [(1, True), (USED, False)])
def test_mark_that_somebody_else_makes_in_between_is_moved_if_it_is_lower(ledger, monkeypatch, there, moves):
    as_in_production(monkeypatch, max_age=None)
    statement = "INSERT IGNORE" if vendor() == "mysql" else "INSERT"
    with meanwhile(ledger, statement, lambda: put_of_somebody(CHALLENGE, there, NOW + TTL)):
        assert ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW) is moves
    assert rows() == {CHALLENGE: (USED, NOW + TTL)}


@pytest.mark.parametrize("others", [(), (IDENTIFIER,)])
def test_bucket_that_is_emptied_before_it_is_asked_why_it_is_full_is_taken_from(ledger, monkeypatch, others):
    as_in_production(monkeypatch, max_age=None)
    take(ledger, CHALLENGE, limit=1)

    def empty():
        with somebody_else() as cursor:
            cursor.execute("DELETE FROM otp_actions_ledger")

    # In MySQL the first look is part of the transaction, and decides.
    with meanwhile(ledger, f"SELECT {KEY}", empty, time=2 if vendor() == "mysql" else 1):
        assert isinstance(take(ledger, CHALLENGE, *others, limit=1), Taken)
    assert rows() == dict.fromkeys((CHALLENGE, *others), (1, NOW + TTL))


# --- Other things ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(vendor() != "sqlite", reason="a matter of SQLite")
def test_sqlite_file_is_switched_to_a_write_ahead_log(ledger):
    with somebody_else() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone() == (2,)  # FULL: what was committed survives a power cut.


@pytest.mark.skipif(vendor() != "sqlite", reason="a matter of SQLite")
def test_threads_wait_for_their_turn_before_they_come_to_sqlite(ledger, caplog, monkeypatch):
    """SQLite has no line: under load, some threads would never have their turn."""
    busy = []

    def wait(_):
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module, "own_cursor", lambda *_: busy.append("asked SQLite"))
            patch.setattr(ledger, "_timeout", 0.05)
            with unavailable(caplog, within=1, hint="OTP_LEDGER_TIMEOUT"):
                take(ledger, IDENTIFIER)
        return []

    assert ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, event=wait)
    assert busy == []
    assert take(ledger, IDENTIFIER).counts == (1,)


def test_clear_forgets_everything(ledger):
    verify(ledger)
    ledger.clear()
    assert rows() == {}


def test_verification_names_each_key_as_it_is(ledger):
    """17 arbitrary bytes, compared as bytes: no collation, no padding, no case."""
    alike = [b"c" + bytes([number]) * 16 for number in (0x00, 0x20, 0x41, 0x61, 0x25, 0x27, 0x5C, 0xC4, 0xE4, 0xFF)]
    for one in alike:
        assert take(ledger, one).counts == (1,)
    assert set(rows()) == set(alike)


def test_what_counts_far_from_now_is_exact(ledger):
    for now in (0, 1, 2**31 - 1, 2**31, 2**53 - 1):
        mark = key("m", now)
        assert ledger.advance(mark, 2**53, ttl=2**31, now=now)
        assert take(ledger, mark, limit=1, now=now) == Denied(claim(mark, 1), 2**31)
        assert rows()[mark] == (2**53, now + 2**31)
