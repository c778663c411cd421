"""``manage.py otp_erase``: forgets whom an identifier names."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, router

from otp_actions.audit.identifiers import erase, events_of
from otp_actions.audit.models import OTPEvent
from otp_actions.ledgers.database.errors import is_missing_table, name_of


class Command(BaseCommand):
    """See the module."""

    help = (
        "Delete every audit event of one identifier, in any spelling. Works in batches, beside a running site; the "
        "output does not name it. Stop it whenever you like, and run it again. Events that were written under a key "
        "which has left OTP_SIGNING_KEY since cannot be found: they go with OTP_AUDIT_RETENTION."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the identifier, ``--int`` and ``--dry-run``."""
        parser.add_argument("identifier", help="as it was given to generate_otp()")
        parser.add_argument("--int", action="store_true", help="it was given as a number: 42 is not '42'")
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *, identifier: str, dry_run: bool, **options: Any) -> None:
        """Erase.

        Raises:
            CommandError: It is no identifier, or it was stopped (130), or the database does not do what it is asked.
        """
        self._told = time.monotonic()
        try:
            whom = int(identifier) if options["int"] else identifier
            if dry_run:
                self.stdout.write(f"Audit events of this identifier: {events_of(whom).count():,} would be deleted.")
            else:
                self.stdout.write(f"Audit events of this identifier: {erase(whom, progress=self._tell):,} deleted.")
        except ValueError:
            raise CommandError("That cannot be an identifier. With --int, give a number of 64 bits.") from None
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again to go on.", returncode=130) from None
        except Error as error:
            what = (
                f"The table is missing: python manage.py migrate --database={router.db_for_write(OTPEvent)}"
                if is_missing_table(error)
                else "See whether the database is up and reachable."
            )
            raise CommandError(f"{name_of(error)}. {what} Then run it again.") from None

    def _tell(self, count: int) -> None:
        if time.monotonic() - self._told > 1:
            self._told = time.monotonic()
            self.stdout.write(f"{count:,} deleted so far ...")
            self.stdout.flush()
