"""``DATABASE_ROUTERS = ["otp_actions.ledgers.database.router.LedgerRouter"]``."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Model

from otp_actions import conf

_APPS: Final = frozenset({"otp_actions_ledger", "otp_actions_audit"})


class LedgerRouter:
    """Keeps the tables of the ledger and of the audit trail on ``OTP_LEDGER_DATABASE``, and all others away from it.

    Others stay where they are if that is ``"default"``. With SQLite this router is needed, elsewhere it is not, unless
    the ledger has a database of its own.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Return where *model* is, if it is one of ours."""
        return _alias() if model._meta.app_label in _APPS else None  # noqa: SLF001 -- Django's documented name

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Say whether *app_label* has tables on *db*; ``None`` leaves it to the next router."""
        alias = _alias()
        if app_label in _APPS:
            return db == alias
        return False if db == alias != "default" else None


def _alias() -> str:
    alias: str = conf.read("OTP_LEDGER_DATABASE")
    return alias
