"""The two doors a view can stand behind, and how a view of any kind is put there.

A door does its work in ``enter``: it either returns, having set what the view will find on the request, or raises.
Where ``enter`` is called depends on the kind of view:

* a DRF view, decorated on the outside: from within DRF's own ``initial()``, after authentication, permissions and
  throttles, so that parsers, content negotiation and the project's exception handler work as for any other error;
* a DRF view, decorated on the inside (below ``@api_view``, or on a method): just before the view function;
* a plain Django view: just before the view.

Only our own exceptions are turned into responses. What else a view raises stays the view's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isawaitable
from typing import Any, Final, Protocol

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.debug import sensitive_variables
from django.views.generic import View as DjangoView
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer, as_serializer_error
from rest_framework.views import APIView

from otp_actions import services
from otp_actions.exceptions import OTPException
from otp_actions.http.errors import NO_STORE, OTPAPIException, render
from otp_actions.http.fields import otp_and_context, read_data

AnyRequest = HttpRequest | Request
View = Callable[..., Any]
#: A serializer class, or a callable that is given the request; it may return a response, which ends the request.
Precheck = type[BaseSerializer[Any]] | Callable[[AnyRequest], Any]

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

#: Where a request carries the doors that its DRF view still has to enter.
_DOORS: Final = "_otp_doors"

#: Local variables that Django's error reports must not show, in any view behind a door.
_SENSITIVE: Final = ("otp", "code", "context", "encrypted_context", "new_context", "data", "fields")


class Refused(Exception):
    """A precheck's response, on its way out of a plain Django view."""

    def __init__(self, response: HttpResponseBase) -> None:
        super().__init__()
        self.response = response


class Door(Protocol):
    """What stands in front of a view."""

    def enter(self, request: AnyRequest) -> None:
        """Prepare *request* for the view, or raise."""

    async def aenter(self, request: HttpRequest) -> None:
        """Do the same without blocking."""


def _http(request: AnyRequest) -> HttpRequest:
    # Attributes are set here only: a DRF request shows those of the request it wraps.
    return request._request if isinstance(request, Request) else request  # noqa: SLF001 -- DRF offers no other way


@dataclass(frozen=True, slots=True)
class IssuingDoor:
    """Gives the view ``request.generate_otp``, ``request.generate_decoy`` and their async twins.

    Attributes:
        purpose: Used wherever the view names none.
    """

    purpose: str = ""

    def enter(self, request: AnyRequest) -> None:
        """Equip *request*."""
        http: Any = _http(request)
        http.generate_otp = partial(services.generate_otp, purpose=self.purpose, request=http)
        http.agenerate_otp = partial(services.agenerate_otp, purpose=self.purpose, request=http)
        http.generate_decoy = partial(services.generate_decoy, purpose=self.purpose, request=http)
        http.agenerate_decoy = partial(services.agenerate_decoy, purpose=self.purpose, request=http)
        if isinstance(request, Request) and http.method not in SAFE_METHODS:
            read_data(request)  # A body that would make request.data.get() fail is refused here, not a 500 there.

    async def aenter(self, request: HttpRequest) -> None:
        """Equip *request*; nothing in it blocks."""
        self.enter(request)


