"""SQLite in memory: what Django makes of a SQLite database for a test run. Waiting there is nobody's but ours."""

import itertools
import sqlite3
from contextlib import closing

import pytest
from django.db import connections

from contract.ledger import NOW, TTL, claim, key
from full.database import ALIAS, vendor
from otp_actions.ledgers.base import Taken
from otp_actions.ledgers.database.ledger import DatabaseLedger


@pytest.fixture
def in_memory(monkeypatch, django_db_blocker):
    """A database in memory, shared by the connections of this process."""
    memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:otp_memory?mode=memory&cache=shared", "OPTIONS": {}}
    monkeypatch.setitem(connections.settings, "memory", {**connections.settings[ALIAS], **memory})
    with closing(sqlite3.connect(memory["NAME"], uri=True)) as keeper:  # It is there as long as anybody is connected.
        keeper.execute("CREATE TABLE otp_actions_ledger (key BLOB PRIMARY KEY, value BIGINT, expiry BIGINT)")
        keeper.commit()
        with django_db_blocker.unblock():
            yield "memory"
    del connections["memory"]


@pytest.mark.skipif(vendor() != "sqlite", reason="a matter of SQLite")
def test_threads_share_a_database_in_memory(in_memory, at_once):
    # Several ledgers, as in several processes: the threads of one stand in line before they come to SQLite.
    ledgers = itertools.cycle([DatabaseLedger(in_memory, timeout=20) for _ in range(8)])

    def work():
        ledger = next(ledgers)
        taken = ledger.take((claim(key("c"), 20), claim(key("i"), 10**6)), now=NOW)
        marked = ledger.advance(key("m"), 1, ttl=TTL, now=NOW, release=((claim(key("i"), 10**6), 1),))
        return isinstance(taken, Taken), marked

    results = at_once(32, work)
    assert sum(taken for taken, _ in results) == 20
    assert sum(marked for _, marked in results) == 1
