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
from typing import Any, Final, Protocol, cast

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import coroutine_functions_to_sensitive_variables, sensitive_variables
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

#: What answers a request that a class-based view has no handler for.
_NOT_ALLOWED: Final = (DjangoView.http_method_not_allowed, APIView.http_method_not_allowed)

#: How a view that as_view() has made can be told from all others.
_AS_VIEW: Final = DjangoView.as_view().__code__
#: By their code, wrappers that change nothing of a request, and what each calls the view that it wraps. Filled below.
_TRANSPARENT: Final[dict[object, str]] = {}
#: What as_view() may be given instead of the class's own that would change which methods are answered.
_DECISIVE: Final = {"dispatch", "setup", "http_method_names", "http_method_not_allowed"}

#: Where a request carries the doors that its DRF view still has to enter.
_DOORS: Final = "_otp_doors"
#: Where it says in front of which view it was refused.
_REFUSED: Final = "_otp_refused"

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


def _http(request: AnyRequest) -> Any:
    # Attributes are set here only: a DRF request shows those of the request it wraps.
    return request._request if isinstance(request, Request) else request  # noqa: SLF001 -- DRF offers no other way


def _refuse_unless_text(purpose: object) -> None:
    if not isinstance(purpose, str):
        raise TypeError(f"A purpose is a str, not {type(purpose).__name__}. Leave it out if there is none.")


def _method(request: AnyRequest) -> str | None:
    """Return the method that *request* is served by."""
    if type(request) is not Request:  # A class of the project's own may say otherwise.
        return request.method
    # Asking a DRF request takes several times as long as asking what it wraps; but a view may have set its own.
    return vars(request).get("method", request._request.method)  # noqa: SLF001 -- as in _http()


@dataclass(frozen=True, slots=True)
class IssuingDoor:
    """Gives the view ``request.generate_otp``, ``request.generate_decoy`` and their async twins.

    Attributes:
        purpose: Used wherever the view names none.
    """

    purpose: str = ""

    def __post_init__(self) -> None:
        """Refuse what no code could be issued for."""
        _refuse_unless_text(self.purpose)

    def enter(self, request: AnyRequest) -> None:
        """Equip *request*."""
        http = _http(request)
        http.generate_otp = partial(services.generate_otp, purpose=self.purpose, request=http)
        http.agenerate_otp = partial(services.agenerate_otp, purpose=self.purpose, request=http)
        http.generate_decoy = partial(services.generate_decoy, purpose=self.purpose, request=http)
        http.agenerate_decoy = partial(services.agenerate_decoy, purpose=self.purpose, request=http)
        if isinstance(request, Request) and _method(request) not in SAFE_METHODS:
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

    def __post_init__(self) -> None:
        """Refuse what no code could have been issued for, and what cannot be asked before."""
        _refuse_unless_text(self.purpose)
        if self.precheck is not None and not callable(self.precheck):
            raise TypeError(
                f"A precheck is a serializer class or a function that is given the request, not {self.precheck!r}."
            )

    def enter(self, request: AnyRequest) -> None:
        """Verify, unless the method is safe."""
        http = _http(request)
        if not self._begin(request, http):
            return
        data = read_data(request)
        otp, context = otp_and_context(data)
        if self.precheck is not None:
            self._check(request, data)
        http.otp_context = services.verify_otp(otp, context, purpose=self.purpose, request=http)
        http.otp_verified = True

    @sensitive_variables()
    async def aenter(self, request: HttpRequest) -> None:
        """Verify, unless the method is safe; what may block runs elsewhere."""
        if not self._begin(request, request):
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
        http: Any = request
        http.otp_context = await services.averify_otp(otp, context, purpose=self.purpose, request=request)
        http.otp_verified = True

    def _begin(self, request: AnyRequest, http: Any) -> bool:
        http.otp_verified = False
        http.otp_context = None
        return self.required and _method(request) not in SAFE_METHODS

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


def _has(view: object, name: str) -> bool:
    # A descriptor may be there for the instances of a class alone.
    return hasattr(view, name) or (isinstance(view, type) and any(name in vars(c) for c in view.__mro__))


