"""Views that do things their own way are verified all the same: in doubt a request needs a code."""

import functools
import json
from types import MappingProxyType
from urllib.parse import urlencode

import django
import pytest
from asgiref.sync import async_to_sync
from django.forms import CharField
from django.forms import Form as Form_
from django.http import HttpResponse, JsonResponse, QueryDict
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import FormView, View
from rest_framework.decorators import action, api_view
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request, clone_request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from otp_actions.decorators import otp_protected, otp_throttle, otp_verified
from otp_actions.mixins import OTPProtectedMixin, OTPVerifiedMixin
from otp_actions.services import generate_otp, verify_otp
from otp_actions.testing import wrong_code


class OwnDispatch(View):
    def dispatch(self, request):
        return HttpResponse("ran")


class OwnSetup(View):
    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        self.post = lambda request: HttpResponse("ran")


class Named(View):
    http_method_names = ("get",)

    def post(self, request):
        return HttpResponse("ran")


class OwnInit(APIView):
    authentication_classes = ()

    def __init__(self, **kwargs):
        self.service = object()

    def post(self, request):
        return Response("ran")


class OwnDrfDispatch(APIView):
    def dispatch(self, request):
        return HttpResponse("ran")


class Mixed(OTPVerifiedMixin, OwnDispatch):
    pass


@method_decorator(otp_verified, name="dispatch")
class Decorated(OwnDispatch):
    pass


VIEWS = {
    "dispatch of its own": otp_verified(OwnDispatch.as_view()),
    "setup of its own": otp_verified(OwnSetup.as_view()),
    "methods named by as_view": otp_verified(Named.as_view(http_method_names=["get", "post"])),
    "init of its own, DRF": otp_verified(OwnInit.as_view()),
    "dispatch of its own, DRF": otp_verified(OwnDrfDispatch.as_view()),
    "dispatch of its own, mixin": Mixed.as_view(),
    "dispatch of its own, decorated": Decorated.as_view(),
}


def post(view, **fields):
    return view(RequestFactory().post("/", json.dumps(fields), "application/json"))


@pytest.mark.parametrize("name", VIEWS)
def test_view_is_not_run_without_a_code(name):
    code, context = generate_otp()
    assert post(VIEWS[name]).status_code == 400
    assert post(VIEWS[name], otp="wrong", context=context).status_code == 400
    assert post(VIEWS[name], otp=code, context=context).status_code == 200
    assert post(VIEWS[name], otp=code, context=context).status_code == 410


def test_view_that_a_decorator_puts_in_place_of_the_verified_one_is_no_silent_way_in():
    @api_view(["POST"])
    def first(request):
        return Response("first")

    @api_view(["POST"])
    def second(request):
        return Response("second")

    @otp_verified
    @functools.wraps(first)
    def switch(request):
        return second(request)

    with pytest.raises(RuntimeError, match="without its OTP verification"):
        post(switch)


def test_decorator_in_between_may_refuse():
    @api_view(["POST"])
    def view(request):
        return Response("ran")

    @otp_verified
    @functools.wraps(view)
    def refusing(request):
        return HttpResponse("no", status=400)

    assert (post(refusing).status_code, post(refusing).content) == (400, b"no")


def test_something_that_is_no_response_does_not_hide_that_nobody_was_verified():
    @api_view(["POST"])
    def view(request):
        return Response("ran")

    @otp_verified
    @functools.wraps(view)
    def forgetful(request):
        return "no response"

    with pytest.raises(RuntimeError, match="without its OTP verification"):
        post(forgetful)


# --- What only looks as if it ended in a 405 -------------------------------------------------------------------------


def overridden(view):
    """Decorate *view* as projects do whose HTML forms say PUT and DELETE."""

    @functools.wraps(view)
    def by_form(request, *args, **kwargs):
        request.method = request.POST.get("_method", request.method).upper()
        return view(request, *args, **kwargs)

    return by_form


def aoverridden(view):
    @functools.wraps(view)
    async def by_form(request, *args, **kwargs):
        request.method = request.POST.get("_method", request.method).upper()
        return await view(request, *args, **kwargs)

    return by_form


def ran(*args, **kwargs):
    return HttpResponse("ran")


async def aran(*args, **kwargs):
    return HttpResponse("ran")


Form = type("Form", (View,), {"get": ran, "delete": ran})
AsyncForm = type("AsyncForm", (View,), {"get": aran, "delete": aran})
CatchAll = type("CatchAll", (View,), {"get": ran, "put": ran, "http_method_not_allowed": ran})
DrfCatchAll = type("DrfCatchAll", (APIView,), {"put": ran, "http_method_not_allowed": ran})


