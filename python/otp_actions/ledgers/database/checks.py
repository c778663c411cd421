"""``manage.py check``: whether the ledger's database can be used beside that of the requests."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's name for it
from django.db import connections, router

from otp_actions import conf
from otp_actions.ledgers.database.connection import own_cursor
from otp_actions.ledgers.database.models import LedgerEntry

_ROUTER = "otp_actions.ledgers.database.router.LedgerRouter"


def check_ledger_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a SQLite file that the ledger would share, or that its tables do not get to."""
    alias = conf.read("OTP_LEDGER_DATABASE")
    if conf.read("OTP_LEDGER") != "database" or alias not in connections or connections[alias].vendor != "sqlite":
        return []  # Other engines are at home with many connections; an unknown alias is E010.
    errors: list[CheckMessage] = []
    sharer = alias if alias == "default" else _sharer(alias)
    if sharer is not None:
        errors.append(
            Error(
                'OTP_LEDGER = "database" needs a SQLite file of its own: it counts on a connection of its own, and two '
                f"connections that write to one file wait for each other. OTP_LEDGER_DATABASE = {alias!r} is the file "
                f"of {sharer!r}.",
                hint=_HINT,
                id="otp_actions.E015",
            )
        )
    elif router.db_for_write(LedgerEntry) != alias or not router.allow_migrate_model(alias, LedgerEntry):
        errors.append(
            Error(
                f"OTP_LEDGER_DATABASE = {alias!r} is a SQLite file of its own, but DATABASE_ROUTERS sends the ledger's "
                "tables elsewhere.",
                hint=f"In the settings: DATABASE_ROUTERS = [{_ROUTER!r}], before other routers. "
                f"Then: python manage.py migrate --database={alias}",
                id="otp_actions.E015",
            )
        )
    if sqlite3.sqlite_version_info < (3, 35):
        errors.append(
            Error(
                f"The SQLite library here is {sqlite3.sqlite_version}, but the ledger needs 3.35 or later.",
                hint="Use a newer Python image or SQLite library, or PostgreSQL or MariaDB.",
                id="otp_actions.E015",
            )
        )
    return errors


def check_ledger_table(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Say so where the ledger's table is missing: until it is there, no code is accepted."""
    if conf.read("OTP_LEDGER") != "database" or check_ledger_database(app_configs):
        return []
    alias = conf.read("OTP_LEDGER_DATABASE")
    try:
        with own_cursor(alias, conf.current().ledger_timeout) as cursor:
            if LedgerEntry._meta.db_table in cursor.db.introspection.table_names(cursor):  # noqa: SLF001 -- public
                return []
    except Exception:  # Down, misconfigured, or forbidden as in a test, each in its own way: not for this check to say.
        return []
    return [
        Warning(
            f"The table of the ledger is missing in the database {alias!r}: no code is accepted.",
            hint=f"Type: python manage.py migrate --database={alias}",
            id="otp_actions.W007",
        )
    ]


_HINT = (
    'In the settings: DATABASES["otp"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "otp.sqlite3"}; '
    f'OTP_LEDGER_DATABASE = "otp"; DATABASE_ROUTERS = ["{_ROUTER}"]. Then: python manage.py migrate --database=otp'
)


def _sharer(alias: str) -> str | None:
    """Return another alias that has the same file as *alias*."""
    file = _file(alias)
    return next((other for other in connections if other != alias and file is not None and _file(other) == file), None)


def _file(alias: str) -> str | None:
    name = str(connections[alias].settings_dict["NAME"])
    # Each connection to ":memory:" is a database of its own.
    return None if name == ":memory:" else os.path.realpath(name)