def handles(view: object, method: str | None) -> bool:
    """Say whether class-based *view* has a handler for *method*: what ends in a 405 is never verified."""
    name = (method or "").lower()
    # Django answers HEAD with get() where there is no head().
    if name in getattr(view, "http_method_names", ()) and (_has(view, name) or (name == "head" and _has(view, "get"))):
        return True
    otherwise = getattr(view, "http_method_not_allowed", None)
    return getattr(otherwise, "__func__", otherwise) not in _NOT_ALLOWED  # It may be a handler of all the rest.


def enter_drf(door: Door, view: APIView, request: Request, *, is_served: bool = False) -> None:
    """Let *request* enter *door* on behalf of *view*, whose exception handler is to answer for what that raises.

    Unless *is_served* says that a handler will surely run, a request that ends in a 405 is left alone.
    """
    handle = view.handle_exception
    if not isinstance(handle, partial):  # Else another door of the same view has been here.
        view.handle_exception = partial(_handle, handle)  # type: ignore[method-assign]  # On this instance.
    if is_served or handles(view, _method(request)):
        door.enter(request)


@sensitive_variables(*_SENSITIVE)
def enter_from_within(door: Door, view: APIView, request: Request, *, is_served: bool) -> None:
    """Do the same from within *view*, where what it answers, and who called it, is out of our hands."""
    hide_post_parameters(_http(request))
    view.headers["Cache-Control"] = NO_STORE
    enter_drf(door, view, request, is_served=is_served)


def _handle(handle: Callable[[Exception], Any], error: Exception) -> Any:
    if isinstance(error, Refused):
        return error.response
    return handle(OTPAPIException(error) if isinstance(error, OTPException) else error)


def refuse_unentered(door: Door, request: HttpRequest, response: Any) -> None:
    """Refuse to answer for a view that was served without *door*, which had to be entered by way of ``initial()``."""
    served = getattr(response, "status_code", 200) < 400
    if served and isinstance(door, VerifyingDoor) and door.required and request.method not in SAFE_METHODS:
        raise RuntimeError(
            "A view was served without its OTP verification: a decorator in between called another view, or answered "
            "itself; or a dispatch() or initial() of the view's own did not call super(). Put otp_verified directly "
            "above the view, and call super()."
        )


def refuse_overridden(doors: tuple[Door, ...], method: str | None, request: HttpRequest) -> None:
    """Refuse to answer for a view that was served by another method than the safe *method* it was let through by."""
    if method not in SAFE_METHODS or request.method in SAFE_METHODS:
        return
    if any(isinstance(door, VerifyingDoor) and door.required for door in doors):
        raise RuntimeError(
            f"A view was served without its OTP verification: the request came as {method}, and was made "
            f"{request.method} behind it. Put what overrides methods above otp_verified, or in a middleware."
        )


class _Entrance:
    """Stands in for ``initial()`` of the APIView instances that one ``as_view()`` makes.

    It lets a request enter the doors that the decorators around that very view have left on it, and no other's: a view
    may be called on behalf of another one.
    """

    def leave(self, request: HttpRequest, door: Door) -> None:
        """Have *request* enter *door* once it has arrived in ``initial()``."""
        doors: dict[_Entrance, list[Door]] | None = getattr(request, _DOORS, None)
        if doors is None:  # By way of __dict__ this would be shorter, and every later access to the request slower.
            doors = {}
            setattr(request, _DOORS, doors)
        doors.setdefault(self, []).append(door)

    def check_entered(self, request: HttpRequest, door: Door, response: Any) -> None:
        """Refuse to answer for a view that was run without *door*: some decorator has called another one."""
        waits = door in getattr(request, _DOORS).get(self, ())
        if waits and getattr(request, _REFUSED, None) is not self:
            refuse_unentered(door, request, response)

    def __call__(self, request: Request, *args: Any, **kwargs: Any) -> None:
        view: APIView = request.parser_context["view"]
        http = _http(request)
        hide_post_parameters(http)  # Once more: a decorator in between may have named others.
        doors: dict[_Entrance, list[Door]] = getattr(http, _DOORS, {})
        try:
            type(view).initial(view, request, *args, **kwargs)
            for door in doors.get(self, ()):
                enter_drf(door, view, request)
        except BaseException:
            setattr(http, _REFUSED, self)  # Whatever the project's handler makes of it: the view is not served.
            raise
        doors.pop(self, None)  # Not before: a decorator in between may call the view again after a refusal.


