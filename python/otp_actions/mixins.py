"""``OTPProtectedMixin`` and ``OTPVerifiedMixin``: name them before ``APIView``, a ``ViewSet`` or Django's ``View``."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ClassVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables
from django.views.generic import View as DjangoView
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from otp_actions.http.doors import (
    SAFE_METHODS,
    Door,
    IssuingDoor,
    Precheck,
    VerifyingDoor,
    acall_plain,
    call_plain,
    enter_from_within,
    handles,
    hide_handlers,
    hide_locals,
    hide_post_parameters,
    refuse_if_safe,
    refuse_unentered,
)

__all__ = ["OTPProtectedMixin", "OTPVerifiedMixin"]

if TYPE_CHECKING:
    _Base = APIView
else:
    _Base = object


class _BehindDoors(_Base):
    """Sends every request through ``_otp_doors()`` before a handler sees it."""

    _otp_arrived = False

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
        if vars(cls).get("otp_purpose", "") is None:
            raise TypeError(f"{cls.__name__}.otp_purpose is None. Leave it out if there is no purpose.")
        if isinstance(vars(cls).get("purpose"), str) and not getattr(cls, "otp_purpose", ""):
            raise TypeError(f"{cls.__name__}: the mixins read otp_purpose. Rename purpose, or set both.")

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        """Keep what stands in async handlers out of error reports."""
        hide_handlers(cls)
        return super().as_view(*args, **initkwargs)

    @classmethod
    def _dispatch(cls) -> Any:
        """Return what dispatches the view's requests, this class aside."""
        return next(vars(c)["dispatch"] for c in cls.__mro__ if "dispatch" in vars(c) and c is not _BehindDoors)

    def _otp_doors(self) -> tuple[Door, ...]:
        return ()

    def _otp_arrive(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Enter after DRF's own authentication, permissions and throttles. Stands in for ``initial()``."""
        self._otp_arrived = True
        type(self).initial(self, request, *args, **kwargs)
        is_served = self._dispatch() is not APIView.dispatch  # By whatever name.
        for door in self._otp_doors():
            enter_from_within(door, self, request, is_served=is_served)

    def _otp_refuse_unentered(self, request: HttpRequest, response: Any) -> None:
        for door in () if self._otp_arrived else self._otp_doors():
            refuse_unentered(door, request, response)

    @sensitive_variables()
    async def _otp_awaited(self, request: HttpRequest, response: Awaitable[Any]) -> Any:
        answer = await response
        self._otp_refuse_unentered(request, answer)
        return answer

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Serve a DRF view as ever (``initial()`` is the way in), a plain Django view behind its doors."""
        view = partial(super().dispatch, request, *args, **kwargs)
        hide_post_parameters(request)
        if isinstance(self, APIView):
            self.initial = self._otp_arrive  # type: ignore[method-assign]  # On this instance.
            response = hide_locals(view)()
            if isawaitable(response):  # DRF itself has no async views, others add them.
                return self._otp_awaited(request, response)
            self._otp_refuse_unentered(request, response)
            return response
        # A dispatch() of the view's own decides for itself what it serves: then every request is verified.
        skip = self._dispatch() is DjangoView.dispatch and not handles(self, request.method)
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

    action_map: dict[str, str]  # A ViewSet's, by method.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse an ``otp_actions`` that matches nothing: it would verify nothing."""
        super().__init_subclass__(**kwargs)
        if issubclass(cls, DjangoView):
            cls._check_actions(cls.otp_actions)

    @classmethod
    def _check_actions(cls, actions: Collection[str] | None) -> None:
        name = cls.__name__
        if actions is None:
            return
        if isinstance(actions, str):
            raise TypeError(f"{name}.otp_actions is a str; name the actions in a list or a set.")
        if not issubclass(cls, ViewSetMixin):
            raise TypeError(f"{name}.otp_actions is for a ViewSet: no other view has actions. Remove it.")
        if not actions:
            raise TypeError(f"{name}.otp_actions names no action: nothing would be verified. Remove it to verify all.")
        unknown = sorted(action for action in actions if not hasattr(cls, action))
        if unknown:
            raise TypeError(f"{name}.otp_actions names {', '.join(unknown)}, which {name} has not.")

    @classmethod
    def _check_methods(cls, actions: Collection[str] | None, routes: Mapping[str, str]) -> None:
        """Refuse a route by which an action that *actions* names is answered to safe methods alone."""
        methods: dict[str, set[str]] = {}
        for method, action in routes.items():
            methods.setdefault(action, set()).add(method.upper())
        for action in set(actions or ()) & methods.keys():
            if methods[action] <= SAFE_METHODS:
                raise TypeError(
                    f"{cls.__name__}.otp_actions names {action}, which answers {', '.join(sorted(methods[action]))}: "
                    'that passes unverified. Let it answer POST, for example: @action(methods=["post"]).'
                )

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        """Refuse a view that would verify nothing; the routes of a ViewSet one by one may."""
        actions = initkwargs.get("otp_actions")
        cls._check_actions(actions)
        routes = args[0] if args else initkwargs.get("actions")
        cls._check_methods(cls.otp_actions if actions is None else actions, routes or {})
        if iscoroutinefunction(cls.otp_precheck):
            hide_locals(cls.otp_precheck)
        view = super().as_view(*args, **initkwargs)
        if not issubclass(cls, ViewSetMixin):
            refuse_if_safe(view, cls._dispatch())
        return view

    def _otp_doors(self) -> tuple[Door, ...]:
        return (*super()._otp_doors(), VerifyingDoor(self.otp_purpose, self.otp_precheck, required=self._is_required()))

    def _is_required(self) -> bool:
        if self.otp_actions is None:
            return True
        # Not self.action: DRF sets it before a request of the project's own can have another method.
        action = self.action_map.get((self.request.method or "").lower())
        # DRF's partial_update() is an update() by another method.
        return action in self.otp_actions or (action == "partial_update" and "update" in self.otp_actions)
