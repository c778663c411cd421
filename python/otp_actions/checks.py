"""``manage.py check``: every setting that could not be used, and what a deployment does without.

Run by Django when ``otp_actions`` is in ``INSTALLED_APPS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 -- Django's name for it

from otp_actions import conf, ledgers


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report each setting that a request would fail on."""
    errors: list[CheckMessage] = []
    for reader in conf.READERS:
        try:
            reader()
        except conf.SettingError as error:
            errors.append(Error(str(error), id=error.check_id))
    if not errors:
        try:
            ledgers.ledger_for(conf.current())
        except conf.SettingError as error:
            errors.append(Error(str(error), id=error.check_id))
    return errors


def check_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Say so where a setting looks like a misspelt one of ours. Other packages have settings of this prefix, too."""
    messages: list[CheckMessage] = []
    for name in dir(django_settings):
        if meant := conf.meant_by(name):
            messages.append(
                Warning(
                    f"{name} is not a setting of otp_actions, and is not read.",
                    hint=f"Did you mean {meant}? If it is another package's: "
                    'SILENCED_SYSTEM_CHECKS = ["otp_actions.W006"]',
                    id="otp_actions.W006",
                )
            )
    return messages


def check_redis(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Ask the server of ``OTP_LEDGER = "redis"`` whether it can be counted on. That it is down is no error here."""
    if conf.read("OTP_LEDGER") != "redis":
        return []
    try:
        ledger = ledgers.ledger_for(conf.current())
    except conf.SettingError:
        return []  # Reported by check_settings.
    from otp_actions.ledgers.redis import RedisLedger

    assert isinstance(ledger, RedisLedger)  # noqa: S101 -- that is what the setting says
    return [
        Error(problem.text, hint=problem.hint, id="otp_actions.E018")
        if problem.wrong
        else Warning(problem.text, hint=problem.hint, id="otp_actions.W005")
        for problem in ledger.problems()
    ]


def check_deployment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Say what the chosen settings do not guarantee. Only with ``check --deploy``."""
    warnings: list[CheckMessage] = []
    ledger = conf.read("OTP_LEDGER")
    if ledger is None:
        warnings.append(
            Warning(
                "OTP_LEDGER is None: attempts are not counted on the server, a code can be used more than once, and "
                "nothing can be revoked. A client that keeps sending its first context may guess without end.",
                hint='Set OTP_LEDGER = "redis" or "database", or "process" for a single process.',
                id="otp_actions.W001",
            )
        )
    elif ledger == "process":
        warnings.append(
            Warning(
                'OTP_LEDGER is "process": attempts and single use are exact within one process only. Each further '
                "worker process, and each restart, starts with fresh counts.",
                hint="With N workers a code can be guessed N times as often and used up to N times. Use "
                '"redis" or "database", or run one process, or silence this check if that is enough.',
                id="otp_actions.W002",
            )
        )
    if ledger is not None and conf.read("OTP_SINGLE_USE") is False:
        warnings.append(
            Warning(
                "OTP_SINGLE_USE is False: a code can be replayed until it expires.",
                hint="Remove the setting.",
                id="otp_actions.W003",
            )
        )
    if conf.read("OTP_ACCEPT_LEGACY_CONTEXTS") is True:
        warnings.append(
            Warning(
                "OTP_ACCEPT_LEGACY_CONTEXTS is True: contexts without a version, as the older release made them, are "
                "still accepted. Data of a user's choice sealed with encrypt_context could pass for one.",
                hint="Set it to False one OTP_SESSION_EXPIRY_SECONDS after the older release stopped running, or now "
                "if this project never ran it.",
                id="otp_actions.W004",
            )
        )
    return warnings