@dataclass(frozen=True, slots=True)
class VerifyingDoor:
    """Lets an unsafe request through only with a code that verifies.

    Sets ``request.otp_verified`` and ``request.otp_context``: ``False`` and ``None`` on safe methods.

    Attributes:
        purpose: The purpose the code must have been issued for.
        precheck: Run before anything is counted.
        required: False lets every request through unverified.
    """

    purpose: str = ""
    precheck: Precheck | None = None
    required: bool = True

    def enter(self, request: AnyRequest) -> None:
        """Verify, unless the method is safe."""
        if not self._begin(request):
            return
        data = read_data(request)
        otp, context = otp_and_context(data)
        if self.precheck is not None:
            self._check(request, data)
        self._finish(request, services.verify_otp(otp, context, purpose=self.purpose, request=_http(request)))

    @sensitive_variables()
    async def aenter(self, request: HttpRequest) -> None:
        """Verify, unless the method is safe; what may block runs elsewhere."""
        if not self._begin(request):
            return
        data = read_data(request)
        otp, context = otp_and_context(data)
        if self.precheck is not None:
            answers = []

            @sensitive_variables()
            def ask() -> None:
                answers.append(self._ask(request, data))

            await sync_to_async(ask)()
            answer: Any = answers.pop()
            if isawaitable(answer):
                with _as_refusal():
                    answer = await answer
            self._refuse_if_answered(answer)
        self._finish(request, await services.averify_otp(otp, context, purpose=self.purpose, request=request))

    def _begin(self, request: AnyRequest) -> bool:
        http: Any = _http(request)
        http.otp_verified = False
        http.otp_context = None
        hide_post_parameters(http)
        return self.required and http.method not in SAFE_METHODS

    @staticmethod
    def _finish(request: AnyRequest, fields: dict[str, Any]) -> None:
        http: Any = _http(request)
        http.otp_context = fields
        http.otp_verified = True

    @sensitive_variables()
    def _check(self, request: AnyRequest, data: Any) -> None:
        answer = self._ask(request, data)
        if isawaitable(answer):
            with _as_refusal():
                answer = async_to_sync(_outcome)(answer)
        self._refuse_if_answered(answer)

    def _ask(self, request: AnyRequest, data: Any) -> object:
        """Return what the precheck answers, None for a serializer that is content."""
        precheck: Any = self.precheck
        with _as_refusal():
            if isinstance(precheck, type) and issubclass(precheck, BaseSerializer):
                precheck(data=data, context={"request": request}).is_valid(raise_exception=True)
                return None
            return precheck(request)

    @staticmethod
    def _refuse_if_answered(answer: object) -> None:
        if isinstance(answer, HttpResponseBase):
            raise Refused(answer)
        if answer is not None:
            raise TypeError(
                f"A precheck refuses by raising or by returning a response; this one returned {type(answer).__name__}. "
                "Return None to let the request go on."
            )


async def _outcome(answer: Awaitable[object]) -> object:
    return await answer


@contextmanager
def _as_refusal() -> Iterator[None]:
    """Let what Django's validators raise be the refusal that a serializer's is."""
    try:
        yield
    except DjangoValidationError as error:
        raise ValidationError(as_serializer_error(error)) from None


# --- DRF ------------------------------------------------------------------------------------------------------------


def handles(view: object, method: str | None) -> bool:
    """Say whether class-based *view* has a handler for *method*: what ends in a 405 is never verified."""
    name = (method or "").lower()
    names = (name, "get") if name == "head" else (name,)  # Django answers HEAD with get() where there is no head().
    return name in getattr(view, "http_method_names", ()) and any(hasattr(view, n) for n in names)


@sensitive_variables(*_SENSITIVE)
def enter_drf(door: Door, view: APIView, request: Request) -> None:
    """Let *request* enter *door* on behalf of *view*, and have every answer to it leave as one of ours should."""
    translate_errors(view)
    if handles(view, request.method):
        door.enter(request)


def translate_errors(view: APIView) -> None:
    """Have *view*, which serves one request, hand our exceptions to the project's handler, and forbid storing."""
    view.headers["Cache-Control"] = NO_STORE
    handle = view.handle_exception
    if isinstance(handle, partial):
        return  # Another door of the same view has been here.
    view.handle_exception = partial(_handle, handle)  # type: ignore[method-assign]


def _handle(handle: Callable[[Exception], Any], error: Exception) -> Any:
    if isinstance(error, Refused):
        return error.response
    return handle(OTPAPIException(error) if isinstance(error, OTPException) else error)


