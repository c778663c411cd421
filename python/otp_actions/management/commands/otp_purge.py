"""``manage.py otp_purge``: deletes what nobody asks for any more. Run it from cron."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, router
from django.db.models import QuerySet
from django.utils.timezone import make_naive

from otp_actions import conf
from otp_actions.ledgers.database.errors import is_missing_table, is_passing, name_of

_LEDGER: Final = "otp_actions.ledgers.database"
_AUDIT: Final = "otp_actions.audit"
_TRIES: Final = 10


class _Job(NamedTuple):
    what: str
    old: QuerySet[Any]
    column: str


def _batch(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= size <= 10_000:
        raise ArgumentTypeError("must be a whole number from 1 to 10000")
    return size


class Command(BaseCommand):
    """See the module."""

    help = (
        "Delete expired entries of the database ledger, and audit events older than OTP_AUDIT_RETENTION. Works in "
        "batches, beside a running site. Stop it whenever you like, and run it again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take ``--batch`` and ``--dry-run``."""
        parser.add_argument(
            "--batch", type=_batch, default=1000, metavar="N", help="rows deleted at once, 1 to 10000 (default: 1000)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, batch: int, dry_run: bool, verbosity: int, **options: Any) -> None:
        """Purge what is installed.

        Raises:
            CommandError: It was stopped (130), or a database does not do what it is asked (1).
        """
        jobs = [job for job in (_ledger(), _audit()) if job]
        if not jobs:
            self._say(f'Nothing to do: no "{_LEDGER}" and no "{_AUDIT}" with an OTP_AUDIT_RETENTION in INSTALLED_APPS.')
        self._done = 0
        for job in jobs:
            self._done = 0
            alias = job.old.db
            try:
                if dry_run:
                    self._say(f"{job.what}: {job.old.count():,} would be deleted.")
                else:
                    self._purge(job, batch, verbosity)
                    self._say(f"{job.what}: {self._done:,} deleted.")
            except KeyboardInterrupt:
                raise CommandError(
                    f"Stopped. {job.what}: {self._done:,} deleted so far. Run it again to go on.", returncode=130
                ) from None
            except Error as error:
                advice = (
                    f"The table is missing: python manage.py migrate --database={alias}"
                    if is_missing_table(error)
                    else f"See whether the database {alias!r} is up and not overloaded. Then run it again."
                )
                raise CommandError(
                    f"{job.what}: {name_of(error)} after {self._done:,} were deleted. {advice}"
                ) from None

    def _purge(self, job: _Job, batch: int, verbosity: int) -> None:
        """Delete in batches, the oldest first."""
        terminal = self.stdout.isatty()
        told = time.monotonic()
        rest = job.old.order_by(job.column).values_list("pk", job.column)
        while rows := list(rest[:batch]):
            # The condition again: what was taken afresh since is not deleted.
            self._done += _delete(job.old.filter(pk__in=[pk for pk, _ in rows]))
            # From here on, not from the beginning: what was just deleted is still in the index, until a vacuum.
            rest = rest.filter(**{f"{job.column}__gte": rows[-1][1]})
            if verbosity > 1 or time.monotonic() - told > (1 if terminal else 10):
                told = time.monotonic()
                self._say(f"{job.what}: {self._done:,} deleted so far ...", ending="\r" if terminal else "\n")

    def _say(self, text: str, ending: str = "\n") -> None:
        self.stdout.write(text, ending=ending)
        self.stdout.flush()


def _delete(rows: QuerySet[Any]) -> int:
    """Delete *rows* in one statement, again if a verification was in the way.

    Not ``delete()``: with a receiver of deletions in the project that would read the rows first, and then delete
    whatever they have become.
    """
    for last in [False] * (_TRIES - 1) + [True]:
        try:
            return int(rows._raw_delete(rows.db))  # noqa: SLF001 -- see above
        except Error as error:
            if last or not is_passing(error):
                raise
    raise AssertionError


def _ledger() -> _Job | None:
    if not apps.is_installed(_LEDGER):
        return None
    entries = apps.get_app_config("otp_actions_ledger").get_model("LedgerEntry")._default_manager  # noqa: SLF001 -- documented
    old = entries.using(conf.read("OTP_LEDGER_DATABASE")).filter(expiry__lte=int(time.time()))
    return _Job("Expired ledger entries", old, "expiry")


def _audit() -> _Job | None:
    retention = conf.read_audit()[1]
    if retention is None or not apps.is_installed(_AUDIT):
        return None
    model = apps.get_app_config("otp_actions_audit").get_model("OTPEvent")
    before = datetime.fromtimestamp(time.time() - retention, timezone.utc)
    old = model._default_manager.using(router.db_for_write(model)).filter(  # noqa: SLF001 -- documented
        time__lt=before if settings.USE_TZ else make_naive(before)
    )
    return _Job("Old audit events", old, "time")
