"""The settings: what is refused and how it says so, and that a change is seen at once."""

import base64
import sys
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from otp_actions import conf
from otp_actions.__main__ import generate_key
from otp_actions.services import decrypt_context, generate_otp, verify_otp
from otp_actions.testing import fresh_ledger

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_KEY = generate_key()

MISSING = object()


def error_for(**overrides):
    """Return the SettingError that *overrides* make of the first use."""
    with override_settings(**{name: value for name, value in overrides.items() if value is not MISSING}):
        for name, value in overrides.items():
            if value is MISSING:
                delattr(django_settings, name)
        with pytest.raises(conf.SettingError) as caught:
            generate_otp()
        assert isinstance(caught.value, ImproperlyConfigured)
        return caught.value


# --- The key


@pytest.mark.parametrize(
    ("key", "check_id", "message"),
    [
        (MISSING, "E001", "OTP_SIGNING_KEY is not set. Make a key: python -m otp_actions generate-key"),
        (None, "E001", "is not set"),
        ("", "E001", "is not set"),
        (b"", "E001", "is not set"),
        (12345, "E002", "must be a str or bytes"),
        ([KEY], "E002", "must be a str or bytes"),
        (f"b'{KEY}'", "E002", "printed form of a bytes object (b'...'). Remove the leading b and the quotes"),
        (f'b"{KEY}"', "E002", "printed form of a bytes object"),
        (f"b'{KEY}'".encode(), "E002", "printed form of a bytes object"),
        ("changeme!", "E002", "is not a Fernet key"),
        ("changeme", "E003", "holds 6 bytes, but a key has exactly 32"),
        ("not base64!", "E002", "is not a Fernet key"),
        (KEY[:-1], "E002", "is not a Fernet key"),
        (KEY + "=", "E002", "is not a Fernet key"),
        (f" {KEY}", "E002", "has white space around it"),
        (f"{KEY}\n", "E002", "has white space around it, as a line of a file may have"),
        (f'"{KEY}"', "E002", "has quotes around it"),
        (f"'{KEY}", "E002", "has quotes around it"),
        (f"{KEY}\n".encode(), "E002", "has white space around it"),
        (KEY[:-2] + "9=", "E002", "is not a Fernet key"),  # Stray trailing bits.
        (base64.b64encode(b"\xff" * 32).decode(), "E002", "is not a Fernet key"),
        ("ключ", "E002", "is not a Fernet key"),
        ("\ud800", "E002", "is not a Fernet key"),
        (b"\xff" * 44, "E002", "is not a Fernet key"),
        (base64.urlsafe_b64encode(bytes(16)).decode(), "E003", "holds 16 bytes, but a key has exactly 32"),
        (base64.urlsafe_b64encode(bytes(33)), "E003", "holds 33 bytes, but a key has exactly 32"),
        (bytes(32), "E002", "is not a Fernet key"),  # The raw key.
    ],
    ids=lambda value: ascii(value)[:16],
)
def test_key_that_cannot_be_used_says_what_to_do(key, check_id, message):
    error = error_for(OTP_SIGNING_KEY=key)
    assert error.check_id == f"otp_actions.{check_id}"
    assert message in str(error)
    assert KEY[:20] not in str(error)
    assert str(key) not in str(error) or key in (None, "", b"")


@pytest.mark.parametrize("key", [OTHER_KEY, OTHER_KEY.encode()], ids=["str", "bytes"])
def test_key_may_be_str_or_bytes(key):
    with override_settings(OTP_SIGNING_KEY=key):
        code, context = generate_otp()
    with override_settings(OTP_SIGNING_KEY=OTHER_KEY):
        assert verify_otp(code, context)
    with override_settings(OTP_SIGNING_KEY=KEY, OTP_SIGNING_KEY_FALLBACKS=(key,)):
        assert decrypt_context(context)


