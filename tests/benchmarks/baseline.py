"""The pure-Python algorithm that people use today, over pyca/cryptography: what the benchmark compares with.

Written for the benchmark after the published description of the 0.1 release: SHA-256 of the code, one JSON object, one
Fernet token. Verifying opens the token twice, and each time the key is read from the settings, as in that release.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings


class Wrong(Exception):
    """The code is wrong; the new context is attached."""


def _fernet() -> Fernet:
    key = settings.OTP_SIGNING_KEY
    return Fernet(key.encode() if isinstance(key, str) else key)


def _seal(context: dict[str, Any]) -> str:
    return _fernet().encrypt(json.dumps(context).encode()).decode()


def _open(token: str) -> dict[str, Any]:
    return json.loads(_fernet().decrypt(token.encode()).decode())


def generate(identifier: str, metadata: Any = None) -> tuple[str, str]:
    """Return a code and its context."""
    code = "".join(str(secrets.randbelow(10)) for _ in range(6))
    now = datetime.now()
    context = {
        "identifier": identifier,
        "otp_hash": hashlib.sha256(code.encode()).hexdigest(),
        "metadata": metadata,
        "timestamp": now.timestamp(),
        "otp_expiry": (now + timedelta(minutes=5)).timestamp(),
        "session_expiry": (now + timedelta(minutes=15)).timestamp(),
        "retry_count": 0,
        "max_retries": 3,
    }
    return code, _seal(context)


def _validate(code: str, token: str) -> None:
    context = _open(token)
    now = datetime.now().timestamp()
    if now > context["session_expiry"] or now > context["otp_expiry"]:
        raise ValueError
    if context["retry_count"] >= context["max_retries"]:
        raise ValueError
    digest = hashlib.sha256(str(code).strip().encode()).hexdigest()
    if not secrets.compare_digest(context["otp_hash"], digest):
        context["retry_count"] += 1
        raise Wrong(_seal(context))


def verify(code: str, token: str) -> dict[str, Any]:
    """Return what was sealed, if the code is right."""
    _validate(code, token)
    return _open(token)
