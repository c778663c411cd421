"""What happened to codes: five signals, and one log record each on the logger ``otp_actions``.

A receiver is called with ``occurrence``, an :class:`Occurrence`, and ``request``, which is ``None`` where there is
none. An exception in a receiver is logged by Django and goes no further. Nothing here ever holds a code, a context or a
key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.dispatch import Signal
from django.http import HttpRequest

__all__ = ["Occurrence", "otp_exhausted", "otp_failed", "otp_generated", "otp_revoked", "otp_verified"]

otp_generated: Final = Signal()
otp_verified: Final = Signal()
otp_failed: Final = Signal()
otp_exhausted: Final = Signal()
otp_revoked: Final = Signal()

logger: Final = logging.getLogger("otp_actions")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing that happened.

    Attributes:
        event: ``"generated"``, ``"verified"``, ``"failed"``, ``"exhausted"`` or ``"revoked"``.
        reason: Why: the ``error_code`` of the answer. ``"DECOY"`` where a decoy was generated, ``"IDENTIFIER"`` where
            all codes of an identifier were revoked; else empty.
        identifier: Whom the code is for, as it was given; ``None`` if there is none or the context does not open.
        purpose: What it is good for.
        jti: The challenge's id, 32 hexadecimal digits; empty if the context does not open.
        address: The client's IP address, see ``OTP_TRUSTED_PROXY_COUNT``; ``None`` without a request.
        user_agent: What the client calls itself, at most 256 characters.
        time: Unix seconds, UTC.
        recorded: Written already, in the transaction of the ledger's mark.
    """

    event: str
    reason: str
    identifier: str | int | None
    purpose: str
    jti: str
    address: str | None
    user_agent: str
    time: int
    recorded: bool = False


#: Returns the SQL that records an occurrence over a ledger's own database connection. Set by ``otp_actions.audit``.
record: Callable[[Occurrence, Any], Iterable[tuple[str, Sequence[Any]]]] | None = None

_EVENTS: Final[dict[str, tuple[Signal, int]]] = {
    "generated": (otp_generated, logging.INFO),
    "verified": (otp_verified, logging.INFO),
    "failed": (otp_failed, logging.INFO),
    "exhausted": (otp_exhausted, logging.WARNING),
    "revoked": (otp_revoked, logging.INFO),
}


def is_observed(event: str) -> bool:
    """Say whether anybody would hear of *event*: nothing is worked out for nobody."""
    signal, level = _EVENTS[event]
    return bool(signal.receivers) or logger.isEnabledFor(level)


def is_heard() -> bool:
    """Say whether anybody listens to a signal: whoever does may block, and use Django's database connections."""
    return any(signal.receivers for signal, _ in _EVENTS.values())


def tell(occurrence: Occurrence, request: HttpRequest | None) -> None:
    """Log *occurrence* and send its signal."""
    event, reason = occurrence.event, occurrence.reason
    signal, level = _EVENTS[event]
    logger.log(
        level,
        "otp_%s%s purpose=%r jti=%s",
        event,
        f" {reason}" if reason else "",
        occurrence.purpose,
        occurrence.jti or "-",
        extra={
            "otp_event": event,
            "otp_reason": reason,
            "otp_purpose": occurrence.purpose,
            "otp_jti": occurrence.jti,
            "otp_ip": occurrence.address,
        },
    )
    try:
        signal.send_robust(sender=Occurrence, occurrence=occurrence, request=request)
    except Exception as error:  # What is told has happened, and is not undone by its hearers.
        logger.error("The receivers of otp_%s could not be called: %s.", event, type(error).__name__)
