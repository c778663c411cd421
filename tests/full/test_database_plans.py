"""EXPLAIN: every statement of the ledger, and of purging, finds its rows by an index."""

import time

import pytest
from django.core.management import call_command
from django.db import connections

from contract.ledger import NOW, TTL, claim, key
from full.database import ALIAS, KEY, as_in_production, begin, fresh, somebody_else, vendor
from otp_actions.ledgers.database.connection import close_connections, own_cursor

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

CHALLENGE, IDENTIFIER, IP, EPOCH = (key(kind) for kind in "cipe")
USED = 2**40
ENTRIES = 20_000


class Said(list):
    """(statement, parameters) of what was said to the database."""

    def note(self, execute, sql, params, many, context):
        rest = list(params or ())
        for one in sql.split("; "):  # To PostgreSQL several statements travel as one text.
            count = one.count("%s")
            self.append((one, rest[:count]))
            del rest[:count]
        return execute(sql, params, many, context)

    def explained(self, cursor):
        """Return each plan, once for each statement."""
        plans = {}
        for sql, params in self:
            if sql.split()[0] in ("INSERT", "UPDATE", "SELECT", "DELETE") and "otp_actions_ledger" in sql:
                cursor.execute(f"EXPLAIN {'QUERY PLAN ' if vendor() == 'sqlite' else ''}{sql}", params)
                names = [column[0] for column in cursor.description]
                plans[sql] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return plans


def scans(plan):
    """Return the steps of *plan* that read a whole table."""
    if vendor() == "mysql":
        # An upsert has a plan of its own kind: it goes by the primary key.
        return [step for step in plan if step["type"] in ("ALL", "index") and step["select_type"] != "INSERT"]
    column = "detail" if vendor() == "sqlite" else "QUERY PLAN"
    words = [str(step[column]) for step in plan]
    # In SQLite's words, the rows that a statement brings along are scanned, too.
    return [word for word in words if "Seq Scan" in word or word in ("SCAN held", "SCAN otp_actions_ledger")]


def indexes(plans):
    return " ".join(str(step) for plan in plans.values() for step in plan)


@pytest.fixture
def ledger(monkeypatch):
    """A ledger with many entries."""
    ledger = fresh()
    as_in_production(monkeypatch, max_age=None)
    with somebody_else() as cursor:
        entries = [(key("a", whom), 1, NOW + whom) for whom in range(ENTRIES)]
        begin(cursor)
        cursor.executemany(f"INSERT INTO otp_actions_ledger ({KEY}, value, expiry) VALUES (%s, %s, %s)", entries)
        cursor.execute("COMMIT")
        cursor.execute("ANALYZE TABLE otp_actions_ledger" if vendor() == "mysql" else "ANALYZE otp_actions_ledger")
        if vendor() == "mysql":
            cursor.fetchall()
    yield ledger
    fresh()
    close_connections()


def test_every_statement_of_the_ledger_goes_by_the_primary_key(ledger):
    said = Said()
    with own_cursor(ALIAS, ledger._timeout) as cursor:
        own = cursor.db
    with own.execute_wrapper(said.note):
        claims = (claim(CHALLENGE), claim(IDENTIFIER, 1), claim(IP, 100))
        unless = ((CHALLENGE, 2 * USED - 1), (EPOCH, NOW), (CHALLENGE, USED - 1))
        ledger.take(claims, unless=unless, now=NOW)
        ledger.take(claims, unless=unless, now=NOW)  # Denied.
        ledger.take((claim(IP, 100),), unless=((EPOCH, NOW),), now=NOW)
        release = ((claims[1], 30), (claims[2], 1))
        assert ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW, release=release)
        assert not ledger.advance(CHALLENGE, USED, ttl=TTL, now=NOW)
        assert ledger.advance(EPOCH, USED, ttl=TTL, now=NOW)
        ledger._give_back((claims[2], 1), now=NOW)
    with somebody_else() as cursor:
        plans = said.explained(cursor)
    assert len(plans) >= 5
    for sql, plan in plans.items():
        assert scans(plan) == [], sql
    primary = {
        "mysql": "PRIMARY",
        "postgresql": "otp_actions_ledger_pkey",
        "sqlite": "sqlite_autoindex_otp_actions_ledger_1",
    }
    assert primary[vendor()] in indexes(plans)


def test_purging_goes_by_the_expiry_and_then_by_the_primary_key(ledger, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW + 500)
    said = Said()
    with connections[ALIAS].execute_wrapper(said.note):
        call_command("otp_purge", "--dry-run", verbosity=0)
        call_command("otp_purge", "--batch", "100", verbosity=0)
    with somebody_else() as cursor:
        plans = said.explained(cursor)
    assert {sql.split()[0] for sql in plans} == {"SELECT", "DELETE"}
    for sql, plan in plans.items():
        assert scans(plan) == [], sql
    assert "otp_actions_ledger_expiry" in indexes(plans)
