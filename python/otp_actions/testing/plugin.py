"""The pytest plugin, loaded because the package is installed. Nothing in it is autouse, and importing it needs nothing.

Fixtures:
    otp_settings: A key of the test's own and a fresh ledger. Call it to override more, for the rest of the test:
        ``otp_settings(OTP_LEDGER=None)``. What was issued before stays valid.
    otp_outbox: The codes issued during the test, newest last.
    fresh_otp_ledger: A ledger that has counted nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from otp_actions.testing import IssuedOTP


@pytest.fixture
def otp_settings(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    """Use a key of the test's own and a fresh ledger; call it with settings to override more of them."""
    from django.test import override_settings

    from otp_actions import testing
    from otp_actions.__main__ import generate_key

    with testing.fresh_ledger(), ExitStack() as stack:

        def override(**overrides: Any) -> None:
            testing.refuse_misspelt(overrides)
            if request.config.pluginmanager.hasplugin("django"):
                # pytest-django's own fixture restores what is set through it, in the right order.
                settings = request.getfixturevalue("settings")
                for name, value in overrides.items():
                    setattr(settings, name, value)
            else:
                stack.enter_context(override_settings(**overrides))

        override(OTP_SIGNING_KEY=generate_key(), OTP_LEDGER="process")
        yield override


@pytest.fixture
def otp_outbox() -> Iterator[list[IssuedOTP]]:
    """Return the codes issued during the test, newest last."""
    from otp_actions import testing

    with testing.capture_otps() as issued:
        yield issued


@pytest.fixture
def fresh_otp_ledger() -> Iterator[None]:
    """Start the test with a ledger that has counted nothing."""
    from otp_actions import testing

    with testing.fresh_ledger():
        yield
