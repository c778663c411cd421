"""Messages go through gettext, and German is complete: nobody is shown half a translation."""

import ast
from pathlib import Path

import pytest
from django.utils.translation import gettext, override

import otp_actions
from otp_actions.exceptions import InvalidOTPException, OTPException

PACKAGE = Path(otp_actions.__file__).parent


def messages():
    """Return every literal that the package marks with gettext_noop."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "gettext_noop":
                (argument,) = node.args
                if isinstance(argument, ast.Constant):
                    yield argument.value


@pytest.mark.parametrize("message", sorted(set(messages())))
def test_german_has_every_message(message):
    with override("de"):
        assert gettext(message) != message


def test_error_speaks_the_language_that_is_active_when_it_is_shown():
    error = InvalidOTPException("context", attempts_remaining=2)
    assert str(error) == "Invalid OTP. Attempts remaining: 2"
    with override("de"):
        assert str(error) == "Falscher Code. Verbleibende Versuche: 2"


def test_message_of_ones_own_is_shown_as_it_is():
    with override("de"):
        assert str(OTPException("Something else")) == "Something else"
