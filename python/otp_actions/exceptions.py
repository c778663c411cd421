"""Every error this package raises on purpose.

``code`` is stable and machine-readable: the same string stands in the ``error_code`` of a response. The text is for
people, and goes through gettext. No text and no ``repr`` carries a code, a context or a key; the one exception that
holds a context, :class:`InvalidOTPException`, holds it as an attribute.
"""

from __future__ import annotations

from typing import ClassVar

from django.apps import apps
from django.utils.translation import gettext

__all__ = [
    "InvalidOTPException",
    "MaxRetriesExceededException",
    "MissingFieldsException",
    "OTPException",
    "OTPExpiredException",
    "OTPRevokedException",
    "OTPThrottledException",
    "OTPUnavailableException",
    "OTPUsedException",
    "SessionExpiredException",
]


def gettext_noop(message: str) -> str:
    """Mark *message* for translation; :class:`OTPException` translates it when it is shown."""
    return message


def _translated(message: str) -> str:
    # Translations need the app registry; a script that only configured settings gets English.
    return gettext(message) if apps.ready else message


class OTPException(Exception):
    """A context that does not open or does not belong here, or a call that cannot be served.

    Attributes:
        code: The stable reason, ``"OTP_ERROR"`` here.
    """

    code: ClassVar[str] = "OTP_ERROR"
    default_message: ClassVar[str] = gettext_noop("The OTP could not be processed.")

    def __init__(self, message: str | None = None, **params: object) -> None:
        """Take *message*, the class's own if ``None``, with *params* to be put into it once it is translated."""
        super().__init__()
        self._message = message or self.default_message
        self._params = params

    def __str__(self) -> str:
        """Return the message in the language that is active now."""
        text = _translated(self._message)
        return text % self._params if self._params else text

    def __repr__(self) -> str:
        """Return class and message; what else the exception holds is nobody's log line."""
        return f"{type(self).__name__}({str(self)!r})"


class MissingFieldsException(OTPException):
    """The code or the context is missing, null or empty."""

    code = "MISSING_FIELDS"
    default_message = gettext_noop("OTP and context are required")


class InvalidOTPException(OTPException):
    """The code is wrong. The attempt has been counted.

    Attributes:
        new_context: The context to use for the next attempt; it carries the new count.
        attempts_remaining: How many more codes will be compared; 0 after the last permitted wrong one.
    """

    code = "INVALID_OTP"
    default_message = gettext_noop("Invalid OTP. Attempts remaining: %(attempts_remaining)d")

    def __init__(self, new_context: str | None = None, *, attempts_remaining: int = 0) -> None:
        super().__init__(attempts_remaining=attempts_remaining)
        self.new_context = new_context
        self.attempts_remaining = attempts_remaining


class OTPExpiredException(OTPException):
    """The code is too old; the context is not yet."""

    code = "OTP_EXPIRED"
    default_message = gettext_noop("OTP has expired. Please request a new OTP code.")


class SessionExpiredException(OTPException):
    """The context is too old."""

    code = "SESSION_EXPIRED"
    default_message = gettext_noop("Session has expired. Please request a new OTP.")


class MaxRetriesExceededException(OTPException):
    """No attempt is left; nothing was compared."""

    code = "MAX_RETRIES_EXCEEDED"
    default_message = gettext_noop("Maximum retry attempts (%(max_retries)d) exceeded. Please request a new OTP code.")
    attempts_remaining: ClassVar[int] = 0

    def __init__(self, *, max_retries: int = 0) -> None:
        super().__init__(max_retries=max_retries)


class OTPUsedException(OTPException):
    """The code has been accepted once already."""

    code = "OTP_USED"
    default_message = gettext_noop("OTP has already been used. Please request a new OTP.")


class OTPRevokedException(OTPException):
    """The challenge was revoked."""

    code = "OTP_REVOKED"
    default_message = gettext_noop("OTP has been revoked. Please request a new OTP.")


class OTPThrottledException(OTPException):
    """Too many wrong codes, or too many requests, for one identifier or from one address. Nothing was compared.

    Attributes:
        retry_after: Seconds after which there is room again.
    """

    code = "OTP_THROTTLED"
    default_message = gettext_noop("Too many attempts. Please try again later.")

    def __init__(self, *, retry_after: int = 1) -> None:
        super().__init__()
        self.retry_after = retry_after


class OTPUnavailableException(OTPException):
    """The ledger cannot count right now, so nothing is accepted.

    Attributes:
        retry_after: Seconds after which trying again makes sense.
    """

    code = "OTP_UNAVAILABLE"
    default_message = gettext_noop("OTP verification is temporarily unavailable. Please try again shortly.")

    def __init__(self, *, retry_after: int = 5) -> None:
        super().__init__()
        self.retry_after = retry_after
