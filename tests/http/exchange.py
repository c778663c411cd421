"""Talking to a door over Django's handlers, and what its answers must look like."""

from __future__ import annotations

import json
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from .views import ASYNC_KINDS

#: The error table: status, text, and what the body holds beside ``error`` and ``error_code``.
ERROR_TABLE = {
    "INVALID_OTP": (400, "Invalid OTP. Attempts remaining: {attempts_remaining}", {"attempts_remaining", "context"}),
    "MISSING_FIELDS": (400, "OTP and context are required", set()),
    "OTP_ERROR": (400, None, set()),
    "OTP_EXPIRED": (410, "OTP has expired. Please request a new OTP code.", set()),
    "SESSION_EXPIRED": (410, "Session has expired. Please request a new OTP.", set()),
    "OTP_USED": (410, "OTP has already been used. Please request a new OTP.", set()),
    "OTP_REVOKED": (410, "OTP has been revoked. Please request a new OTP.", set()),
    "MAX_RETRIES_EXCEEDED": (
        429,
        "Maximum retry attempts (3) exceeded. Please request a new OTP code.",
        {"attempts_remaining"},
    ),
    "OTP_UNAVAILABLE": (503, "OTP verification is temporarily unavailable. Please try again shortly.", set()),
}


def assert_refused(response, *codes):
    """Check the whole of an error answer: it is one of *codes*, exactly as in the error table. Return its body."""
    assert response["Content-Type"] == "application/json", response.content[:300]
    body = response.json()
    assert body["error_code"] in codes, body
    status, text, more = ERROR_TABLE[body["error_code"]]
    assert response.status_code == status
    assert set(body) == {"error", "error_code"} | more
    assert body["error"] == text.format(**body) if text else body["error"]
    assert response["Cache-Control"] == "no-store, private"
    return body


def assert_accepted(response):
    """Check that the view was reached behind a code that verified. Return its body."""
    assert response.status_code == 200, response.content[:300]
    assert response["Cache-Control"] == "no-store, private"
    body = response.json()
    assert body["verified"] is True
    return body


@dataclass(frozen=True)
class Kind:
    """A kind of view, and a client that reaches it as it would be reached: the async ones over ASGI."""

    name: str

    @property
    def client(self):
        return AsyncClient() if self.name in ASYNC_KINDS else Client()

    def send(self, scenario, fields=None, *, method="POST", client=None, **more):
        """Send *fields* as JSON."""
        body = "" if fields is None else json.dumps(fields)
        return self.send_body(scenario, body, "application/json", method=method, client=client, **more)

    def send_body(self, scenario, body, content_type, *, method="POST", client=None, **more):
        """Send *body* as it is."""
        client = client or self.client
        url = f"/{self.name}/{scenario}/"
        if not isinstance(client, AsyncClient):
            return client.generic(method, url, body, content_type=content_type, **more)

        async def ask():
            return await client.generic(method, url, body, content_type=content_type, **more)

        return async_to_sync(ask)()