@pytest.mark.parametrize(
    ("fallbacks", "message"),
    [
        (OTHER_KEY, "OTP_SIGNING_KEY_FALLBACKS must be a list of keys, not str. Keys in one text, with commas between"),
        (None, "OTP_SIGNING_KEY_FALLBACKS must be a list of keys"),
        ({OTHER_KEY}, "OTP_SIGNING_KEY_FALLBACKS must be a list of keys"),
        ([OTHER_KEY, "short"], "OTP_SIGNING_KEY_FALLBACKS[1] is not a Fernet key"),
        ([None], "OTP_SIGNING_KEY_FALLBACKS[0] must be a str or bytes"),
        ([""], "OTP_SIGNING_KEY_FALLBACKS[0]"),
        ([f"b'{OTHER_KEY}'"], "OTP_SIGNING_KEY_FALLBACKS[0] looks like the printed form"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fallbacks_that_cannot_be_used_name_the_one(fallbacks, message):
    error = error_for(OTP_SIGNING_KEY_FALLBACKS=fallbacks)
    assert error.check_id in {"otp_actions.E002", "otp_actions.E003"}
    assert message in str(error)
    assert OTHER_KEY not in str(error)


def test_reprs_show_no_key():
    current = conf.current()
    assert KEY not in repr(current) + str(current) + repr(current.keyring) + str(vars(django_settings).keys())


# --- Numbers and switches


@pytest.mark.parametrize("name", ["OTP_EXPIRY_SECONDS", "OTP_SESSION_EXPIRY_SECONDS"])
@pytest.mark.parametrize(
    "value",
    [0, -1, 0.5, True, None, "300", float("nan"), float("inf"), 2**31 + 1, timedelta(0), timedelta(seconds=-5), [300]],
    ids=repr,
)
def test_window_that_cannot_be_used(name, value):
    error = error_for(**{name: value})
    assert error.check_id == "otp_actions.E005"
    assert str(error).startswith(f"{name} must be a timedelta or a number of seconds")


def test_code_cannot_outlive_its_context():
    error = error_for(OTP_EXPIRY_SECONDS=901)
    assert error.check_id == "otp_actions.E005"
    assert str(error).startswith("OTP_EXPIRY_SECONDS (901) is longer than OTP_SESSION_EXPIRY_SECONDS (900)")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1, 1), (60, 60), (90.9, 90), (timedelta(minutes=2), 120), (timedelta(seconds=1.5), 1), (2**31, 2**31)],
)
def test_window_may_be_seconds_or_timedelta(value, seconds):
    with override_settings(OTP_EXPIRY_SECONDS=value, OTP_SESSION_EXPIRY_SECONDS=value):
        payload = decrypt_context(generate_otp(now=0)[1])
    assert (payload["otp_expiry"], payload["session_expiry"]) == (seconds, seconds)


@pytest.mark.parametrize(
    ("name", "check_id", "low", "high"),
    [
        ("OTP_DEFAULT_MAX_RETRIES", "E006", 0, 1_000_000),
        ("OTP_DEFAULT_LENGTH", "E007", 4, 12),
        ("OTP_PROCESS_LEDGER_SIZE", "E008", 1, 2**30),
    ],
)
def test_whole_number_at_its_limits_and_one_over(name, check_id, low, high):
    for value in (low, high):
        with override_settings(**{name: value}):
            assert generate_otp()
    for value in (low - 1, high + 1, True, None, float(high), str(low), [low]):
        error = error_for(**{name: value})
        assert error.check_id == f"otp_actions.{check_id}"
        assert str(error) == f"{name} must be a whole number from {low} to {high}."


@pytest.mark.parametrize("name", ["OTP_SINGLE_USE", "OTP_ACCEPT_LEGACY_CONTEXTS"])
@pytest.mark.parametrize("value", [1, 0, None, "True", "", []], ids=repr)
def test_switch_is_true_or_false(name, value):
    error = error_for(**{name: value})
    assert (error.check_id, str(error)) == ("otp_actions.E009", f"{name} must be True or False.")


@pytest.mark.parametrize("value", ["memcached", "Process", "", "none", 0, False, [], {}, object], ids=repr)
def test_unknown_ledger(value):
    error = error_for(OTP_LEDGER=value)
    assert error.check_id == "otp_actions.E008"
    assert str(error).startswith(f"OTP_LEDGER = {value!r} is not a known ledger. Use one of None, 'process'")


@pytest.mark.parametrize(
    "value", ["redis://otp:canary@10.0.0.5/0", "redis://otp:canary@redis", "shop..canary", "canary.", ".Ledger"]
)
def test_ledger_that_is_no_path_is_not_quoted(value):
    error = error_for(OTP_LEDGER=value)
    assert error.check_id == "otp_actions.E008"
    assert str(error).startswith("OTP_LEDGER is not a known ledger. Use one of None, 'process'")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "", None, 5, b"redis://127.0.0.1"])
def test_redis_url_is_one_that_redis_py_reads_and_is_never_quoted(url):
    error = error_for(OTP_REDIS_URL=url)
    text = "OTP_REDIS_URL must begin with redis://, rediss:// or unix://, like redis://127.0.0.1:6379/0."
    assert (error.check_id, str(error)) == ("otp_actions.E010", text)


