"""``manage.py check`` and ``check --deploy``."""

from io import StringIO

import pytest
from django.core.checks import WARNING, run_checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from otp_actions import conf
from otp_actions.__main__ import generate_key
from otp_actions.services import generate_otp, verify_otp

KEY = generate_key()
SAFE = {"OTP_LEDGER": "contract.dict_ledger.DictLedger", "OTP_ACCEPT_LEGACY_CONTEXTS": False}


def check(**options):
    """Run the command and return what it prints."""
    out = StringIO()
    call_command("check", stdout=out, stderr=out, **options)
    return out.getvalue()


def ours(**kwargs):
    return [message for message in run_checks(**kwargs) if message.id.startswith("otp_actions.")]


def test_sound_settings_have_no_issue():
    assert "no issues" in check()
    assert ours() == []


WRONG = [
    ({"OTP_SIGNING_KEY": None}, "E001"),
    ({"OTP_SIGNING_KEY": f"b'{KEY}'"}, "E002"),
    ({"OTP_SIGNING_KEY": KEY[:-1]}, "E002"),
    ({"OTP_SIGNING_KEY": "c2hvcnQ="}, "E003"),
    ({"OTP_SIGNING_KEY_FALLBACKS": [KEY, KEY[:41]]}, "E002"),
    ({"OTP_SIGNING_KEY": KEY, "OTP_SIGNING_KEY_FALLBACKS": [KEY]}, "E004"),
    ({"OTP_SIGNING_KEY_FALLBACKS": [generate_key() for _ in range(8)]}, "E004"),
    ({"OTP_EXPIRY_SECONDS": 0}, "E005"),
    ({"OTP_SESSION_EXPIRY_SECONDS": 60}, "E005"),
    ({"OTP_DEFAULT_MAX_RETRIES": -1}, "E006"),
    ({"OTP_DEFAULT_LENGTH": 3}, "E007"),
    ({"OTP_LEDGER": "memcached"}, "E008"),
    ({"OTP_LEDGER": "no.such.Ledger"}, "E008"),
    ({"OTP_LEDGER": "builtins.dict"}, "E008"),
    ({"OTP_LEDGER": "contract.dict_ledger"}, "E008"),
    ({"OTP_PROCESS_LEDGER_SIZE": 0}, "E008"),
    ({"OTP_SINGLE_USE": 1}, "E009"),
    ({"OTP_ACCEPT_LEGACY_CONTEXTS": "no"}, "E009"),
]


@pytest.mark.parametrize(("overrides", "check_id"), WRONG)
def test_setting_that_a_request_would_fail_on_is_an_error(overrides, check_id):
    with override_settings(**overrides):
        with pytest.raises(SystemCheckError) as caught:
            check()
        with pytest.raises(conf.SettingError) as at_use:
            verify_otp(*generate_otp())
    text = str(caught.value)
    assert f"otp_actions.{check_id}" in text
    assert f"otp_actions.{check_id}" == at_use.value.check_id
    assert str(at_use.value) in text
    assert next(iter(overrides)) in text
    for shown in (KEY[:20], "c2hvcnQ="):
        assert shown not in text


def test_every_wrong_setting_is_reported_at_once():
    with override_settings(OTP_SIGNING_KEY=None, OTP_DEFAULT_LENGTH=99, OTP_LEDGER="memcached", OTP_SINGLE_USE=None):
        assert [message.id[-4:] for message in ours()] == ["E001", "E007", "E008", "E009"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, {"W002": "each restart, starts with fresh counts", "W004": "OTP_ACCEPT_LEGACY_CONTEXTS is True"}),
        ({**SAFE, "OTP_LEDGER": None}, {"W001": "attempts are not counted on the server"}),
        ({**SAFE, "OTP_LEDGER": "process"}, {"W002": "within one process only"}),
        ({**SAFE, "OTP_SINGLE_USE": False}, {"W003": "can be replayed until it expires"}),
        ({**SAFE, "OTP_LEDGER": None, "OTP_SINGLE_USE": False}, {"W001": "a code can be used more than once"}),
        ({**SAFE, "OTP_ACCEPT_LEGACY_CONTEXTS": True}, {"W004": "Data of a user's choice sealed with encrypt_context"}),
        (SAFE, {}),
    ],
)
def test_deployment_is_told_what_it_does_without(overrides, expected):
    with override_settings(**overrides):
        assert {message.id[-4:] for message in ours(include_deployment_checks=True)} == expected.keys()
        printed = check(deploy=True)
        for check_id, words in expected.items():
            assert f"otp_actions.{check_id}" in printed
            assert words in printed
        assert ours() == []  # Only with --deploy.


def test_deployment_check_survives_settings_that_cannot_be_used():
    with override_settings(OTP_SIGNING_KEY=None, OTP_LEDGER=5, OTP_SINGLE_USE="?", OTP_ACCEPT_LEGACY_CONTEXTS="?"):
        assert {message.id[-4:] for message in ours(include_deployment_checks=True)} == {"E001", "E008", "E009"}
        with pytest.raises(CommandError):
            check(deploy=True)


# --- Names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OTP_MAX_RETRIES", "OTP_DEFAULT_MAX_RETRIES"),
        ("OTP_LENGTH", "OTP_DEFAULT_LENGTH"),
        ("OTP_IDENTIFIER_BUDGETS", "OTP_IDENTIFIER_BUDGET"),
        ("OTP_EXPIRY", "OTP_EXPIRY_SECONDS"),
        ("OPT_EXPIRY_SECONDS", "OTP_EXPIRY_SECONDS"),
    ],
)
def test_misspelt_setting_is_a_warning_that_names_the_right_one(name, meant):
    with override_settings(**{name: 5}):
        (message,) = ours()
    assert (message.id, message.level) == ("otp_actions.W006", WARNING)
    assert name in message.msg
    assert f"Did you mean {meant}?" in message.hint


@pytest.mark.parametrize("name", ["OTP_LOGIN_URL", "OTP_ADMIN_HIDE_SENSITIVE_DATA", "OTP_TOTP_ISSUER", "MAX_RETRIES"])
def test_setting_of_another_package_is_its_own_matter(name):
    with override_settings(**{name: 5}):
        assert ours() == []


# --- Redis


def test_redis_that_is_down_is_a_warning_and_no_error(settings):
    settings.OTP_LEDGER, settings.OTP_REDIS_URL = "redis", "redis://127.0.0.1:1/0"
    (message,) = ours()
    assert (message.id, message.level) == ("otp_actions.W005", WARNING)


def test_redis_url_that_cannot_be_read_is_an_error_that_does_not_quote_it(settings):
    settings.OTP_LEDGER, settings.OTP_REDIS_URL = "redis", "redis://:canary@127.0.0.1:6379/0?socket_timeout=canary"
    (message,) = ours()
    assert message.id == "otp_actions.E010"
    assert "canary" not in f"{message.msg}{message.hint}"


@pytest.mark.parametrize("url", ["127.0.0.1:6379/0", "http://127.0.0.1:6379/0"])
def test_redis_url_without_its_scheme_is_an_error_that_names_them(settings, url):
    settings.OTP_LEDGER, settings.OTP_REDIS_URL = "redis", url
    (message,) = ours()
    assert message.id == "otp_actions.E010"
    assert "redis://, rediss:// or unix://" in message.msg


def test_redis_is_not_asked_by_other_ledgers(settings):
    settings.OTP_REDIS_URL = "redis://127.0.0.1:1/0"
    assert ours() == []
