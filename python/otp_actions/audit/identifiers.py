"""What the trail holds of an identifier, and how its rows are found again: to search them, and to erase them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from django.db import router
from django.db.models import QuerySet

from otp_actions import conf
from otp_actions.audit.models import OTPEvent

__all__ = ["columns_of", "digests_of", "erase", "events_of"]

_BATCH: Final = 500  # SQLite takes no more than 999 parameters by default.


def columns_of(identifier: str | int | None) -> tuple[str, str]:
    """Return what a row holds of *identifier*: its ``identifier`` and its ``identifier_digest``."""
    if identifier is None:
        return "", ""
    if conf.read_audit()[0] == "plain":
        return str(identifier), _plain_digest(identifier)
    digest = _keyed_digests(identifier)[0]
    return digest, digest


def digests_of(identifier: str | int) -> list[str]:
    """Return every ``identifier_digest`` that *identifier* may have: one for each key, and the one of plain rows.

    Raises:
        ValueError: It cannot be an identifier.
    """
    return [*_keyed_digests(identifier), _plain_digest(identifier)]


def _keyed_digests(identifier: str | int) -> list[str]:
    settings = conf.current()
    return [digest.hex() for digest in settings.keyring.digests("audit", identifier, "", settings.rules)]


def _plain_digest(identifier: str | int) -> str:
    # Without a key: the identifier itself stands beside it, and what is there to read must be found, and can be erased,
    # whichever keys have been retired since.
    kind = "i" if isinstance(identifier, int) else "s"
    return sha256(f"{kind}{conf.current().rules.canonical(identifier)}".encode()).hexdigest()


def events_of(identifier: str | int) -> QuerySet[OTPEvent]:
    """Return the events of *identifier*, in any spelling; 42 is not ``"42"``. Use it to show people what you hold.

    Digests made with a key that is no longer in the ring are not found.

    Raises:
        ValueError: It cannot be an identifier.
    """
    return OTPEvent.objects.filter(identifier_digest__in=digests_of(identifier))


def erase(identifier: str | int, *, progress: Callable[[int], object] | None = None) -> int:
    """Delete the events of *identifier*, see :func:`events_of`, and return how many they were.

    Args:
        identifier: As it was given to ``generate_otp``.
        progress: Called with the number of events deleted so far, after each batch of them.

    Raises:
        ValueError: It cannot be an identifier.
    """
    # A replica would show again what was deleted just now.
    events = events_of(identifier).using(router.db_for_write(OTPEvent)).order_by()
    erased = 0
    while ids := list(events.values_list("pk", flat=True)[:_BATCH]):
        erased += events.filter(pk__in=ids).delete()[0]
        if progress is not None:
            progress(erased)
    return erased