class _Entrance:
    """Stands in for ``initial()`` of the APIView instances that one ``as_view()`` makes.

    It lets a request enter the doors that the decorators around that very view have left on it, and no other's: a view
    may be called on behalf of another one.
    """

    def leave(self, request: HttpRequest, door: Door) -> None:
        """Have *request* enter *door* once it has arrived in ``initial()``."""
        doors: dict[_Entrance, list[Door]] = request.__dict__.setdefault(_DOORS, {})
        doors.setdefault(self, []).append(door)

    def check_entered(self, request: HttpRequest, door: Door, response: Any) -> None:
        """Refuse to answer for a view that was run without *door*: some decorator has called another one."""
        waiting = getattr(request, _DOORS, {}).get(self, ())
        served = getattr(response, "status_code", 200) < 400
        if served and isinstance(door, VerifyingDoor) and door in waiting and request.method not in SAFE_METHODS:
            raise RuntimeError(
                "A view was served without the OTP verification of the decorator around it: a decorator in between "
                "called another view, or answered itself. Put otp_verified directly above the view."
            )

    def __call__(self, request: Request, *args: Any, **kwargs: Any) -> None:
        view: APIView = request.parser_context["view"]
        type(view).initial(view, request, *args, **kwargs)
        for door in getattr(_http(request), _DOORS, {}).pop(self, ()):
            enter_drf(door, view, request)


def _entrance_of(view: View) -> _Entrance | None:
    """Return the way into *view* if it is made by an APIView's ``as_view()``.

    *view* stays the view that is called: calling its class instead would lose the decorators in between, a rate limit
    perhaps. The keyword arguments of ``as_view()`` become attributes of each instance it makes, and so an ``initial``
    among them reaches this view's instances and no other's. Django's ``as_view()`` keeps them as ``view_initkwargs``
    (DRF's ``initkwargs`` is a copy there), a ViewSet's as ``initkwargs``.
    """
    view_class = getattr(view, "cls", None)
    initkwargs = getattr(view, "view_initkwargs", None)
    if initkwargs is None:
        initkwargs = getattr(view, "initkwargs", None)
    if not isinstance(view_class, type) or not issubclass(view_class, APIView) or not isinstance(initkwargs, dict):
        return None
    if view_class.dispatch is not APIView.dispatch or view_class.__init__ is not DjangoView.__init__:
        # A dispatch() of its own may never come to initial(), an __init__() of its own may not take it over: such a
        # view is entered from outside, like a plain Django view.
        return None
    entrance = initkwargs.get("initial")
    if not isinstance(entrance, _Entrance):
        entrance = initkwargs["initial"] = _Entrance()
    return entrance


# --- Any view -------------------------------------------------------------------------------------------------------


def _request_in(args: tuple[Any, ...]) -> AnyRequest:
    """Return the request among a view's arguments: the first, or the second of a method."""
    for arg in args[:2]:
        if isinstance(arg, (HttpRequest, Request)):
            return arg
    raise TypeError("A view behind an OTP decorator must be given the request as its first argument.")


def _ends_in_405(view: View, args: tuple[Any, ...], method: str | None) -> bool:
    """Say whether a plain class-based view surely has no handler for *method*. In doubt a request is verified."""
    bound: Any = getattr(view, "func", None)  # method_decorator hands over a partial of the bound method.
    if getattr(bound, "__func__", None) is DjangoView.dispatch:
        return not handles(bound.__self__, method)
    view_class = getattr(view, "view_class", None)
    if (args and isinstance(args[0], DjangoView)) or not isinstance(view_class, type):
        return False
    own = (view_class.dispatch, view_class.setup, view_class.__init__)  # type: ignore[attr-defined, misc]
    if own != (DjangoView.dispatch, DjangoView.setup, DjangoView.__init__):
        return False
    names = getattr(view, "view_initkwargs", {}).get("http_method_names")
    return not handles(view_class, method) and names is None


def hide_post_parameters(request: HttpRequest) -> None:
    """Keep the two fields out of Django's error reports, from the first moment on."""
    marked: Any = request
    hidden = getattr(marked, "sensitive_post_parameters", ())
    if hidden != "__ALL__" and "otp" not in hidden:
        marked.sensitive_post_parameters = (*hidden, "otp", "context")