class ByName(View):
    """Finds its handlers in a way of its own."""

    put = ran

    def __getattr__(self, name):
        if name == "post":
            return ran
        raise AttributeError(name)


@functools.wraps(Form.as_view())
def create_or_form(request):
    return HttpResponse("ran")


LOOK_LIKE_405 = {
    "method override": otp_verified(overridden(Form.as_view())),
    "method override, under csrf_exempt": otp_verified(csrf_exempt(overridden(csrf_exempt(Form.as_view())))),
    "method override, async": async_to_sync(otp_verified(aoverridden(AsyncForm.as_view()))),
    "method override, dispatch": method_decorator([otp_verified, overridden], name="dispatch")(
        type("Below", (Form,), {})
    ).as_view(),
    "method override, DRF": otp_verified(overridden(type("Drf", (APIView,), {"get": ran, "delete": ran}).as_view())),
    "another view's name": otp_verified(create_or_form),
    "catch-all": otp_verified(CatchAll.as_view()),
    "catch-all by as_view": otp_verified(Form.as_view(http_method_not_allowed=ran)),
    "catch-all, mixin": type("Mixed", (OTPVerifiedMixin, CatchAll), {}).as_view(),
    "catch-all, dispatch": method_decorator(otp_verified, name="dispatch")(type("One", (CatchAll,), {})).as_view(),
    "catch-all, DRF": otp_verified(DrfCatchAll.as_view()),
    "catch-all, DRF mixin": type("Mixed", (OTPVerifiedMixin, DrfCatchAll), {}).as_view(),
    "handlers by name": otp_verified(ByName.as_view()),
    "handlers by name, mixin": type("Mixed", (OTPVerifiedMixin, ByName), {}).as_view(),
}


@pytest.mark.parametrize("name", LOOK_LIKE_405)
def test_request_that_is_answered_after_all_is_verified(name):
    def send(**fields):
        body = urlencode({"_method": "delete", **fields})
        return LOOK_LIKE_405[name](RequestFactory().post("/", body, content_type="application/x-www-form-urlencoded"))

    assert send().status_code == 400
    code, context = generate_otp()
    assert send(otp=code, context=context).content == b"ran"
    assert send(otp=code, context=context).status_code == 410


class OverridingRequest(Request):
    @property
    def method(self):
        return self._request.META.get("HTTP_X_HTTP_METHOD_OVERRIDE", self._request.method)


class ByHeader(APIView):
    authentication_classes = ()

    def initialize_request(self, request, *args, **kwargs):
        context = self.get_parser_context(request)
        return OverridingRequest(request, parsers=self.get_parsers(), parser_context=context)

    def get(self, request):
        return Response("ran")

    def delete(self, request):
        return Response("ran")


def overridden(request):
    return request.META.get("HTTP_X_HTTP_METHOD_OVERRIDE", request.method)


class SetEarly(ByHeader):
    def initialize_request(self, request, *args, **kwargs):
        made = APIView.initialize_request(self, request, *args, **kwargs)
        made.method = overridden(request)
        return made


class SetLate(ByHeader):
    initialize_request = APIView.initialize_request

    def initial(self, request, *args, **kwargs):
        request.method = overridden(request)
        super().initial(request, *args, **kwargs)


class Cloned(ByHeader):
    def initialize_request(self, request, *args, **kwargs):
        return clone_request(APIView.initialize_request(self, request, *args, **kwargs), overridden(request))


OVERRIDING = {
    f"{kind}, {base.__name__}": view
    for base in (ByHeader, SetEarly, SetLate, Cloned)
    for kind, view in {
        "decorator": otp_verified(base.as_view()),
        "mixin": type("Mixed", (OTPVerifiedMixin, base), {}).as_view(),
        "method": type("One", (base,), {"delete": otp_verified(base.delete)}).as_view(),
    }.items()
}


@pytest.mark.parametrize("name", OVERRIDING)
def test_method_is_the_one_that_the_view_goes_by(name):
    def send(method, body=b"{}"):
        request = RequestFactory().generic(
            method, "/", body, "application/json", headers={"X-Http-Method-Override": "DELETE"}
        )
        return OVERRIDING[name](request)

    for method in ("GET", "POST"):
        assert send(method).data["error_code"] == "MISSING_FIELDS"
        code, context = generate_otp()
        assert send(method, json.dumps({"otp": code, "context": context})).data == "ran"


# --- DRF views that never come to initial(), and decorators that call a view twice -----------------------------------


def answers_itself(self, request, *args, **kwargs):
    return HttpResponse("ran")


