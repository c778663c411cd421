"""Whose connection the ledger uses, and when it is closed."""

import asyncio
import gc
import os
import threading
from contextlib import contextmanager

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections, reset_queries

from contract.ledger import NOW, claim, key
from full.database import (
    ALIAS,
    as_in_production,
    fresh,
    own_session,
    session_of,
    sessions,
    sessions_become,
    vendor,
)
from otp_actions.ledgers.base import Taken
from otp_actions.ledgers.database.connection import close_connections, own_cursor
from otp_actions.services import averify_otp, generate_otp

pytestmark = pytest.mark.django_db(databases="__all__")

needs_server = pytest.mark.skipif(vendor() == "sqlite", reason="there is no server")


@pytest.fixture
def ledger():
    yield fresh()
    fresh()
    close_connections()


def take(ledger, bucket=None):
    return ledger.take((claim(bucket or key("c"), 10**6),), now=NOW)


@contextmanager
def request():
    """What a server signals around a request in the thread that serves it."""
    request_started.send(sender=None)
    try:
        yield
    finally:
        request_finished.send(sender=None)


@pytest.fixture(autouse=True)
def _django_keeps_its_own():
    """As Django's test client does: its connection is in a transaction here, and closing it would end that."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def in_thread(work):
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def test_connection_is_neither_djangos_nor_another_threads(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    with connections[ALIAS].cursor() as cursor:
        djangos = session_of(cursor)
    mine = own_session(ledger)
    barrier = threading.Barrier(4)
    theirs = []

    def work():
        theirs.append(own_session(ledger))
        barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({djangos, mine, *theirs}) == 6
    assert own_session(ledger) == mine


def test_in_a_test_run_nothing_stays_open(ledger):
    """PostgreSQL does not drop a test database while anybody is connected to it."""
    before = sessions()
    with request():
        take(ledger)
        assert sessions_become(before)
    in_thread(lambda: take(ledger))
    assert sessions_become(before)


def test_connection_is_used_throughout_a_request_and_closed_with_it(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=0)
    before = sessions()
    with request():
        first = own_session(ledger)
        take(ledger)
        assert own_session(ledger) == first
        assert sessions_become(before + 1)
    assert sessions_become(before)


def test_outside_of_a_request_it_is_closed_with_the_operation(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=0)
    before = sessions()
    take(ledger)
    assert sessions_become(before)


def test_persistent_connection_is_used_again_by_the_next_request_of_its_thread(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=60)
    before = sessions()
    seen = set()
    for _ in range(3):
        with request():
            seen.add(own_session(ledger))
    seen.add(own_session(ledger))
    assert len(seen) == 1
    assert sessions_become(before + 1)
    close_connections()
    assert sessions_become(before)


def test_persistent_connection_ends_with_its_age(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=60)
    before = sessions()
    with request():
        take(ledger)
        with own_cursor(ALIAS, ledger._timeout) as cursor:
            cursor.db.close_at = 0
    assert sessions_become(before)


@pytest.mark.parametrize("max_age", [0, 60])
def test_many_requests_in_many_threads_leave_no_connection_behind(ledger, monkeypatch, at_once, max_age):
    as_in_production(monkeypatch, max_age=max_age)
    ledger = fresh(timeout=30)
    before = sessions()

    def work():
        for _ in range(5):
            with request():
                take(ledger)
        return take(ledger)

    for _ in range(3):
        assert all(isinstance(result, Taken) for result in at_once(16, work))
    assert sessions_become(before)
    assert take(ledger).counts == (3 * 16 * 6 + 1,)


def test_settings_of_the_alias_are_followed_when_they_change(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    first = own_session(ledger)
    monkeypatch.setitem(connections[ALIAS].settings_dict, "CONN_HEALTH_CHECKS", True)
    second = own_session(ledger)
    assert own_session(ledger) == second
    assert (second != first) or vendor() == "sqlite"  # An address in memory may be used again.


@needs_server
def test_health_checks_are_made_if_they_are_switched_on(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    monkeypatch.setitem(connections[ALIAS].settings_dict, "CONN_HEALTH_CHECKS", True)
    with request(), own_cursor(ALIAS, ledger._timeout) as cursor:
        monkeypatch.setattr(cursor.db, "is_usable", lambda: False)
        first = cursor.db
    with request():
        take(ledger)
        with own_cursor(ALIAS, ledger._timeout) as cursor:
            assert cursor.db is not first


def test_options_of_the_alias_are_kept_unless_they_are_the_ledgers_business(monkeypatch):
    options = {"isolation_level": "serializable"} if vendor() == "mysql" else {}
    if vendor() == "postgresql":
        options = {"pool": True, "server_side_binding": True, "application_name": "shop", "isolation_level": 4}
    monkeypatch.setitem(connections[ALIAS].settings_dict, "OPTIONS", options)
    monkeypatch.setitem(connections[ALIAS].settings_dict, "AUTOCOMMIT", False)
    ledger = fresh()
    with own_cursor(ALIAS, ledger._timeout) as cursor:
        if vendor() == "postgresql":
            cursor.execute("SHOW application_name")
            assert cursor.fetchone() == ("shop",)
        if vendor() == "mysql":
            cursor.execute("SELECT @@innodb_lock_wait_timeout, @@tx_isolation")
            assert cursor.fetchone() == (2, "READ-COMMITTED")
        assert cursor.db.get_autocommit()
    assert take(ledger).counts == (1,)


def test_debug_mode_keeps_no_list_of_statements_that_grows(ledger, monkeypatch, settings):
    settings.DEBUG = True
    as_in_production(monkeypatch, max_age=0)
    reset_queries()
    for _ in range(3):
        with request():
            take(ledger)
            with own_cursor(ALIAS, ledger._timeout) as cursor:
                assert len(cursor.db.queries_log) < 10
    assert take(ledger).counts == (4,)


# --- fork


may_fork = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@contextmanager
def child(work):
    """Fork; the child does *work* and ends. Gives a function that returns what it returned, as text."""
    end, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(begin, str(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(begin)

    def outcome():
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return os.read(end, 1000).decode()

    yield outcome
    os.close(end)


@may_fork
def test_forked_child_has_a_connection_of_its_own_and_leaves_the_parents_alone(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    take(ledger)
    before = own_session(ledger)
    ready, done = threading.Event(), threading.Event()
    other = []

    def stay():
        other.append(own_session(ledger))
        ready.set()
        done.wait()
        other.append(own_session(ledger))

    thread = threading.Thread(target=stay)  # Of the parent's; its connection comes to the child without its thread.
    thread.start()
    ready.wait()

    def work():
        gc.collect()
        counts = [take(ledger).counts for _ in range(2)]
        mine = own_session(ledger)
        close_connections()
        return counts, mine != before or vendor() == "sqlite"

    with child(work) as outcome:
        assert outcome() == "([(2,), (3,)], True)"
    assert take(ledger).counts == (4,)
    done.set()
    thread.join()
    assert own_session(ledger) == before
    assert other[0] == other[1]


@may_fork
@needs_server
def test_forked_child_does_not_hold_its_parents_connection_open(ledger, monkeypatch):
    as_in_production(monkeypatch, max_age=None)
    before = sessions()
    take(ledger)
    begin, end = os.pipe()
    with child(lambda: os.read(begin, 1)) as outcome:
        with own_cursor(ALIAS, ledger._timeout) as cursor:
            os.close(cursor.db.connection.fileno())  # As if the parent was killed: nobody says goodbye.
        assert sessions_become(before)
        os.write(end, b"x")
        outcome()


@may_fork
@needs_server  # SQLite itself says not to.
def test_forked_child_does_not_wait_for_a_thread_of_its_parents(ledger):
    ready, done = threading.Event(), threading.Event()

    def hold(_):
        ready.set()
        done.wait()
        return []

    thread = threading.Thread(target=lambda: ledger.advance(key("m"), 1, ttl=9, now=NOW, event=hold))
    thread.start()
    ready.wait()
    begin, end = os.pipe()
    with child(lambda: (os.read(begin, 1), take(ledger).counts)) as outcome:
        done.set()
        thread.join()
        os.write(end, b"x")
        assert outcome() == "(b'x', (1,))"


# --- async


def test_call_in_an_event_loop_is_refused_as_by_django(ledger):
    async def call():
        take(ledger)

    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(call())


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_async_verification_leaves_no_connection_behind(ledger, settings, monkeypatch):
    as_in_production(monkeypatch, max_age=0)
    before = sessions()

    async def verify_all():
        issued = [generate_otp(now=NOW) for _ in range(20)]
        return await asyncio.gather(*(averify_otp(code, context, now=NOW) for code, context in issued))

    results = asyncio.run(verify_all())
    assert len(results) == 20
    assert {result["timestamp"] for result in results} == {NOW}
    assert sessions_become(before)
