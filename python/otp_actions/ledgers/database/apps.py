"""The Django app that brings the ledger's table."""

from django.apps import AppConfig
from django.core import checks


class DatabaseLedgerConfig(AppConfig):
    """``"otp_actions.ledgers.database"`` in ``INSTALLED_APPS``."""

    name = "otp_actions.ledgers.database"
    label = "otp_actions_ledger"
    verbose_name = "One-time passwords: ledger"

    def ready(self) -> None:
        """Register the system checks, and hear of requests from the first one on."""
        from otp_actions.ledgers.database import connection  # noqa: F401 -- connects its signal receivers
        from otp_actions.ledgers.database.checks import check_ledger_database, check_ledger_table

        checks.register(check_ledger_database, checks.Tags.security)
        checks.register(check_ledger_table, checks.Tags.security)