@pytest.mark.parametrize("alias", ["nowhere", None, 5, []])
def test_alias_of_the_ledgers_database_is_one_of_databases(alias):
    error = error_for(OTP_LEDGER="database", OTP_LEDGER_DATABASE=alias)
    assert error.check_id == "otp_actions.E010"
    assert str(error).startswith(f"OTP_LEDGER_DATABASE = {alias!r} is not in DATABASES.")


@pytest.mark.parametrize("timeout", [0, 0.009, 60.1, -1, True, None, "2", float("nan")])
def test_timeout_is_a_number_of_seconds_in_its_bounds(timeout):
    error = error_for(OTP_LEDGER_TIMEOUT=timeout)
    text = f"OTP_LEDGER_TIMEOUT must be a number of seconds from 0.01 to 60, not {timeout!r}."
    assert (error.check_id, str(error)) == ("otp_actions.E010", text)


@pytest.mark.parametrize("timeout", [0.01, 1, 60])
def test_timeout_at_its_bounds(timeout):
    with override_settings(OTP_LEDGER_TIMEOUT=timeout):
        assert conf.current().ledger_timeout == timeout


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.function", "cannot be imported: No module"),
        ("nodot", "cannot be imported: nodot"),
        ("math.pi", "must be the dotted path of a function"),
        (5, "must be the dotted path of a function"),
        (str.lower, "must be the dotted path of a function"),
    ],
    ids=["gone", "nodot", "number", "int", "function"],
)
def test_canonical_function_is_named_by_its_path(path, message):
    error = error_for(OTP_CANONICAL_IDENTIFIER=path)
    assert error.check_id == "otp_actions.E012"
    assert f"OTP_CANONICAL_IDENTIFIER {message}" in str(error)


@pytest.mark.parametrize("value", ["hash", "", None, True])
def test_identifiers_are_kept_as_digests_or_plainly(value):
    error = error_for(OTP_AUDIT_IDENTIFIERS=value)
    assert (error.check_id, str(error)) == ("otp_actions.E014", 'OTP_AUDIT_IDENTIFIERS must be "digest" or "plain".')


def test_ledger_whose_package_or_app_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "otp_actions.ledgers.redis", raising=False)
    for name, words in (("redis", "django-otp-actions[redis]"), ("database", 'add "otp_actions.ledgers.database"')):
        with override_settings(OTP_LEDGER=name), fresh_ledger(), pytest.raises(conf.SettingError) as caught:
            verify_otp(*generate_otp())
        assert caught.value.check_id == "otp_actions.E008"
        assert words in str(caught.value)


# --- A change is seen at once

# Each setting with another value, and where the validated one stands.
CHANGES = {
    "OTP_SIGNING_KEY": (OTHER_KEY, "keyring"),
    "OTP_SIGNING_KEY_FALLBACKS": ([OTHER_KEY], "keyring"),
    "OTP_EXPIRY_SECONDS": (60, "otp_expiry"),
    "OTP_SESSION_EXPIRY_SECONDS": (3600, "session_expiry"),
    "OTP_DEFAULT_MAX_RETRIES": (9, "max_retries"),
    "OTP_DEFAULT_LENGTH": (9, "length"),
    "OTP_LEDGER": (None, "ledger"),
    "OTP_PROCESS_LEDGER_SIZE": (99, "process_ledger_size"),
    "OTP_SINGLE_USE": (False, "single_use"),
    "OTP_ACCEPT_LEGACY_CONTEXTS": (False, "accept_legacy"),
    "OTP_REDIS_URL": ("redis://192.0.2.1/3", "redis_url"),
    "OTP_LEDGER_DATABASE": ("other", "ledger_database"),
    "OTP_LEDGER_TIMEOUT": (0.5, "ledger_timeout"),
    "OTP_IDENTIFIER_BUDGET": (None, "identifier_budget"),
    "OTP_IP_BUDGET": ("7/m", "ip_budget"),
    "OTP_CANONICAL_IDENTIFIER": ("builtins.str", "rules"),
    "OTP_TRUSTED_PROXY_COUNT": (2, "proxies"),
    "OTP_AUDIT_IDENTIFIERS": ("plain", "audit_identifiers"),
    "OTP_AUDIT_RETENTION": (None, "audit_retention"),
}

# What has no equal, only itself.
UNIQUE = {"keyring", "rules"}

# Where the validated form is another than the one that is written down.
VALIDATED = {"OTP_IP_BUDGET": conf.Rate(7, 60)}


def test_every_setting_is_listed_here():
    assert CHANGES.keys() == conf.DEFAULTS.keys()
    assert {field for _, field in CHANGES.values()} == {field.name for field in fields(conf.Settings)}


