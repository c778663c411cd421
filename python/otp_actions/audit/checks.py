"""``manage.py check``: what would keep the trail from being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error
from django.db import connections, router

from otp_actions import conf
from otp_actions.audit.models import OTPEvent

_ROUTER = "otp_actions.ledgers.database.router.LedgerRouter"


def check_installation(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report an installation whose trail is incomplete."""
    errors: list[CheckMessage] = []
    if not apps.is_installed("otp_actions"):
        errors.append(
            Error(
                "otp_actions.audit is installed without otp_actions: nothing checks its settings, and "
                "there is no otp_purge.",
                hint='Add "otp_actions" to INSTALLED_APPS.',
                id="otp_actions.E016",
            )
        )
    alias = conf.read("OTP_LEDGER_DATABASE")
    if conf.read("OTP_LEDGER") == "database" and alias in connections:
        written = router.db_for_write(OTPEvent)
        if written != alias or not router.allow_migrate_model(alias, OTPEvent):
            errors.append(
                Error(
                    f"The database ledger writes the audit trail to OTP_LEDGER_DATABASE = {alias!r}, but "
                    f"DATABASE_ROUTERS sends it to {written!r}, or keeps its table away from {alias!r}.",
                    hint=f'In the settings: DATABASE_ROUTERS = ["{_ROUTER}"], before other routers. '
                    f"Then: python manage.py migrate --database={alias}",
                    id="otp_actions.E017",
                )
            )
    return errors