def forbid_storing(response: Any) -> Any:
    """Mark a response that may carry a code, a context or a token."""
    if isinstance(response, HttpResponseBase):
        response["Cache-Control"] = NO_STORE
    return response


def answer(error: OTPException | Refused | APIException) -> HttpResponseBase:
    """Return a plain Django view's response for what a door raised."""
    if isinstance(error, OTPException):
        return render(error)
    if isinstance(error, Refused):
        return error.response
    # What DRF would render: a serializer's errors, or one that a precheck raised.
    detail = error.detail if isinstance(error.detail, (dict, list)) else {"detail": error.detail}
    return JsonResponse(detail, status=error.status_code, safe=False)


@sensitive_variables(*_SENSITIVE)
def call_plain(doors: tuple[Door, ...], request: HttpRequest, view: Callable[[], Any], *, skip: bool) -> Any:
    """Enter *doors*, unless *skip*, and call a plain Django view."""
    try:
        for door in () if skip else doors:
            door.enter(request)
    except (OTPException, Refused, APIException) as error:
        return forbid_storing(answer(error))
    try:
        return forbid_storing(view())
    except OTPException as error:
        return render(error)


@sensitive_variables()
async def acall_plain(doors: tuple[Door, ...], request: HttpRequest, view: Callable[[], Any], *, skip: bool) -> Any:
    """Enter *doors*, unless *skip*, and call an async Django view."""
    try:
        for door in () if skip else doors:
            await door.aenter(request)
    except (OTPException, Refused, APIException) as error:
        return forbid_storing(answer(error))
    try:
        return forbid_storing(await view())
    except OTPException as error:
        return render(error)


def hide_locals(view: View) -> View:
    """Keep codes and contexts in local variables, the user's and ours, out of Django's error reports."""
    try:
        return sensitive_variables(*_SENSITIVE)(view)
    except (ValueError, OSError, AttributeError):
        return view  # Django hides an async function's variables by its source file, and this one has none.


def put_behind(door: Door, view: View) -> View:
    """Return *view* behind *door*, whatever kind of view it is."""
    if isinstance(view, type):
        raise TypeError(f"{view.__name__} is a class: use OTPProtectedMixin or OTPVerifiedMixin, or decorate a method.")
    if not callable(view):
        raise TypeError("An OTP decorator takes a view. Name its arguments: @otp_verified(purpose='login').")
    hidden = hide_locals(view)
    entrance = _entrance_of(view)

    if iscoroutinefunction(view):

        @wraps(view)
        async def abehind(*args: Any, **kwargs: Any) -> Any:
            request = _request_in(args)
            assert isinstance(request, HttpRequest)  # noqa: S101 -- DRF has no async views
            hide_post_parameters(request)
            skip = _ends_in_405(view, args, request.method)
            return await acall_plain((door,), request, partial(hidden, *args, **kwargs), skip=skip)

        return abehind

    @wraps(view)
    def behind(*args: Any, **kwargs: Any) -> Any:
        request = _request_in(args)
        if isinstance(request, Request):
            enter_drf(door, request.parser_context["view"], request)
            return hidden(*args, **kwargs)
        hide_post_parameters(request)
        way_in = entrance
        bound: Any = getattr(view, "func", None)
        if isinstance(getattr(bound, "__self__", None), APIView) and bound.__func__ is APIView.dispatch:
            way_in = bound.__self__.__dict__.setdefault("initial", _Entrance())  # Its dispatch() is what is decorated.
        if way_in is not None:
            way_in.leave(request, door)
            response = forbid_storing(hidden(*args, **kwargs))
            way_in.check_entered(request, door, response)
            return response
        skip = _ends_in_405(view, args, request.method)
        return call_plain((door,), request, partial(hidden, *args, **kwargs), skip=skip)

    return behind
