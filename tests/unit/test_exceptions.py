"""The errors: stable codes, texts for people, attributes for programs."""

import pytest

from otp_actions import exceptions

CODES = {
    "OTPException": "OTP_ERROR",
    "MissingFieldsException": "MISSING_FIELDS",
    "InvalidOTPException": "INVALID_OTP",
    "OTPExpiredException": "OTP_EXPIRED",
    "SessionExpiredException": "SESSION_EXPIRED",
    "MaxRetriesExceededException": "MAX_RETRIES_EXCEEDED",
    "OTPUsedException": "OTP_USED",
    "OTPRevokedException": "OTP_REVOKED",
    "OTPThrottledException": "OTP_THROTTLED",
    "OTPUnavailableException": "OTP_UNAVAILABLE",
}


def test_every_public_error_is_listed_here():
    assert sorted(exceptions.__all__) == sorted(CODES)


@pytest.mark.parametrize("name", CODES)
def test_error_has_a_stable_code_and_a_text(name):
    error = getattr(exceptions, name)()
    assert isinstance(error, exceptions.OTPException)
    assert error.code == CODES[name]
    assert str(error)
    assert "%" not in str(error)


def test_wrong_code_carries_the_next_context_outside_its_text():
    error = exceptions.InvalidOTPException("gAAAAA", attempts_remaining=2)
    assert (error.new_context, error.attempts_remaining) == ("gAAAAA", 2)
    assert str(error) == "Invalid OTP. Attempts remaining: 2"
    assert "gAAAAA" not in repr(error)
    assert exceptions.InvalidOTPException(new_context="gAAAAA").new_context == "gAAAAA"


def test_other_attributes():
    assert exceptions.MaxRetriesExceededException().attempts_remaining == 0
    assert "attempts (3) exceeded" in str(exceptions.MaxRetriesExceededException(max_retries=3))
    assert exceptions.OTPUnavailableException().retry_after == 5
    assert exceptions.OTPUnavailableException(retry_after=9).retry_after == 9


def test_text_of_ones_own_may_hold_parameters():
    assert str(exceptions.OTPException("%(n)d left", n=2)) == "2 left"
    assert exceptions.OTPException("Own text").code == "OTP_ERROR"


def test_text_of_ones_own_may_hold_a_percent_sign():
    assert str(exceptions.OTPException("100% wrong")) == "100% wrong"


@pytest.mark.parametrize("name", CODES)
def test_text_is_translated_when_it_is_raised(monkeypatch, name):
    monkeypatch.setattr(exceptions, "gettext", lambda message: f"<{message}>")
    text = str(getattr(exceptions, name)())
    assert text.startswith("<")
    assert text.endswith(">")
    assert "%" not in text


def test_text_is_english_before_the_apps_are_ready(monkeypatch):
    monkeypatch.setattr(exceptions.apps, "ready", False)
    monkeypatch.setattr(exceptions, "gettext", lambda message: pytest.fail("translations need the app registry"))
    assert str(exceptions.OTPUsedException()) == "OTP has already been used. Please request a new OTP."