def says_nothing(self, request, *args, **kwargs):
    """Stand for an initial() that does not call super()."""


class Answering(APIView):
    authentication_classes = ()

    def post(self, request, *args, **kwargs):
        return Response("ran")

    update = partial_update = post


@pytest.mark.parametrize(
    "view",
    [
        type("Mixed", (OTPVerifiedMixin, type("Base", (Answering,), {"dispatch": answers_itself})), {}).as_view(),
        type(
            "Mixed",
            (OTPVerifiedMixin, type("Base", (ViewSet,), {"dispatch": answers_itself})),
            {"create": ran, "otp_actions": ["create"]},
        ).as_view({"post": "create"}),
    ],
)
def test_mixin_that_was_never_asked_is_no_silent_way_in(view):
    with pytest.raises(RuntimeError, match=r"without its OTP verification.*call super\(\)"):
        post(view)
    assert view(RequestFactory().options("/")).status_code == 200


class Late(OTPVerifiedMixin, APIView):
    """Finds its handler last of all."""

    authentication_classes = ()

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.post = lambda request: Response("ran")

    def put(self, request):
        """Have one unsafe method."""


class Rpc(APIView):
    """Finds its handlers by names of its own."""

    authentication_classes = ()

    def dispatch(self, request, *args, **kwargs):
        self.args, self.kwargs, self.headers = args, kwargs, self.default_response_headers
        request = self.request = self.initialize_request(request, *args, **kwargs)
        try:
            self.initial(request, *args, **kwargs)
            response = self.pay(request)
        except Exception as error:
            response = self.handle_exception(error)
        return self.finalize_response(request, response)

    def pay(self, request):
        return Response("ran")


class Overriding(OTPVerifiedMixin, ViewSet):
    otp_actions = ("destroy",)
    authentication_classes = ()

    def initialize_request(self, request, *args, **kwargs):
        inner = super().initialize_request(request, *args, **kwargs)
        return OverridingRequest(request, parsers=inner.parsers, parser_context=inner.parser_context)

    def create(self, request):
        return Response("ran")

    destroy = create


class Later(View):
    """Is another class once it is made."""

    put = ran

    def __new__(cls, *args, **kwargs):
        return View.__new__(type("Made", (cls,), {"post": ran, "__new__": View.__new__}))


class ByDescriptor(View):
    put = ran

    post = type("OnInstances", (), {"__get__": lambda self, view, owner: ran if view is not None else view.nothing})()


class Changing(OTPVerifiedMixin, View):
    put = ran

    def get(self, request):
        request.method = "DELETE"
        return HttpResponse("ran")


def by_header_below(view):
    def inner(request):
        request.method = "DELETE"
        return view(request)

    return inner


@pytest.mark.parametrize(
    "view",
    [
        type("Mixed", (OTPVerifiedMixin, Answering), {"initial": says_nothing}).as_view(),
        type("Mixed", (type("Before", (), {"initial": says_nothing}), OTPVerifiedMixin, Answering), {}).as_view(),
        Late.as_view(),
        type("Mixed", (OTPVerifiedMixin, Rpc), {}).as_view(),
        type("One", (Rpc,), {"pay": otp_verified(Rpc.pay)}).as_view(),
        otp_verified(Rpc.as_view()),
        otp_verified(Later.as_view()),
        otp_verified(ByDescriptor.as_view()),
        otp_verified(functools.update_wrapper(csrf_exempt(by_header_below(Form.as_view())), Form.as_view())),
        otp_verified(functools.update_wrapper(CatchAll.as_view(), Form.as_view())),
        Overriding.as_view({"post": "create", "delete": "destroy"}),
    ],
)
def test_view_that_goes_its_own_way_is_verified(view):
    def send(**fields):
        body = json.dumps(fields)
        headers = {"X-Http-Method-Override": "DELETE"}
        return view(RequestFactory().post("/", body, "application/json", headers=headers))

    assert send().status_code == 400
    code, context = generate_otp()
    answer = send(otp=code, context=context)
    assert answer.status_code == 200
    assert send(otp=code, context=context).status_code == 410


@pytest.mark.parametrize(
    "view",
    [
        otp_verified(by_header_below(Form.as_view())),
        async_to_sync(otp_verified(aoverridden(AsyncForm.as_view()))),
        type(
            "Mixed", (OTPVerifiedMixin, View), {"get": lambda self, request: by_header_below(ran)(request), "put": ran}
        ).as_view(),
    ],
)
def test_safe_request_that_is_made_an_unsafe_one_behind_the_door_is_no_silent_way_in(view):
    request = RequestFactory().get("/")
    request._post = QueryDict("_method=delete")
    with pytest.raises(RuntimeError, match="came as GET, and was made DELETE"):
        view(request)


