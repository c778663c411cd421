"""``OTPProtectedMixin`` and ``OTPVerifiedMixin``: name them before ``APIView``, a ``ViewSet`` or Django's ``View``."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django.http import HttpRequest
from django.views.generic import View as DjangoView
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from otp_actions.http.doors import (
    Door,
    IssuingDoor,
    Precheck,
    VerifyingDoor,
    acall_plain,
    call_plain,
    enter_drf,
    handles,
    hide_locals,
    hide_post_parameters,
)

__all__ = ["OTPProtectedMixin", "OTPVerifiedMixin"]

if TYPE_CHECKING:
    _Base = APIView
else:
    _Base = object


class _BehindDoors(_Base):
    """Sends every request through ``_otp_doors()`` before a handler sees it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class that would leave its requests unverified without a word."""
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(_BehindDoors)]
        for base in before:
            if issubclass(base, DjangoView) and not issubclass(base, _BehindDoors):
                raise TypeError(
                    f"{cls.__name__}: name the OTP mixin before {base.__name__} among the base classes. "
                    "After it, no request would be verified."
                )

    def _otp_doors(self) -> tuple[Door, ...]:
        return ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Enter after DRF's own authentication, permissions and throttles."""
        super().initial(request, *args, **kwargs)
        for door in self._otp_doors():
            enter_drf(door, self, request)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Serve a DRF view as ever (``initial`` is the way in), a plain Django view behind its doors."""
        view = partial(super().dispatch, request, *args, **kwargs)
        hide_post_parameters(request)
        if isinstance(self, APIView):
            return hide_locals(view)()
        # A dispatch() of the view's own decides for itself what it serves: then every request is verified.
        plain = next(vars(c)["dispatch"] for c in type(self).__mro__ if "dispatch" in vars(c) and c is not _BehindDoors)
        skip = plain is DjangoView.dispatch and not handles(self, request.method)
        call = acall_plain if self.view_is_async else call_plain
        return call(self._otp_doors(), request, hide_locals(view), skip=skip)


class OTPProtectedMixin(_BehindDoors):
    """Gives a class-based view ``request.generate_otp()`` and ``request.generate_decoy()``, and their async twins.

    Attributes:
        otp_purpose: What the codes are good for; ``OTPVerifiedMixin`` needs the same.
    """

    otp_purpose: ClassVar[str] = ""

    def _otp_doors(self) -> tuple[Door, ...]:
        return (*super()._otp_doors(), IssuingDoor(self.otp_purpose))


class OTPVerifiedMixin(_BehindDoors):
    """Runs a class-based view's unsafe methods only with a code that verifies; see ``otp_verified``.

    Attributes:
        otp_purpose: What the code must have been issued for.
        otp_precheck: As ``precheck`` of ``otp_verified``. Wrap a plain function in ``staticmethod``.
        otp_actions: For a ViewSet: the actions to verify, all unsafe ones if ``None``.
    """

    otp_purpose: ClassVar[str] = ""
    otp_precheck: ClassVar[Precheck | None] = None
    otp_actions: ClassVar[Collection[str] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse an ``otp_actions`` that matches nothing: it would verify nothing."""
        super().__init_subclass__(**kwargs)
        if cls.otp_actions is None or not issubclass(cls, DjangoView):
            return
        if isinstance(cls.otp_actions, str):
            raise TypeError(f"{cls.__name__}.otp_actions is a str; name the actions in a list or a set.")
        if not issubclass(cls, ViewSetMixin):
            raise TypeError(f"{cls.__name__}.otp_actions is for a ViewSet: no other view has actions. Remove it.")
        unknown = sorted(name for name in cls.otp_actions if not hasattr(cls, name))
        if unknown:
            raise TypeError(f"{cls.__name__}.otp_actions names {', '.join(unknown)}, which {cls.__name__} has not.")

    def _otp_doors(self) -> tuple[Door, ...]:
        required = self.otp_actions is None or getattr(self, "action", None) in self.otp_actions
        return (*super()._otp_doors(), VerifyingDoor(self.otp_purpose, self.otp_precheck, required=required))