def _entrance_of(view: View) -> _Entrance | None:
    """Return the way into *view* if it is an APIView's ``dispatch()``, or made by its ``as_view()``.

    *view* stays the view that is called: calling its class instead would lose the decorators in between, a rate limit
    perhaps. The keyword arguments of ``as_view()`` become attributes of each instance it makes, and so an ``initial``
    among them reaches this view's instances and no other's. Django's ``as_view()`` keeps them as ``view_initkwargs``
    (DRF's ``initkwargs`` is a copy there), a ViewSet's as ``initkwargs``.
    """
    bound: Any = getattr(view, "func", None)  # method_decorator hands over a partial of the bound method.
    if isinstance(getattr(bound, "__self__", None), APIView) and bound.__func__ is APIView.dispatch:
        return cast("_Entrance", bound.__self__.__dict__.setdefault("initial", _Entrance()))
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
    if not isinstance(initkwargs.get("initial"), _Entrance):
        initkwargs["initial"] = _Entrance()
    return cast("_Entrance", initkwargs["initial"])


# --- Any view -------------------------------------------------------------------------------------------------------


def _request_in(args: tuple[Any, ...]) -> AnyRequest:
    """Return the request among a view's arguments: the first, or the second of a method."""
    for arg in args[:2]:
        if isinstance(arg, (HttpRequest, Request)):
            return arg
    raise TypeError("A view behind an OTP decorator must be given the request as its first argument.")


def _closed_over(view: Any) -> dict[str, Any]:
    """Return the variables that function *view* has of the one it was made in: nobody overwrites those."""
    return {
        name: cell.cell_contents for name, cell in zip(view.__code__.co_freevars, view.__closure__ or (), strict=True)
    }


def _class_alone(view: Any, dispatch: View | None = None) -> type[DjangoView] | None:
    """Return the class that *view* was made of, if the methods it answers are surely those this class has.

    Args:
        view: Any view. What a decorator has made of one may change the method, or answer itself.
        dispatch: What dispatches for it, if that is not its class's own method.
    """
    while name := _TRANSPARENT.get(getattr(view, "__code__", None)):
        view = _closed_over(view).get(name)
    if getattr(view, "__code__", None) is not _AS_VIEW:
        return None
    made = _closed_over(view)
    made_of: type[DjangoView] | None = made.get("cls")
    own: Any = made_of
    is_usual = (
        own is not None
        and not _DECISIVE.intersection(made.get("initkwargs", _DECISIVE))
        and (dispatch or own.dispatch) in (DjangoView.dispatch, APIView.dispatch)
        and (own.setup, own.__init__, own.__new__) == (DjangoView.setup, DjangoView.__init__, object.__new__)
        and (not issubclass(own, APIView) or own.initial is APIView.initial)
        and own.http_method_not_allowed in _NOT_ALLOWED
        and (own.__getattribute__, getattr(own, "__getattr__", None)) == (object.__getattribute__, None)
    )
    return made_of if is_usual else None


def _ends_in_405(view: View, method: str | None) -> bool:
    """Say whether a plain class-based view surely has no handler for *method*. In doubt a request is verified."""
    bound: Any = getattr(view, "func", None)  # method_decorator hands over a partial of the bound method.
    if getattr(bound, "__func__", None) is DjangoView.dispatch:
        return not handles(bound.__self__, method)
    made_of = _class_alone(view)
    return made_of is not None and not handles(made_of, method)


def refuse_if_safe(view: View, dispatch: View | None = None) -> None:
    """Raise if *view* surely answers safe methods only: whoever puts it behind a door that those pass expects more.

    Args:
        view: Any view.
        dispatch: What dispatches for it, if that is not its class's own method.
    """
    made_of = _class_alone(view, dispatch)
    if made_of is None:
        return
    if SAFE_METHODS.issuperset(name.upper() for name in made_of.http_method_names if handles(made_of, name)):
        raise TypeError(
            "GET, HEAD and OPTIONS pass a throttle uncounted and pass a verification unverified, and "
            f"{made_of.__name__} answers nothing else: it would do nothing. Put it on a view that answers POST, say."
        )


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
    method = request.method
    try:
        response = view()
    except OTPException as error:
        return render(error)
    refuse_overridden(doors, method, request)
    return forbid_storing(response)


