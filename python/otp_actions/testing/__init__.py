"""Helpers for your own test suite. With pytest they come as fixtures, see ``otp_actions.testing.plugin``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

from django.test import override_settings

from otp_actions import conf, ledgers, services
from otp_actions.__main__ import generate_key

__all__ = ["IssuedOTP", "capture_otps", "fresh_ledger", "otp_settings", "wrong_code"]


class IssuedOTP(NamedTuple):
    """A code that was issued while :func:`capture_otps` was active."""

    code: str
    context: str
    identifier: str | int | None
    purpose: str


@contextmanager
def capture_otps() -> Iterator[list[IssuedOTP]]:
    """Collect every code that is issued inside the block, newest last, wherever ``generate_otp`` is called from.

    Example::

        with capture_otps() as issued:
            client.post("/request-otp/", {"email": "ada@example.com"})
        code = issued[-1].code
    """
    issued: list[IssuedOTP] = []
    outer = services._witness  # noqa: SLF001 -- it is there for this

    def witness(code: str, context: str, identifier: str | int | None, purpose: str) -> None:
        issued.append(IssuedOTP(code, context, identifier, purpose))
        if outer is not None:
            outer(code, context, identifier, purpose)

    with mock.patch.object(services, "_witness", witness):
        yield issued


@contextmanager
def fresh_ledger() -> Iterator[None]:
    """Start the block, and what follows it, with a ledger that has counted nothing."""
    ledgers.reset()
    try:
        yield
    finally:
        ledgers.reset()


@contextmanager
def otp_settings(**overrides: Any) -> Iterator[None]:
    """Use a key of this block's own, a fresh ledger, and *overrides* (``OTP_EXPIRY_SECONDS=60``).

    Raises:
        TypeError: An override looks like a misspelt setting: it would change nothing.
    """
    refuse_misspelt(overrides)
    with fresh_ledger(), override_settings(**{"OTP_SIGNING_KEY": generate_key(), "OTP_LEDGER": "process", **overrides}):
        yield


def refuse_misspelt(overrides: Iterable[str]) -> None:
    """Raise if one of the names in *overrides* looks like a misspelt setting."""
    for name in overrides:
        if meant := conf.meant_by(name):
            raise TypeError(f"{name} is not a setting of otp_actions. Did you mean {meant}?")


def wrong_code(code: str) -> str:
    """Return a code of the same length that is not *code*."""
    return code[:-1] + str((int(code[-1]) + 1) % 10)
