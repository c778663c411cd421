"""``manage.py check`` and the router: is the ledger's database one that it can use?"""

import sqlite3

import pytest
from django.contrib.auth.models import Group as OtherModel
from django.core import checks
from django.db import connections

from full.database import ALIAS, vendor
from otp_actions import conf
from otp_actions.ledgers.database.checks import check_ledger_database, check_ledger_table
from otp_actions.ledgers.database.ledger import DatabaseLedger
from otp_actions.ledgers.database.models import LedgerEntry
from otp_actions.ledgers.database.router import LedgerRouter

HERE = "full.test_database_checks"
ROUTER = "otp_actions.ledgers.database.router.LedgerRouter"


def found():
    return [(message.id, message.msg, message.hint) for message in check_ledger_database(None)]


@pytest.fixture
def aliases(monkeypatch):
    """Call it with an alias and its settings to have that, too, or instead of the one there is."""
    before = {}

    def add(alias, **options):
        if alias in connections:
            before.setdefault(alias, connections[alias])
        monkeypatch.setitem(connections.settings, alias, {**connections.settings["default"], **options})
        before.setdefault(alias, None)
        connections[alias] = connections.create_connection(alias)

    yield add
    for alias, connection in before.items():
        if connection is None:
            del connections[alias]
        else:
            connections[alias] = connection


@pytest.fixture
def sqlite(aliases, settings, tmp_path):
    """A ledger on a SQLite file of its own, as the documentation has it."""
    aliases("otp", ENGINE="django.db.backends.sqlite3", NAME=tmp_path / "otp.sqlite3")
    settings.OTP_LEDGER = "database"
    settings.OTP_LEDGER_DATABASE = "otp"
    settings.DATABASE_ROUTERS = [ROUTER]
    return tmp_path


def test_this_installation_is_right():
    assert found() == []
    assert check_ledger_database in checks.registry.registry.registered_checks


def test_sqlite_file_of_its_own_is_right(sqlite):
    assert found() == []


def test_sqlite_database_of_the_requests_is_an_error_that_says_what_to_type(sqlite, aliases, settings):
    aliases("default", ENGINE="django.db.backends.sqlite3", NAME=sqlite / "shop.sqlite3")
    settings.OTP_LEDGER_DATABASE = "default"
    [(check, message, hint)] = found()
    assert check == "otp_actions.E015"
    assert "OTP_LEDGER_DATABASE = 'default'" in message
    for typed in ('DATABASES["otp"] = ', f'DATABASE_ROUTERS = ["{ROUTER}"]', "python manage.py migrate --database=otp"):
        assert typed in hint


@pytest.mark.parametrize("spelling", ["otp.sqlite3", "folder/../otp.sqlite3", "link.sqlite3"])
def test_sqlite_file_of_another_alias_is_an_error_however_it_is_spelt(sqlite, aliases, spelling):
    (sqlite / "folder").mkdir()
    (sqlite / "link.sqlite3").symlink_to(sqlite / "otp.sqlite3")
    aliases("shop", ENGINE="django.db.backends.sqlite3", NAME=f"{sqlite}/{spelling}")
    [(check, message, _)] = found()
    assert check == "otp_actions.E015"
    assert "is the file of 'shop'" in message


def test_sqlite_in_memory_is_shared_with_nobody(sqlite, aliases, settings):
    for alias in ("otp", "shop"):
        aliases(alias, ENGINE="django.db.backends.sqlite3", NAME=":memory:")
    assert found() == []


@pytest.mark.parametrize("routers", [[], [f"{HERE}.Elsewhere", ROUTER], [f"{HERE}.Never", ROUTER]])
def test_sqlite_file_that_the_tables_do_not_get_to_is_an_error(sqlite, settings, routers):
    settings.DATABASE_ROUTERS = routers
    [(check, message, hint)] = found()
    assert check == "otp_actions.E015"
    assert "DATABASE_ROUTERS" in message
    assert f"DATABASE_ROUTERS = ['{ROUTER}']" in hint
    assert "migrate --database=otp" in hint