def test_safe_request_may_become_an_unsafe_one_behind_a_door_that_verifies_nothing():
    assert otp_protected(by_header_below(Form.as_view()))(RequestFactory().get("/")).content == b"ran"


def test_mixin_that_was_never_asked_may_refuse():
    base = type("Base", (Answering,), {"dispatch": lambda self, request: HttpResponse("no", status=400)})
    assert post(type("Mixed", (OTPVerifiedMixin, base), {}).as_view()).content == b"no"


def test_view_that_is_called_again_after_a_refusal_is_verified_again():
    served = []

    @api_view(["POST"])
    def view(request):
        served.append(request)
        return Response("ran")

    @otp_verified
    @functools.wraps(view)
    def stubborn(request):
        answer = view(request)
        return view(request) if answer.status_code >= 400 else answer

    assert post(stubborn).status_code == 400
    assert served == []
    code, context = generate_otp()
    assert post(stubborn, otp=code, context=context).data == "ran"


# --- Actions of a ViewSet --------------------------------------------------------------------------------------------


class Items(OTPVerifiedMixin, ViewSet):
    otp_actions = ("update",)
    authentication_classes = ()

    def update(self, request, **kwargs):
        return Response("ran")

    def partial_update(self, request, **kwargs):
        return self.update(request, partial=True)

    def create(self, request):
        return Response("created")


def test_actions_may_be_named_in_a_mixin_of_the_projects_own():
    mixin = type("Ours", (OTPVerifiedMixin,), {"otp_actions": ["update"]})
    view = type("Pages", (mixin, ViewSet), {"update": ran, "authentication_classes": ()}).as_view({"post": "update"})
    assert post(view).status_code == 400


def test_partial_update_is_an_update():
    view = Items.as_view({"put": "update", "patch": "partial_update", "post": "create"})
    for method in ("PUT", "PATCH"):
        assert view(RequestFactory().generic(method, "/", "{}", "application/json")).status_code == 400
    assert post(view).data == "created"


def test_action_that_is_named_and_answered_to_safe_methods_alone_is_a_clear_error():
    class Devices(OTPVerifiedMixin, ViewSet):
        otp_actions = ("revoke",)

        @action(detail=True)  # By GET, unless one says otherwise.
        def revoke(self, request, pk):
            return Response("revoked")

    router = SimpleRouter()
    router.register("devices", Devices, "devices")
    with pytest.raises(TypeError, match=r"names revoke, which answers GET: that passes unverified"):
        router.get_urls()
    with pytest.raises(TypeError, match="names revoke"):
        Devices.as_view({"get": "revoke", "head": "revoke"})
    with pytest.raises(TypeError, match="names revoke"):
        Devices.as_view(actions={"get": "revoke"})
    with pytest.raises(TypeError, match="names list"):
        Items.as_view({"get": "list"}, otp_actions=["list"])
    for routes in ({"get": "revoke", "post": "revoke"}, {"delete": "revoke"}, {"get": "options"}):
        Devices.as_view(routes)


@pytest.mark.parametrize("actions", [["upadte"], (), "update"])
def test_actions_that_as_view_is_given_are_checked_like_those_of_the_class(actions):
    with pytest.raises(TypeError, match="otp_actions"):
        Items.as_view({"put": "update"}, otp_actions=actions)
    with pytest.raises(TypeError, match="otp_actions"):
        type("Others", (Items,), {"otp_actions": actions})
    with pytest.raises(TypeError, match="no other view has actions"):
        type("Mixed", (OTPVerifiedMixin, Answering), {}).as_view(otp_actions=["post"])


# --- Answers of the project's own to a refusal, and views of other kinds ---------------------------------------------


def handled_as_200(error, context):
    return Response({"problem": str(error)}, status=200)


def refusing_precheck(request):
    return HttpResponse("later", status=302)


@pytest.mark.parametrize(
    "verified",
    [
        lambda base, **more: otp_verified(**more)(base.as_view()),
        lambda base, precheck=None: type(
            "Mixed", (OTPVerifiedMixin, base), {"otp_precheck": precheck and staticmethod(precheck)}
        ).as_view(),
    ],
    ids=["decorator", "mixin"],
)
def test_refusal_may_be_answered_with_any_status(verified):
    """The view was not served, whatever the project's handler or a precheck makes of that."""
    code, context = generate_otp()
    fails = type("Fails", (Answering,), {"get_exception_handler": lambda self: handled_as_200})
    answer = post(verified(fails), otp=wrong_code(code), context=context)
    assert (answer.status_code, answer.data["problem"]) == (200, "Invalid OTP. Attempts remaining: 2")
    denied = type("Denied", (fails,), {"permission_classes": [IsAuthenticated]})
    assert post(verified(denied)).status_code == 200
    assert post(verified(Answering, precheck=refusing_precheck), otp=code, context=context).status_code == 302
    assert post(verified(Answering), otp=code, context=context).data == "ran"


