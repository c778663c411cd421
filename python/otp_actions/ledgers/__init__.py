"""Ledgers: who counted what. ``base.py`` is the port; every other file is one backend."""

from __future__ import annotations

from django.apps import apps
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from otp_actions.conf import SettingError, Settings
from otp_actions.ledgers.base import Ledger
from otp_actions.ledgers.none import NoLedger
from otp_actions.ledgers.process import ProcessLedger

__all__ = ["Ledger", "ledger_for", "reset"]

_made: dict[tuple[object, ...], Ledger] = {}
_last: tuple[Settings | None, Ledger | None] = (None, None)


def ledger_for(settings: Settings) -> Ledger:
    """Return this process's ledger for *settings*; made once, then kept: it is the memory of who counted what."""
    last_settings, ledger = _last
    return ledger if ledger is not None and last_settings is settings else _find(settings)


@sensitive_variables()
def _find(settings: Settings) -> Ledger:
    global _last
    key = (
        settings.ledger,
        settings.process_ledger_size,
        settings.redis_url,
        settings.ledger_database,
        settings.ledger_timeout,
    )
    if key not in _made:
        # setdefault, so that two first requests at once end up with the same one.
        _made.setdefault(key, _make(settings))
    ledger = _made[key]
    _last = (settings, ledger)
    return ledger


def reset() -> None:
    """Forget every ledger of this process, and so every count and mark. For tests."""
    global _last
    _made.clear()
    _last = (None, None)


def _make(settings: Settings) -> Ledger:
    if settings.ledger is None:
        return NoLedger()
    if settings.ledger == "process":
        return ProcessLedger(settings.process_ledger_size)
    if settings.ledger == "redis":
        try:
            from otp_actions.ledgers.redis import RedisLedger
        except ModuleNotFoundError as error:
            raise SettingError(
                "otp_actions.E008",
                'OTP_LEDGER = "redis" needs redis-py: pip install "django-otp-actions[redis]"',
            ) from error
        return RedisLedger(settings.redis_url, timeout=settings.ledger_timeout)
    if settings.ledger == "database":
        if not apps.is_installed("otp_actions.ledgers.database"):
            raise SettingError(
                "otp_actions.E008",
                'OTP_LEDGER = "database" needs its app: add "otp_actions.ledgers.database" to INSTALLED_APPS, and run '
                "manage.py migrate.",
            )
        from otp_actions.ledgers.database.ledger import DatabaseLedger

        return DatabaseLedger(settings.ledger_database, timeout=settings.ledger_timeout)
    try:
        made = import_string(settings.ledger)()
    except Exception as error:  # The class is the project's own, and may raise what it likes.
        # What it says itself is shown only where that is Python's text: another may hold a password.
        said = error if isinstance(error, (ImportError, TypeError, ValueError)) else type(error).__name__
        raise SettingError(
            "otp_actions.E008", f"OTP_LEDGER = {settings.ledger!r} cannot be imported and called: {said}"
        ) from error
    if not isinstance(made, Ledger):
        raise SettingError(
            "otp_actions.E008", f"OTP_LEDGER = {settings.ledger!r} is not a subclass of otp_actions.ledgers.Ledger."
        )
    return made