class Elsewhere:
    """A router that thinks it knows better."""

    def db_for_write(self, model, **hints):
        return "default"


class Never:
    """A router that thinks no table should be made."""

    def allow_migrate(self, db, app_label, **hints):
        return False


def test_sqlite_that_is_too_old_is_an_error(sqlite, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    [(check, message, _)] = found()
    assert check == "otp_actions.E015"
    assert "3.35" in message


def test_nothing_is_looked_at_with_another_ledger(sqlite, settings):
    settings.DATABASE_ROUTERS = []
    for ledger in ("process", "redis", None):
        settings.OTP_LEDGER = ledger
        assert found() == []


def test_unknown_alias_is_left_to_the_check_of_the_settings(settings):
    settings.OTP_LEDGER_DATABASE = "no such alias"
    assert found() == []


def test_database_of_another_kind_is_a_setting_error(aliases):
    aliases("odd", ENGINE="django.db.backends.dummy")
    with pytest.raises(conf.SettingError, match="PostgreSQL, MySQL, MariaDB and SQLite") as caught:
        DatabaseLedger("odd", timeout=1)
    assert caught.value.check_id == "otp_actions.E015"


# --- The table


@pytest.mark.django_db(databases="__all__")
def test_table_that_is_there_is_right():
    assert check_ledger_table(None) == []
    assert check_ledger_table in checks.registry.registry.registered_checks


@pytest.mark.django_db(databases="__all__")
def test_missing_table_is_a_warning_that_says_what_to_type(monkeypatch):
    monkeypatch.setattr(LedgerEntry._meta, "db_table", "there_is_no_such_table")
    [message] = check_ledger_table(None)
    assert (message.id, message.hint) == ("otp_actions.W007", f"Type: python manage.py migrate --database={ALIAS}")
    assert ALIAS in message.msg


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("ledger", ["process", "redis", None])
def test_missing_table_is_nobodys_matter_with_another_ledger(sqlite, settings, ledger):
    settings.OTP_LEDGER = ledger
    assert check_ledger_table(None) == []


@pytest.mark.django_db(databases="__all__")
def test_database_that_is_down_is_no_matter_of_the_table(sqlite, aliases):
    aliases("otp", ENGINE="django.db.backends.sqlite3", NAME=sqlite / "no such directory" / "otp.sqlite3")
    assert check_ledger_table(None) == []


# --- The router


def migrates(router, db, model):
    return router.allow_migrate(db, model._meta.app_label, model_name=model._meta.model_name)


def test_router_keeps_ours_on_the_ledgers_database_and_others_away_from_it(settings):
    settings.OTP_LEDGER_DATABASE = "otp"
    router = LedgerRouter()
    assert router.db_for_read(LedgerEntry) == router.db_for_write(LedgerEntry, instance=None) == "otp"
    assert router.db_for_read(OtherModel) is router.db_for_write(OtherModel) is None
    assert [migrates(router, db, LedgerEntry) for db in ("default", "otp", "third")] == [False, True, False]
    assert [migrates(router, db, OtherModel) for db in ("default", "otp", "third")] == [None, False, None]
    assert router.allow_migrate("otp", "otp_actions_audit")
    assert router.allow_migrate("default", "otp_actions_audit") is False


def test_router_leaves_others_where_they_are_if_the_ledger_is_on_the_default_database(settings):
    settings.OTP_LEDGER_DATABASE = "default"
    router = LedgerRouter()
    assert router.db_for_write(LedgerEntry) == "default"
    assert [migrates(router, db, LedgerEntry) for db in ("default", "other")] == [True, False]
    assert [migrates(router, db, OtherModel) for db in ("default", "other")] == [None, None]


@pytest.mark.django_db(databases="__all__")
def test_tables_are_where_the_router_wants_them():
    tables = {alias: set(connections[alias].introspection.table_names()) for alias in connections}
    assert [alias for alias in tables if "otp_actions_ledger" in tables[alias]] == [ALIAS]
    if vendor() == "sqlite":
        assert tables[ALIAS] <= {"django_migrations", "otp_actions_ledger", "otp_actions_event", "sqlite_sequence"}
