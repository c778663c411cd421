"""How often a view may be asked, counted in the ledger: ``OTPThrottle`` for DRF, ``otp_throttle`` for any view.

For the views that issue codes. What counts wrong codes are the budgets (``OTP_IDENTIFIER_BUDGET``), not these.
"""

# DRF imports the classes in DEFAULT_THROTTLE_CLASSES while it imports its own views, so nothing here may import those.

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, TypeVar, cast, get_args

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from otp_actions import client, conf
from otp_actions.exceptions import OTPException, OTPThrottledException
from otp_actions.http.errors import OTPAPIException
from otp_actions.http.fields import read_data
from otp_actions.ledgers import ledger_for
from otp_actions.ledgers.base import Denied

__all__ = ["OTPThrottle", "otp_throttle"]

By = Literal["identifier", "ip", "user"]

_View = TypeVar("_View", bound=Callable[..., Any])

_FIELD: Final = "identifier"
_MAX_IDENTIFIER: Final = 1024  # Characters. No identifier has more, and normalising takes time.


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in a time, for each identifier, address or user; see :func:`otp_throttle`."""

    rate: conf.Rate
    by: By
    field: str

    def take(self, request: HttpRequest | Request, view: str) -> None:
        """Count *request* to *view* unless its method is safe.

        Raises:
            OTPThrottledException: There were too many.
            OTPUnavailableException: The ledger cannot tell.
            OTPException: The body has to be read for the identifier, and cannot be.
            ImproperlyConfigured: ``OTP_LEDGER`` is ``None``.
        """
        if request.method in SAFE_METHODS:
            return
        settings = conf.current()
        ledger = ledger_for(settings)
        if not ledger.remembers:
            raise ImproperlyConfigured(
                "A throttle counts in the ledger, and OTP_LEDGER is None. Remove the throttle, or set OTP_LEDGER to "
                '"process" or to a ledger that your processes share.'
            )
        # Under every key of the ring, so that a bucket that is full stays full when the primary changes.
        digests = self._digests(settings, request, view)
        claims = tuple((b"t" + digest[:16], self.rate.limit, self.rate.seconds) for digest in digests)
        result = ledger.take(claims, now=int(time.time()))
        if isinstance(result, Denied):
            raise OTPThrottledException(retry_after=max(result.retry_after, 1))

    def _digests(self, settings: conf.Settings, request: HttpRequest | Request, view: str) -> list[bytes]:
        """Return what *request* is counted under. What is not there to count by is counted by the address."""
        scope = [view, str(self.rate.limit), str(self.rate.seconds), self.by, self.field]
        digests = settings.keyring.digests
        if self.by == "identifier":
            value = read_data(request).get(self.field)
            # As a CharField reads it: 42 and "42" are one identifier.
            text = str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
            # A form would trim it, however much is around it; and what comes after so much makes nobody another.
            text = text.strip()[:_MAX_IDENTIFIER]
            if text:
                try:
                    return digests("throttle", text, "\n".join(scope), settings.rules)
                except ValueError:
                    pass  # No identifier, by its encoding or to OTP_CANONICAL_IDENTIFIER.
        user = getattr(request, "user", None) if self.by == "user" else None
        if user is not None and user.is_authenticated:
            scope += ["user", str(user.pk)]
        else:
            scope += ["ip", client.network_of(client.address_of(request, settings.proxies))]
        # In the scope, since a text in the place of the identifier would go through OTP_CANONICAL_IDENTIFIER.
        return digests("throttle", 0, "\n".join(scope), settings.rules)


def _limit(rate: str, by: str, field: str, name: str) -> Limit:
    if callable(rate):
        raise TypeError(f'{name} needs a rate: write @{name}("5/h").')
    if by not in get_args(By):
        raise ValueError(f'{name}: by must be "identifier", "ip" or "user", not {by!r}.')
    if by != "identifier" and field != _FIELD:
        raise ValueError(f"{name}: field = {field!r} is read only with by = 'identifier', not with {by!r}.")
    return Limit(conf.rate(rate, f"The rate of {name}"), cast("By", by), field)


def _class_name(view: object) -> str:
    """Return the name of a class-based view; an ``@api_view`` function is a class whose ``__name__`` alone is its."""
    cls = type(view)
    return f"{cls.__module__}.{cls.__qualname__}.{cls.__name__}.{getattr(view, 'action', None) or ''}"


def _name(view: Any) -> str:
    """Return the name of any other view."""
    owner = getattr(getattr(view, "func", None), "__self__", None)  # method_decorator hands over a bound method.
    if owner is not None:
        return _class_name(owner)
    named = getattr(view, "view_class", view)  # What as_view() has made.
    named = named if hasattr(named, "__qualname__") else type(named)
    return f"{named.__module__}.{named.__qualname__}"


@dataclass(frozen=True, slots=True)
class ThrottlingDoor:
    """Lets no more unsafe requests through than the limit.

    Attributes:
        limit: How many.
        view: The name of the view behind it, if that is none of DRF's.
    """

    limit: Limit
    view: str

    def enter(self, request: HttpRequest | Request) -> None:
        """Count *request*."""
        self.limit.take(
            request, _class_name(request.parser_context["view"]) if isinstance(request, Request) else self.view
        )

    async def aenter(self, request: HttpRequest) -> None:
        """Count *request* in a thread: the ledger may block, and so may loading the user."""
        await sync_to_async(self.enter)(request)


def otp_throttle(rate: str, *, by: By = "identifier", field: str = _FIELD) -> Callable[[_View], _View]:
    """Answer 429 ``OTP_THROTTLED`` to more than *rate* requests. GET, HEAD and OPTIONS pass uncounted.

    What is not there to count by, an identifier that is missing or a user who is not logged in, is counted by the
    address. Each view has a count of its own.

    Args:
        rate: Such as ``"5/h"``: a number, then s, m, h or d. The time begins with the first request counted.
        by: ``"identifier"`` counts what the body has in *field*; ``"ip"`` the client's address, see
            ``OTP_TRUSTED_PROXY_COUNT``; ``"user"`` who is logged in.
        field: The field of the body that holds the identifier.

    Raises:
        SettingError: *rate* is not a rate.
        TypeError: There is no rate.
        ValueError: *by* is none of the three, or *field* would not be read.
    """
    limit = _limit(rate, by, field, "otp_throttle")

    def decorate(view: _View) -> _View:
        # Here, since doors imports DRF's views; see the top.
        from otp_actions.http.doors import put_behind

        return cast("_View", put_behind(ThrottlingDoor(limit, _name(view)), view))

    return decorate


class OTPThrottle(BaseThrottle):
    """Throttles a DRF view: ``throttle_classes = [OTPThrottle.at("5/h", field="email")]``.

    Works as :func:`otp_throttle` does. Refuses by raising, so that what is refused here is not counted by the throttles
    after it: one address could otherwise use up everybody's.

    Attributes:
        rate: How many requests in what time.
        by: ``"identifier"``, ``"ip"`` or ``"user"``.
        field: The field of the body that holds the identifier.
    """

    rate: ClassVar[str] = "5/h"
    by: ClassVar[By] = "identifier"
    field: ClassVar[str] = _FIELD
    limit: ClassVar[Limit] = _limit(rate, by, field, "OTPThrottle")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Judge what the class says where it is written."""
        super().__init_subclass__(**kwargs)
        cls.limit = _limit(cls.rate, cls.by, cls.field, cls.__name__)

    @classmethod
    def at(cls, rate: str, *, by: By = "identifier", field: str = _FIELD) -> type[OTPThrottle]:
        """Return a throttle with these in place of its own; see :func:`otp_throttle`."""
        return type(cls.__name__, (cls,), {"rate": rate, "by": by, "field": field, "__module__": cls.__module__})

    def allow_request(self, request: Request, view: Any) -> bool:
        """Return ``True``.

        Raises:
            OTPAPIException: 429 ``OTP_THROTTLED``, or 503 ``OTP_UNAVAILABLE``, for the project's exception handler.
        """
        try:
            self.limit.take(request, _class_name(view))
        except OTPException as error:
            raise OTPAPIException(error) from None
        return True
