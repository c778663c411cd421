"""What an import brings with it. The floors themselves are import-linter's, in ``pyproject.toml``."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import otp_actions
from otp_actions import conf

EXTRAS = {
    "celery",
    "cryptography",
    "freezegun",
    "hypothesis",
    "pytest",
    "pytest_django",
    "redis",
    "rest_framework_simplejwt",
    "segno",
    "strawberry",
    "twilio",
}


def modules_after(code, *, settings=False):
    """Return the names of all modules that are imported once *code* has run in a fresh interpreter."""
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    if settings:
        environ["DJANGO_SETTINGS_MODULE"] = "projects.minimal.settings"
        environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_package_alone_imports_nothing():
    modules = modules_after("import otp_actions; assert otp_actions.__version__")
    assert {name for name in modules if name.startswith("otp_actions")} == {"otp_actions"}
    assert "django" not in modules


def test_services_need_no_settings_to_be_imported_and_no_extra():
    modules = modules_after(
        "import otp_actions.services, otp_actions.exceptions\n"
        "from django.conf import settings\n"
        "assert not settings.configured"
    )
    assert not modules & EXTRAS
    assert "rest_framework" not in modules
    assert not {name for name in modules if name.startswith(("otp_actions.http", "otp_actions.testing"))}


def test_whole_base_runs_without_any_extra():
    modules = modules_after(
        "import django; django.setup()\n"
        "import otp_actions.decorators, otp_actions.mixins, otp_actions.checks\n"
        "from otp_actions.services import generate_otp, verify_otp\n"
        "assert verify_otp(*generate_otp())",
        settings=True,
    )
    assert not modules & EXTRAS
    assert "otp_actions.testing" not in modules


def test_services_without_settings_say_that_settings_are_missing():
    modules_after(
        "from django.core.exceptions import ImproperlyConfigured\n"
        "from otp_actions.services import generate_otp\n"
        "try:\n    generate_otp()\nexcept ImproperlyConfigured:\n    pass\nelse:\n    raise SystemExit('no error')"
    )


PUBLIC = {
    "otp_actions": ["__version__"],
    "otp_actions.services": [
        "generate_otp",
        "verify_otp",
        "validate_otp",
        "increment_retry_count",
        "canonical_identifier",
        "encrypt_context",
        "decrypt_context",
        "revoke_otp",
        "revoke_identifier",
        "generate_decoy",
        "agenerate_otp",
        "averify_otp",
        "avalidate_otp",
        "aincrement_retry_count",
        "arevoke_otp",
        "arevoke_identifier",
        "agenerate_decoy",
    ],
    "otp_actions.exceptions": [
        "OTPException",
        "InvalidOTPException",
        "OTPExpiredException",
        "SessionExpiredException",
        "MaxRetriesExceededException",
        "MissingFieldsException",
        "OTPUsedException",
        "OTPRevokedException",
        "OTPThrottledException",
        "OTPUnavailableException",
    ],
    "otp_actions.decorators": ["otp_protected", "otp_throttle", "otp_verified", "require_otp_verification"],
    "otp_actions.mixins": ["OTPProtectedMixin", "OTPVerifiedMixin"],
    "otp_actions.ledgers": ["Ledger", "ledger_for", "reset"],
    "otp_actions.testing": ["IssuedOTP", "capture_otps", "fresh_ledger", "otp_settings", "wrong_code"],
    "otp_actions.testing.plugin": ["otp_settings", "otp_outbox", "fresh_otp_ledger"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there(module):
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", PUBLIC.keys() - {"otp_actions", "otp_actions.testing.plugin"})
def test_all_lists_the_public_names(module):
    assert set(PUBLIC[module]) == set(importlib.import_module(module).__all__)


def test_throttles_and_doors_mean_the_same_methods_by_safe():
    # Two names, since what DRF imports while it imports its views cannot import those.
    throttles, doors = (importlib.import_module(f"otp_actions.http.{name}") for name in ("throttles", "doors"))
    assert set(throttles.SAFE_METHODS) == doors.SAFE_METHODS


def test_require_otp_verification_is_otp_verified():
    decorators = importlib.import_module("otp_actions.decorators")
    assert decorators.require_otp_verification is decorators.otp_verified


def test_every_ledger_has_a_test_of_its_own():
    backends = {str(name).lower() for name in conf.BUILT_IN_LEDGERS}
    tests = Path(__file__).parents[1]
    paths = [*tests.glob("contract/test_*.py"), *tests.glob("full/test_*_contract.py")]
    tested = {path.stem.removeprefix("test_").removesuffix("_contract") for path in paths}
    assert backends <= tested


def test_version_is_the_distributions():
    assert importlib.import_module("importlib.metadata").version("django-otp-actions") == otp_actions.__version__
