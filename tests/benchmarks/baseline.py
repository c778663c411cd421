"""The pure-Python algorithm that people use today, over pyca/cryptography: what the benchmark compares with.

Written for the benchmark after the published description of the 0.1 release: SHA-256 of the code, one JSON object, one
Fernet token. Verifying opens the token twice, as that release does.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet


class Wrong(Exception):
    """The code is wrong; the new context is attached."""


class Baseline:
    def __init__(self, key: bytes) -> None:
        self.key = key

    def seal(self, context: dict[str, Any]) -> str:
        return Fernet(self.key).encrypt(json.dumps(context).encode()).decode()

    def open(self, token: str) -> dict[str, Any]:
        return json.loads(Fernet(self.key).decrypt(token.encode()))

    def generate(self, identifier: str, metadata: Any = None) -> tuple[str, str]:
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
        return code, self.seal(context)

    def _validate(self, code: str, token: str) -> None:
        context = self.open(token)
        now = datetime.now().timestamp()
        if now > context["session_expiry"] or now > context["otp_expiry"]:
            raise ValueError
        if context["retry_count"] >= context["max_retries"]:
            raise ValueError
        digest = hashlib.sha256(str(code).strip().encode()).hexdigest()
        if not secrets.compare_digest(context["otp_hash"], digest):
            context["retry_count"] += 1
            raise Wrong(self.seal(context))

    def verify(self, code: str, token: str) -> dict[str, Any]:
        self._validate(code, token)
        return self.open(token)
