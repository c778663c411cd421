"""From signals to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Final

from django.conf import settings
from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql import InsertQuery
from django.utils.timezone import make_naive

from otp_actions import conf, signals
from otp_actions.audit.identifiers import columns_of
from otp_actions.audit.models import OTPEvent
from otp_actions.ledgers.database.connection import own_cursor
from otp_actions.ledgers.database.errors import name_of
from otp_actions.signals import Occurrence

__all__ = ["connect", "record", "write"]

_OUTCOMES: Final = {"failed": OTPEvent.Outcome.REFUSED, "exhausted": OTPEvent.Outcome.REFUSED}


def connect() -> None:
    """Listen to every signal, and have transactional ledgers write over their own connections."""
    signals.record = record
    for signal in (
        signals.otp_generated,
        signals.otp_verified,
        signals.otp_failed,
        signals.otp_exhausted,
        signals.otp_revoked,
    ):
        signal.connect(write)


def write(occurrence: Occurrence, **_: Any) -> None:
    """Write *occurrence* unless that is done. A failure is logged, and nobody's request fails for it."""
    if occurrence.recorded:
        return
    alias = router.db_for_write(OTPEvent)
    try:
        with _lasting_connection(alias) as connection, connection.cursor() as cursor:
            for sql, params in record(occurrence, connection):
                cursor.execute(sql, params)
    except Error as error:
        signals.logger.error(
            "An otp_%s event is missing in the audit trail: %s. See whether the database %r is up, and migrated.",
            occurrence.event,
            name_of(error),
            alias,
        )


@contextmanager
def _lasting_connection(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Give a connection to *alias* on which a row lasts whatever becomes of the caller's transaction.

    The request's own, unless that is in a transaction: with ``ATOMIC_REQUESTS``, DRF rolls back each request that it
    answers with an error, which is each wrong code. Two exceptions are written in that transaction, and go with it: in
    SQLite another connection would have to wait for its end; in Django's ``TestCase`` everything is to be undone.
    """
    connection = connections[alias]
    if connection.get_autocommit():
        yield connection
    elif connection.vendor == "sqlite" or all(getattr(b, "_from_testcase", False) for b in connection.atomic_blocks):
        # In a savepoint: PostgreSQL would refuse all that follows an error.
        with transaction.atomic(using=alias):
            yield connection
    else:
        with own_cursor(alias, conf.current().ledger_timeout) as cursor:
            yield cursor.db


#: The INSERT, by engine, table and columns.
_sql: Final[dict[tuple[str | None, ...], str]] = {}


def record(occurrence: Occurrence, connection: BaseDatabaseWrapper) -> list[tuple[str, Sequence[Any]]]:
    """Return the SQL, with its parameters, that writes *occurrence* over *connection*."""
    # What OTPEvent.objects.create() does, which takes no connection but an alias.
    meta = OTPEvent._meta  # noqa: SLF001 -- public in spite of its name
    fields = [field for field in meta.concrete_fields if not field.primary_key]
    row = _event(occurrence)
    key = (connection.vendor, meta.db_table, *[field.column for field in fields])
    if key not in _sql:  # Compiling takes longer than the rest of it.
        query = InsertQuery(OTPEvent)
        query.insert_values(fields, [row])
        ((_sql[key], _),) = query.get_compiler(connection=connection).as_sql()
    return [(_sql[key], [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields])]


def _event(occurrence: Occurrence) -> OTPEvent:
    identifier, digest = columns_of(occurrence.identifier)
    time = datetime.fromtimestamp(occurrence.time, timezone.utc)
    outcome = _OUTCOMES.get(occurrence.event, OTPEvent.Outcome.SUCCESS)
    return OTPEvent(
        time=time if settings.USE_TZ else make_naive(time),
        event=occurrence.event,
        outcome=OTPEvent.Outcome.DECOY if occurrence.reason == "DECOY" else outcome,
        reason=occurrence.reason,
        identifier=_storable(identifier),
        identifier_digest=digest,
        purpose=_storable(occurrence.purpose),
        jti=occurrence.jti,
        ip=occurrence.address,
        user_agent=_storable(occurrence.user_agent),
    )


def _storable(text: str) -> str:
    """Return *text* with a mark in place of what no database takes: NUL, and halves of a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