class Restored:
    """Put the global settings back, whatever a test assigned to them."""

    def __enter__(self):
        self.before = {name: getattr(django_settings, name) for name in CHANGES if hasattr(django_settings, name)}

    def __exit__(self, *_):
        for name in CHANGES:
            if name in self.before:
                setattr(django_settings, name, self.before[name])
            elif hasattr(django_settings, name):
                delattr(django_settings, name)


def override(name, value):
    return override_settings(**{name: value})


@contextmanager
def assign(name, value):
    with Restored():
        setattr(django_settings, name, value)
        yield


@contextmanager
def monkeypatch_attribute(name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(django_settings, name, value, raising=False)
        yield


@pytest.mark.parametrize("way", [override, assign, monkeypatch_attribute])
@pytest.mark.parametrize("name", CHANGES)
def test_change_is_seen_at_once_and_so_is_its_end(name, way):
    value, field = CHANGES[name]
    before = getattr(conf.current(), field)
    for _ in range(2):
        with way(name, value):
            changed = getattr(conf.current(), field)
            assert changed is getattr(conf.current(), field)  # Read once, then kept.
            assert changed is not before
            if field not in UNIQUE:
                assert changed == VALIDATED.get(name, value)
        after = getattr(conf.current(), field)
        assert after is not changed
        if field not in UNIQUE:
            assert after == before


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "OTP_SIGNING_KEY"])
def test_deleted_setting_is_the_default_again(name):
    value, field = CHANGES[name]
    default = getattr(conf.current(), field)
    with Restored():
        setattr(django_settings, name, value)
        changed = getattr(conf.current(), field)
        delattr(django_settings, name)
        after = getattr(conf.current(), field)
    assert after is not changed
    if field not in UNIQUE:
        assert (changed, after) == (VALIDATED.get(name, value), default)


def test_deleted_key_is_missing_at_once():
    with Restored():
        generate_otp()
        del django_settings.OTP_SIGNING_KEY
        with pytest.raises(conf.SettingError, match="OTP_SIGNING_KEY is not set"):
            generate_otp()
    assert generate_otp()


def test_deleted_inside_an_override_is_missing_at_once():
    with override_settings(OTP_SIGNING_KEY=OTHER_KEY):
        generate_otp()
        del django_settings.OTP_SIGNING_KEY
        with pytest.raises(conf.SettingError, match="OTP_SIGNING_KEY is not set"):
            generate_otp()
    assert generate_otp()


def test_first_assignment_is_seen_also_while_an_unrelated_setting_goes():
    with Restored():
        django_settings.AN_UNRELATED_SETTING = 1
        assert len(generate_otp()[0]) == 6
        del django_settings.AN_UNRELATED_SETTING
        django_settings.OTP_DEFAULT_LENGTH = 9
        assert len(generate_otp()[0]) == 9


def test_change_while_the_settings_are_read_is_not_lost(monkeypatch):
    """As by another thread, after its setting was read and before the last one was."""
    read = conf.read_audit
    changes = iter([8, 9])

    def late():
        with suppress(StopIteration):
            django_settings.OTP_DEFAULT_LENGTH = next(changes)
        return read()

    with Restored():
        monkeypatch.setattr(conf, "read_audit", late)
        django_settings.OTP_DEFAULT_LENGTH = 7
        assert conf.current().length == 9


def test_settings_that_never_stay_the_same_can_be_read(monkeypatch):
    read = conf.read_audit

    def late():
        django_settings.OTP_DEFAULT_LENGTH = 7
        return read()

    with Restored():
        monkeypatch.setattr(conf, "read_audit", late)
        assert [conf.current().length for _ in range(2)] == [7, 7]


def test_wrong_setting_that_is_put_right_works_at_once():
    with Restored():
        for _ in range(2):
            django_settings.OTP_DEFAULT_LENGTH = 99
            for _ in range(2):
                with pytest.raises(conf.SettingError):
                    generate_otp()
            django_settings.OTP_DEFAULT_LENGTH = 8
            assert len(generate_otp()[0]) == 8


def test_pytest_django_fixture_is_seen_at_once(settings):
    assert len(generate_otp()[0]) == 6
    settings.OTP_DEFAULT_LENGTH = 8
    assert len(generate_otp()[0]) == 8
    del settings.OTP_DEFAULT_LENGTH
    assert len(generate_otp()[0]) == 6


def test_nested_overrides_end_in_order():
    seen = []
    with override_settings(OTP_DEFAULT_LENGTH=7):
        seen.append(len(generate_otp()[0]))
        with override_settings(OTP_DEFAULT_LENGTH=8):
            seen.append(len(generate_otp()[0]))
        seen.append(len(generate_otp()[0]))
    seen.append(len(generate_otp()[0]))
    assert seen == [7, 8, 7, 6]