@sensitive_variables()
async def acall_plain(doors: tuple[Door, ...], request: HttpRequest, view: Callable[[], Any], *, skip: bool) -> Any:
    """Enter *doors*, unless *skip*, and call an async Django view."""
    try:
        for door in () if skip else doors:
            await door.aenter(request)
    except (OTPException, Refused, APIException) as error:
        return forbid_storing(answer(error))
    method = request.method
    try:
        response = await view()
    except OTPException as error:
        return render(error)
    refuse_overridden(doors, method, request)
    return forbid_storing(response)


def hide_locals(view: View) -> View:
    """Keep codes and contexts in local variables, the user's and ours, out of Django's error reports."""
    if not iscoroutinefunction(view):
        return sensitive_variables(*_SENSITIVE)(view)
    function: Any = view
    while isinstance(function, partial):
        function = function.func
    before = dict(coroutine_functions_to_sensitive_variables)
    try:
        sensitive_variables(*_SENSITIVE)(function if hasattr(function, "__code__") else type(function).__call__)
    except (ValueError, OSError, AttributeError):
        return view  # Django hides an async function's variables by its source file, and this one has none.
    for key, names in before.items():
        if coroutine_functions_to_sensitive_variables[key] != names:  # Django forgets what it was to hide there before.
            both = names if names == "__ALL__" else tuple(dict.fromkeys((*names, *_SENSITIVE)))
            coroutine_functions_to_sensitive_variables[key] = both
    return view


def hide_handlers(view_class: Any) -> None:
    """Do the same for all async handlers of a class: a coroutine's frames know nothing of what was put around it."""
    for name in ("dispatch", "http_method_not_allowed", *getattr(view_class, "http_method_names", ())):
        handler = getattr(view_class, name, None)
        if iscoroutinefunction(handler):
            hide_locals(handler)


def _is_async_dispatch(view: Any) -> bool:
    """Say whether *view* is the ``dispatch()`` of an async class: no coroutine function, but it returns a coroutine."""
    method = getattr(view, "func", None)  # method_decorator hands over a partial of the bound method.
    return getattr(method, "__name__", "") == "dispatch" and getattr(
        getattr(method, "__self__", None), "view_is_async", False
    )


def put_behind(door: Door, view: View) -> View:
    """Return *view* behind *door*, whatever kind of view it is."""
    if isinstance(view, type):
        raise TypeError(
            f"{view.__name__} is a class: use OTPProtectedMixin, OTPVerifiedMixin or throttle_classes, or decorate a "
            "method."
        )
    if not callable(view):
        raise TypeError("An OTP decorator takes a view. Name its arguments: @otp_verified(purpose='login').")
    if not isinstance(door, IssuingDoor):
        refuse_if_safe(view)
    if isinstance(door, VerifyingDoor) and iscoroutinefunction(door.precheck):
        hide_locals(door.precheck)
    bound: Any = getattr(getattr(view, "func", None), "__self__", None)
    hide_handlers(type(bound) if bound is not None else getattr(view, "view_class", None))
    hidden = hide_locals(view)
    entrance = _entrance_of(view)

    if iscoroutinefunction(view) or _is_async_dispatch(view):

        @wraps(view)
        async def abehind(*args: Any, **kwargs: Any) -> Any:
            request = _request_in(args)
            if not isinstance(request, HttpRequest):  # DRF itself has no async views, others add them.
                raise TypeError("An async method of a DRF view cannot be decorated: decorate what as_view() returns.")
            hide_post_parameters(request)
            skip = _ends_in_405(view, request.method)
            return await acall_plain((door,), request, partial(hidden, *args, **kwargs), skip=skip)

        return abehind

    @wraps(view)
    def behind(*args: Any, **kwargs: Any) -> Any:
        request = _request_in(args)
        if isinstance(request, Request):
            enter_from_within(door, request.parser_context["view"], request, is_served=True)
            return hidden(*args, **kwargs)
        hide_post_parameters(request)
        if entrance is not None:
            entrance.leave(request, door)
            response = forbid_storing(hidden(*args, **kwargs))
            entrance.check_entered(request, door, response)
            return response
        skip = _ends_in_405(view, request.method)
        return call_plain((door,), request, partial(hidden, *args, **kwargs), skip=skip)

    return behind


async def _asynchronous(request: HttpRequest) -> None:
    """Stand for any async view."""


for _view in (_asynchronous, DjangoView.as_view()):
    _TRANSPARENT[csrf_exempt(_view).__code__] = "view_func"
    _TRANSPARENT[put_behind(IssuingDoor(), _view).__code__] = "view"
