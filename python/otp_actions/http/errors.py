"""The reason table: which status and body an exception of ours becomes. The only one."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpResponse, JsonResponse
from rest_framework.exceptions import APIException

from otp_actions.exceptions import (
    InvalidOTPException,
    MaxRetriesExceededException,
    OTPException,
    OTPExpiredException,
    OTPRevokedException,
    OTPThrottledException,
    OTPUnavailableException,
    OTPUsedException,
    SessionExpiredException,
)

#: Everything else is a 400.
STATUSES: Final[dict[type[OTPException], int]] = {
    OTPExpiredException: 410,
    SessionExpiredException: 410,
    OTPUsedException: 410,
    OTPRevokedException: 410,
    MaxRetriesExceededException: 429,
    OTPThrottledException: 429,
    OTPUnavailableException: 503,
}

NO_STORE: Final = "no-store, private"  # Django 5.0's own cache goes by `private` alone.


def status_of(error: OTPException) -> int:
    """Return the HTTP status for *error*."""
    return STATUSES.get(type(error), 400)


def body_of(error: OTPException) -> dict[str, Any]:
    """Return the response body for *error*, in the shape of release 0.1."""
    body: dict[str, Any] = {"error": str(error), "error_code": error.code}
    if isinstance(error, InvalidOTPException):
        body["attempts_remaining"] = error.attempts_remaining
        body["context"] = error.new_context
    elif isinstance(error, MaxRetriesExceededException):
        body["attempts_remaining"] = error.attempts_remaining
    return body


def render(error: OTPException) -> HttpResponse:
    """Return the response of a plain Django view for *error*."""
    response = JsonResponse(body_of(error), status=status_of(error))
    response["Cache-Control"] = NO_STORE
    if isinstance(error, (OTPThrottledException, OTPUnavailableException)):
        response["Retry-After"] = str(error.retry_after)
    return response


class OTPAPIException(APIException):
    """*error* on its way through DRF, so that the project's own ``EXCEPTION_HANDLER`` renders it.

    Attributes:
        otp_error: The exception it stands for.
        detail: The body, see :func:`body_of`. Numbers stay numbers.
    """

    def __init__(self, error: OTPException) -> None:
        super().__init__()
        self.otp_error = error
        self.status_code = status_of(error)
        self.detail = body_of(error)
        if isinstance(error, (OTPThrottledException, OTPUnavailableException)):
            self.wait = error.retry_after  # DRF's handler makes it Retry-After.

    def __str__(self) -> str:
        """Return the message alone: the body may hold a context, and texts of exceptions are logged."""
        return str(self.otp_error)

    def get_codes(self) -> str:
        """Return the stable code; DRF's own would look for one in each value of the body."""
        return self.otp_error.code

    def get_full_details(self) -> dict[str, Any]:
        """Return message and code in DRF's form."""
        return {"message": str(self.otp_error), "code": self.otp_error.code}
