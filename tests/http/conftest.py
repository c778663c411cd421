"""A fresh key and ledger, and the URLs of this directory, for every test in it."""

import pytest

from otp_actions.services import generate_otp
from otp_actions.testing import otp_settings, wrong_code

from . import urls
from .exchange import Kind, assert_accepted, assert_refused
from .views import KINDS


@pytest.fixture(autouse=True)
def _doors():
    with otp_settings(ROOT_URLCONF=urls.__name__):
        yield


@pytest.fixture(params=KINDS)
def kind(request):
    """Each kind of view."""
    return Kind(request.param)


@pytest.fixture
def attempts():
    """Check what the requests of a test have cost: ``attempts(kind, code, context) -> how many are counted``."""

    def counted(kind, code, context, *, scenario="verify", **more):
        """Say how many attempts were counted, by a wrong answer, and check that the right one is still accepted."""
        answer = kind.send(scenario, {"otp": wrong_code(code), "context": context, **more})
        remaining = assert_refused(answer, "INVALID_OTP")["attempts_remaining"]
        assert_accepted(kind.send(scenario, {"otp": code, "context": context, **more}))
        return 3 - remaining - 1

    return counted


@pytest.fixture
def challenge():
    """A code and its context."""
    return generate_otp(identifier="ada@example.com")