@pytest.mark.parametrize("mixin", [OTPVerifiedMixin, OTPProtectedMixin])
def test_initial_of_a_form_view_stays_its_own(mixin):
    class Base(FormView):
        form_class = type("Note", (Form_,), {"note": CharField()})
        initial = MappingProxyType({"note": "first"})
        success_url = "/done/"

    class Page(mixin, Base):
        pass

    code, context = generate_otp()
    request = RequestFactory().post("/", {"otp": code, "context": context, "note": "hello"})
    assert Page.as_view()(request).status_code == 302
    assert Page(request=request).get_initial() == {"note": "first"}


ORDINARY = {
    "decorators": otp_verified(otp_protected(Form.as_view())),
    "throttle within": otp_verified(otp_throttle("9/h", by="ip")(Form.as_view())),
    "csrf_exempt": otp_verified(csrf_exempt(Form.as_view())),
    "csrf_exempt, async": async_to_sync(otp_verified(csrf_exempt(otp_protected(AsyncForm.as_view())))),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_405_of_an_ordinary_view_costs_nothing(name):
    code, context = generate_otp()
    for _ in range(2):
        assert post(ORDINARY[name], otp=code, context=context).status_code == 405
    assert verify_otp(code, context)


def test_throttle_that_would_count_nothing_is_a_clear_error():
    with pytest.raises(TypeError, match=r"pass a throttle uncounted .* answers nothing else"):
        otp_throttle("1/h", by="ip")(api_view(["GET"])(lambda request: Response()))


def test_throttle_of_an_ordinary_view_does_not_count_what_ends_in_a_405():
    view = otp_throttle("1/h", by="ip")(otp_verified(Form.as_view()))
    assert [post(view).status_code for _ in range(3)] == [405] * 3


@pytest.mark.asyncio
async def test_view_that_answers_later_is_left_to_itself():
    """As an async view class for DRF does, which calls initial() while its answer is awaited."""

    class Base(Answering):
        def dispatch(self, request, *args, **kwargs):
            async def later():
                return APIView.dispatch(self, request, *args, **kwargs)

            return later()

    code, context = generate_otp()
    view = type("Mixed", (OTPVerifiedMixin, Base), {}).as_view()
    assert (await post(view)).status_code == 400
    assert (await post(view, otp=code, context=context)).data == "ran"


@pytest.mark.asyncio
async def test_mixin_whose_base_answers_later_and_never_asks_is_no_silent_way_in():
    class Base(Answering):
        def dispatch(self, request, *args, **kwargs):
            async def later():
                return HttpResponse("ran")

            return later()

    view = type("Mixed", (OTPVerifiedMixin, Base), {}).as_view()
    with pytest.raises(RuntimeError, match="without its OTP verification"):
        await post(view)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["dispatch", "post"])
async def test_dispatch_of_an_async_view_can_be_decorated(kind):
    @method_decorator(otp_verified, name=kind)
    class Page(View):
        async def post(self, request):
            return JsonResponse({"for": request.otp_context["identifier"]})

    code, context = generate_otp("ada@example.com")
    view = Page.as_view()
    for fields, status in [
        ({}, 400),
        ({"otp": wrong_code(code), "context": context}, 400),
        ({"otp": code, "context": context}, 200),
        ({"otp": code, "context": context}, 410),
    ]:
        answer = await view(AsyncRequestFactory().post("/", fields))
        assert (answer.status_code, answer["Cache-Control"]) == (status, "no-store, private")
    if django.VERSION >= (5, 2):  # Before, what an async view answers to other methods cannot be awaited.
        assert (await view(AsyncRequestFactory().put("/"))).status_code == 405


def test_partial_of_a_function_that_is_called_dispatch_is_a_view_like_any_other():
    def dispatch(answer, request):
        return HttpResponse(answer)

    assert post(otp_verified(functools.partial(dispatch, "ran"))).status_code == 400


@pytest.mark.asyncio
async def test_async_method_of_a_drf_view_is_a_clear_error():
    @otp_verified
    async def handler(request):
        return Response("ran")

    with pytest.raises(TypeError, match="An async method of a DRF view"):
        await handler(Request(RequestFactory().post("/")))
