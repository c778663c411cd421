"""What ``manage.py check`` says of an installation whose trail would be incomplete."""

import pytest
from django.core.checks import run_checks
from django.test import modify_settings

from otp_actions.audit.checks import check_installation


class Elsewhere:
    def db_for_write(self, model, **hints):
        return "elsewhere"


class KeptAway:
    def allow_migrate(self, db, app_label, **hints):
        return app_label != "otp_actions_audit"


def ids():
    return [message.id for message in check_installation(None)]


@pytest.fixture(autouse=True)
def _database_ledger(settings):
    settings.OTP_LEDGER = "database"


def test_nothing_is_said_where_nothing_is_wrong():
    assert ids() == []


@pytest.mark.django_db(databases="__all__")
def test_check_is_run_with_the_others(settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.Elsewhere", *settings.DATABASE_ROUTERS]
    assert "otp_actions.E017" in {message.id for message in run_checks()}


def test_trail_without_the_base_is_an_error():
    with modify_settings(INSTALLED_APPS={"remove": "otp_actions"}):
        assert ids() == ["otp_actions.E016"]


@pytest.mark.parametrize("router", [Elsewhere, KeptAway])
def test_router_that_parts_trail_and_ledger_is_an_error(settings, router):
    settings.DATABASE_ROUTERS = [f"{__name__}.{router.__name__}", *settings.DATABASE_ROUTERS]
    assert ids() == ["otp_actions.E017"]
    settings.OTP_LEDGER = "process"
    assert ids() == []


def test_database_that_does_not_exist_is_another_checks_matter(settings):
    settings.OTP_LEDGER_DATABASE = "nowhere"
    assert ids() == []
