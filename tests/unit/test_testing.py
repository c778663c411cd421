"""What we give to users' own suites: ``otp_actions.testing`` and the pytest plugin."""

import os
import subprocess
import sys
import textwrap

import pytest
from django.conf import settings as django_settings

from otp_actions import services
from otp_actions.exceptions import InvalidOTPException, OTPException, OTPUsedException
from otp_actions.services import agenerate_otp, generate_decoy, generate_otp, increment_retry_count, verify_otp
from otp_actions.testing import IssuedOTP, capture_otps, fresh_ledger, otp_settings, wrong_code

# --- Plain helpers


def test_capture_collects_every_code_that_is_issued():
    with capture_otps() as issued:
        assert issued == []
        first = generate_otp("ada", purpose="login")
        second = generate_otp(42)
        generate_decoy("nobody")
        with pytest.raises(OTPException):
            generate_otp(length=99)
    generate_otp("later")
    assert issued == [IssuedOTP(*first, "ada", "login"), IssuedOTP(*second, 42, "")]
    assert verify_otp(issued[-1].code, issued[-1].context)


@pytest.mark.asyncio
async def test_capture_collects_in_async_code_too():
    with capture_otps() as issued:
        await agenerate_otp("ada")
    assert [one.identifier for one in issued] == ["ada"]


def test_captures_may_be_nested():
    with capture_otps() as outer:
        generate_otp("one")
        with capture_otps() as inner:
            generate_otp("two")
    assert [one.identifier for one in outer] == ["one", "two"]
    assert [one.identifier for one in inner] == ["two"]


@pytest.mark.parametrize("length", [4, 6, 12])
def test_wrong_code_has_the_form_of_a_code_and_is_wrong(length):
    for _ in range(20):
        code, context = generate_otp(length=length)
        assert len(wrong_code(code)) == length
        with pytest.raises(InvalidOTPException):
            verify_otp(wrong_code(code), context)


def test_fresh_ledger_forgets_before_and_after():
    code, context = generate_otp(max_retries=1)
    increment_retry_count(context)
    with fresh_ledger():
        assert verify_otp(code, context)
        with pytest.raises(OTPUsedException):
            verify_otp(code, context)
    assert verify_otp(code, context)


def test_otp_settings_bring_a_key_of_their_own_and_go():
    before = django_settings.OTP_SIGNING_KEY
    code, context = generate_otp()
    with otp_settings(OTP_DEFAULT_LENGTH=9, OTP_EXPIRY_SECONDS=60):
        key = django_settings.OTP_SIGNING_KEY
        assert key != before
        assert len(generate_otp()[0]) == 9
        with pytest.raises(OTPException, match="Failed to decrypt"):
            verify_otp(code, context)
    with otp_settings():
        assert django_settings.OTP_SIGNING_KEY not in (key, before)
    assert before == django_settings.OTP_SIGNING_KEY
    assert verify_otp(code, context)


def test_misspelt_override_is_refused_before_anything_changes():
    error = pytest.raises(TypeError, match=r"OTP_EXPIRY is not .* Did you mean OTP_EXPIRY_SECONDS\?")
    with error, otp_settings(OTP_EXPIRY=60):
        pass
    assert not hasattr(django_settings, "OTP_EXPIRY")


# --- The plugin, which is loaded here because the package is installed


def test_outbox_holds_the_codes_of_this_test(otp_outbox):
    code, context = generate_otp("ada")
    assert otp_outbox == [(code, context, "ada", "")]


@pytest.mark.parametrize("_again", range(2))
def test_outbox_is_empty_at_first(otp_outbox, _again):
    assert otp_outbox == []
    generate_otp()


KEYS = set()


@pytest.mark.parametrize("_again", range(2))
def test_settings_fixture_has_a_key_of_its_own_for_each_test(otp_settings, _again):
    KEYS.add(django_settings.OTP_SIGNING_KEY)
    assert len(KEYS) == _again + 1


def test_settings_fixture_can_be_called_for_more(otp_settings):
    otp_settings(OTP_DEFAULT_LENGTH=9)
    assert len(generate_otp()[0]) == 9


def test_settings_fixture_refuses_a_misspelt_setting(otp_settings):
    with pytest.raises(TypeError, match="Did you mean OTP_LEDGER"):
        otp_settings(OTP_LEGDER=None)


def test_settings_fixture_called_again_keeps_the_key_and_what_was_overridden(otp_settings):
    code, context = generate_otp()
    otp_settings(OTP_LEDGER=None)
    otp_settings(OTP_DEFAULT_LENGTH=9)
    assert django_settings.OTP_LEDGER is None
    assert verify_otp(code, context)


def test_settings_fixture_leaves_nothing_behind():
    assert django_settings.OTP_SIGNING_KEY not in KEYS
    assert len(generate_otp()[0]) == 6


CONTEXTS = []


@pytest.mark.parametrize("_again", range(2))
@pytest.mark.usefixtures("fresh_otp_ledger")
def test_ledger_fixture_forgets_between_tests(_again):
    CONTEXTS.append(generate_otp(max_retries=1))
    code, context = CONTEXTS[0]
    assert verify_otp(code, context)


def test_helpers_leave_the_package_as_it_was():
    assert services._witness is None


def pytest_in(directory, *arguments):
    ours = ("DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS")
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_plugin_needs_neither_settings_nor_pytest_django_and_has_nothing_autouse(tmp_path):
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\n")
    tmp_path.joinpath("test_theirs.py").write_text(
        textwrap.dedent("""
            import sys


            def test_no_settings(request):
                from django.conf import settings
                assert not settings.configured
                assert "rest_framework" not in sys.modules
                assert [name for name in request.fixturenames if "otp" in name] == []


            def test_with_settings_of_ones_own(request):
                from django.conf import settings
                from otp_actions.__main__ import generate_key
                settings.configure(OTP_SIGNING_KEY=generate_key())
                outbox = request.getfixturevalue("otp_outbox")
                request.getfixturevalue("otp_settings")
                from otp_actions.services import generate_otp, verify_otp
                generate_otp("ada")
                assert verify_otp(outbox[-1].code, outbox[-1].context)["identifier"] == "ada"
        """)
    )
    done = pytest_in(tmp_path, "-q", "test_theirs.py")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
