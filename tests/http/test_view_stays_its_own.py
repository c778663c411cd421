"""A door adds a door: what a view raises, writes, limits or calls stays the view's."""

import json
from functools import partial, wraps
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import TemplateView
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from otp_actions.decorators import otp_protected, otp_verified
from otp_actions.mixins import OTPProtectedMixin, OTPVerifiedMixin
from otp_actions.services import generate_otp

from .exchange import Kind, assert_accepted, assert_refused
from .views import ASYNC_KINDS, DRF_KINDS, PLAIN_KINDS

SYNC_KINDS = [*DRF_KINDS, *PLAIN_KINDS]


def call(view, fields, method="POST", **kwargs):
    """Call a view that stands at no URL."""
    answer = view(RequestFactory().generic(method, "/", fields and json.dumps(fields), "application/json"), **kwargs)
    return answer.render() if hasattr(answer, "render") else answer


# --- Exceptions ------------------------------------------------------------------------------------------------------


def test_error_in_the_view_propagates_and_the_code_stays_used(kind, challenge):
    code, context = challenge
    with pytest.raises(ValueError, match="the view's own"):
        kind.send("verify-then-value-error", {"otp": code, "context": context})
    assert_refused(kind.send("verify", {"otp": code, "context": context}), "OTP_USED")


@pytest.mark.parametrize(("scenario", "status"), [("verify-then-denied", 403), ("verify-then-missing", 404)])
def test_http_exceptions_of_the_view_keep_their_meaning(kind, challenge, scenario, status):
    code, context = challenge
    answer = kind.send(scenario, {"otp": code, "context": context})
    assert answer.status_code == status
    assert b"error_code" not in answer.content


def test_our_exception_raised_by_the_view_is_rendered_as_ours(kind, challenge):
    code, context = challenge
    assert_refused(kind.send("verify-then-revoked", {"otp": code, "context": context}), "OTP_REVOKED")


# --- Transactions ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", SYNC_KINDS)  # Django refuses async views under ATOMIC_REQUESTS.
def test_atomic_requests_roll_back_what_a_failing_view_wrote_but_no_count(name, challenge, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    kind = Kind(name)
    code, context = challenge
    for remaining in (2, 1):
        refusal = assert_refused(kind.send("verify-then-write", {"otp": "wrong", "context": context}), "INVALID_OTP")
        assert refusal["attempts_remaining"] == remaining
    with pytest.raises(ValueError, match="after writing"):
        kind.send("verify-then-write", {"otp": code, "context": context})
    assert not Group.objects.exists()
    assert_refused(kind.send("verify-then-write", {"otp": code, "context": context}), "OTP_USED")


# --- Both doors ------------------------------------------------------------------------------------------------------


def test_view_behind_both_doors_verifies_one_code_and_issues_the_next(kind, otp_outbox):
    assert_refused(kind.send("verify-then-issue", {}), "MISSING_FIELDS")
    assert not otp_outbox
    code, context = generate_otp(identifier="ada")
    for _ in range(2):
        body = assert_accepted(kind.send("verify-then-issue", {"otp": code, "context": context}))
        code, context = otp_outbox[-1].code, body["context"]
        assert otp_outbox[-1].identifier == "ada"


# --- Decorators in between -------------------------------------------------------------------------------------------


def limited(view):
    """Let one request through."""
    seen = []

    @wraps(view)
    def limiter(*args, **kwargs):
        seen.append(args)
        return HttpResponse(status=429) if len(seen) > 1 else view(*args, **kwargs)

    return limiter


def limited_without_wraps(view):
    """As a decorator that forgets functools.wraps, and so hides what kind of view is in it."""
    seen = []

    def limiter(request):
        seen.append(request)
        return HttpResponse(status=429) if len(seen) > 1 else view(request)

    return limiter


def bare_drf_views():
    """Make some views that stand behind no door."""

    def act(self, request):
        return Response({"verified": getattr(request, "otp_verified", None)})

    return {
        "api_view": api_view(["POST"])(lambda request: act(None, request)),
        "APIView": type("Made", (APIView,), {"post": act}).as_view(),
        "ViewSet": type("Made", (ViewSet,), {"create": act}).as_view({"post": "create"}),
    }


def bare_plain_views():
    def act(self, request):
        return HttpResponse(f'{{"verified": {str(getattr(request, "otp_verified", None)).lower()}}}')

    return {"function": lambda request: act(None, request), "View": type("Made", (View,), {"post": act}).as_view()}


@pytest.mark.parametrize("limit", [limited, limited_without_wraps])
@pytest.mark.parametrize("which", [*bare_drf_views(), *bare_plain_views()])
def test_decorator_between_door_and_view_is_kept(which, limit):
    view = otp_verified(limit({**bare_drf_views(), **bare_plain_views()}[which]))
    for expected in (200, 429):
        code, context = generate_otp()
        assert call(view, {"otp": code, "context": context}).status_code == expected
    # The limiter stands behind the door: what the door refuses on its own it does so without wasting the limit.
    view = otp_verified(limit({**bare_drf_views(), **bare_plain_views()}[which]))
    if limit is limited and which in bare_plain_views():
        assert call(view, {"otp": "1", "context": "1"}).status_code == 400
        code, context = generate_otp()
        assert call(view, {"otp": code, "context": context}).status_code == 200


@pytest.mark.parametrize("which", bare_drf_views())
def test_same_view_routed_bare_and_protected(which):
    bare = bare_drf_views()[which]
    protected, issuing = otp_verified(bare), otp_protected(bare)
    code, context = generate_otp()
    for _ in range(2):
        assert call(bare, {}).data == {"verified": None}
        assert call(protected, {}).data["error_code"] == "MISSING_FIELDS"
        assert call(issuing, {}).data == {"verified": None}
    assert call(protected, {"otp": code, "context": context}).data == {"verified": True}
    assert call(bare, {"otp": code, "context": context}).data == {"verified": None}


def test_two_purposes_on_one_view():
    bare = bare_drf_views()["api_view"]
    login, reset = otp_verified(purpose="login")(bare), otp_verified(purpose="reset")(bare)
    for own, other, purpose in ((login, reset, "login"), (reset, login, "reset")):
        code, context = generate_otp(purpose=purpose)
        assert call(other, {"otp": code, "context": context}).data["error_code"] == "OTP_ERROR"
        assert call(own, {"otp": code, "context": context}).status_code == 200


def test_verified_drf_view_may_hand_the_request_on_to_another_drf_view():
    """``other(request._request)`` is how DRF views delegate; the other view has its own doors, not the first one's."""

    @otp_protected
    @api_view(["POST"])
    def issue(request):
        return Response({"context": request.generate_otp()[1]})

    @otp_verified
    @api_view(["POST"])
    def verify(request):
        return issue(request._request)

    code, context = generate_otp()
    assert call(verify, {"otp": "wrong", "context": context}).data["error_code"] == "INVALID_OTP"
    assert call(verify, {"otp": code, "context": context}).status_code == 200


def test_doors_of_a_view_are_not_entered_by_another_view_that_a_decorator_calls_first():
    """A door is entered before its own view, whatever else is called with the request on the way."""
    audit = otp_protected(bare_drf_views()["api_view"])

    def audited(view):
        @wraps(view)
        def wrapper(request):
            audit(request)
            return view(request)

        return wrapper

    view = otp_verified(audited(bare_drf_views()["APIView"]))
    code, context = generate_otp()
    assert call(view, {"otp": code, "context": context}).data == {"verified": True}
    assert call(view, {"otp": code, "context": context}).status_code == 410


# --- What a class already does ---------------------------------------------------------------------------------------


def make_with_own_initial(*bases):
    class Own(*bases, APIView):
        def initial(self, request, *args, **kwargs):
            super().initial(request, *args, **kwargs)
            self.greeting = "hello"

        def handle_exception(self, error):
            answer = super().handle_exception(error)
            answer["X-Handled"] = "by the view"
            return answer

        def post(self, request):
            return Response({"verified": request.otp_verified, "greeting": self.greeting})

    return Own


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(otp_verified(make_with_own_initial().as_view()), id="decorator"),
        pytest.param(make_with_own_initial(OTPVerifiedMixin).as_view(), id="mixin"),
    ],
)
def test_initial_and_handle_exception_of_the_view_are_still_called(view):
    code, context = generate_otp()
    refusal = call(view, {"otp": "wrong", "context": context})
    assert (refusal["X-Handled"], refusal.status_code) == ("by the view", 400)
    assert call(view, {"otp": code, "context": context}).data == {"verified": True, "greeting": "hello"}


def test_initial_of_the_view_is_given_what_the_url_holds():
    class Own(APIView):
        def initial(self, request, *args, **kwargs):
            super().initial(request, *args, **kwargs)
            self.seen = [list(args), kwargs]

        def post(self, request, *args, **kwargs):
            return Response(self.seen)

    code, context = generate_otp()
    request = RequestFactory().post("/", json.dumps({"otp": code, "context": context}), "application/json")
    assert otp_verified(Own.as_view())(request, "archive", pk=7).data == [["archive"], {"pk": 7}]


def test_view_that_merely_looks_like_one_of_drf_is_a_view_like_any_other():
    def view(request):
        return HttpResponse("ran")

    view.cls, view.initkwargs = object, {}
    code, context = generate_otp()
    assert call(otp_verified(view), {}).status_code == 400
    assert call(otp_verified(view), {"otp": code, "context": context}).content == b"ran"


def test_metadata_of_the_view_is_kept():
    @api_view(["POST"])
    def documented(request):
        """What it does."""

    for decorated in (otp_verified(documented), otp_protected()(documented)):
        assert (decorated.__name__, decorated.__doc__) == (documented.__name__, "What it does.")
        assert decorated.csrf_exempt is True
        assert decorated.cls is documented.cls


def test_url_arguments_reach_the_view():
    @otp_verified
    def view(request, pk, *, slug):
        return HttpResponse(f"{pk} {slug}")

    code, context = generate_otp()
    body = json.dumps({"otp": code, "context": context})
    request = RequestFactory().post("/", body, content_type="application/json")
    assert view(request, 7, slug="x").content == b"7 x"


async def aview(request, greeting):
    """Say hello."""
    return HttpResponse(greeting)


def view(request, greeting):
    """Say hello."""
    return HttpResponse(greeting)


@pytest.mark.parametrize("given", [view, aview])
@pytest.mark.parametrize("door", [otp_protected, otp_verified])
def test_partial_is_a_view_too(given, door):
    with override_settings(ROOT_URLCONF=(path("", door(partial(given, greeting="hello"))),)):
        code, context = generate_otp()
        assert Client().post("/", {"otp": code, "context": context}).content == b"hello"


@pytest.mark.parametrize("body", ["{", "[]", b"\xff"])
def test_plain_view_that_issues_codes_is_given_any_body(body):
    @otp_protected
    def view(request):
        return HttpResponse(len(request.body))

    answer = view(RequestFactory().post("/", body, content_type="application/json"))
    assert (answer.status_code, answer.content) == (200, b"%d" % len(body))


# --- The other server interface --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "client"),
    [*((name, Client) for name in ASYNC_KINDS), *((name, AsyncClient) for name in ("drf_above", "plain_mixin"))],
)
def test_async_views_work_under_wsgi_and_sync_views_under_asgi(name, client, challenge):
    code, context = challenge
    kind = Kind(name)
    refusal = kind.send("verify", {"otp": "wrong", "context": context}, client=client())
    assert_refused(refusal, "INVALID_OTP")
    assert_accepted(kind.send("verify", {"otp": code, "context": context}, client=client()))


# --- Not a view ------------------------------------------------------------------------------------------------------


def test_decorating_what_is_never_given_a_request_is_a_clear_error():
    with pytest.raises(TypeError, match="must be given the request"):
        otp_verified(lambda value: value)("no request")


@pytest.mark.parametrize("door", [otp_protected, otp_verified])
@pytest.mark.parametrize(("given", "text"), [("login", "takes a view"), (View, "View is a class: use")])
def test_decorating_what_is_no_view_is_a_clear_error(door, given, text):
    with pytest.raises(TypeError, match=text):
        door(given)


def respond(*args):
    """Stand for a view, or a handler, that is not called."""


def answers(**handlers):
    """Return a class of each kind that has *handlers*, as a view."""
    return [type("Page", (base,), handlers).as_view() for base in (View, APIView, TemplateView)]


@pytest.mark.parametrize(
    "view",
    [
        api_view(["GET"])(respond),
        csrf_exempt(api_view(["GET", "HEAD", "OPTIONS"])(respond)),
        *answers(get=respond),
    ],
)
def test_verification_that_would_verify_nothing_is_a_clear_error(view):
    with pytest.raises(TypeError, match=r"pass a verification unverified, and .* answers nothing else"):
        otp_verified(view)
    otp_protected(view)


@pytest.mark.parametrize(
    "view",
    [
        api_view(["GET", "DELETE"])(respond),
        *answers(get=respond, post=respond),
        *answers(dispatch=respond),
        *answers(get=respond, http_method_not_allowed=respond),
        *answers(get=respond, __getattr__=respond),
        wraps(answers(get=respond)[0])(respond),
        type("Page", (View,), {"get": respond}).as_view(http_method_not_allowed=respond),
        type("Pages", (ViewSet,), {"list": respond}).as_view({"get": "list"}),
        *answers(get=respond, setup=respond),
        type("Pages", (ViewSet,), {"list": respond, "create": respond}).as_view({"get": "list", "post": "create"}),
        respond,
    ],
)
def test_view_that_may_answer_an_unsafe_method_can_be_verified(view):
    otp_verified(view)


def test_request_in_a_place_where_no_view_has_it_is_a_clear_error():
    request = RequestFactory().get("/")
    for arguments in ((), ("a", "b", request)):
        with pytest.raises(TypeError, match="as its first argument"):
            otp_verified(respond)(*arguments)


@pytest.mark.parametrize("base", [View, APIView, TemplateView])
def test_class_that_would_verify_nothing_is_a_clear_error(base):
    with pytest.raises(TypeError, match=r"pass a verification unverified, and Page answers nothing else"):
        type("Page", (OTPVerifiedMixin, base), {"get": respond}).as_view()
    type("Page", (OTPProtectedMixin, base), {"get": respond}).as_view()
    for more in ({"delete": respond}, {"dispatch": respond}, {"setup": respond}):
        type("Page", (OTPVerifiedMixin, base), {"get": respond, **more}).as_view()
        type("Page", (OTPVerifiedMixin, type("Base", (base,), more)), {"get": respond}).as_view()


def test_route_of_a_viewset_may_be_safe():
    """A router makes a view of each: some verify, some have nothing to verify."""
    pages = type("Pages", (OTPVerifiedMixin, ViewSet), {"list": respond, "create": respond})
    pages.as_view({"get": "list"})


def test_async_view_without_a_source_file_is_put_behind_a_door():
    """Django cannot hide the variables of such a one; it has none to show either."""
    view = AsyncMock(return_value=HttpResponse("ran"))
    assert async_to_sync(otp_protected(view))(RequestFactory().get("/")).content == b"ran"
    assert async_to_sync(otp_verified(view))(RequestFactory().post("/")).status_code == 400


@pytest.mark.parametrize("precheck", ["a name", 5, {}])
def test_precheck_that_cannot_be_asked_is_a_clear_error(precheck):
    with pytest.raises(TypeError, match="A precheck is a serializer class or a function"):
        otp_verified(precheck=precheck)(respond)


def test_purpose_of_a_class_that_is_none_is_a_clear_error():
    for mixin in (OTPVerifiedMixin, OTPProtectedMixin):
        with pytest.raises(TypeError, match=r"Page\.otp_purpose is None\. Leave it out"):
            type("Page", (mixin, View), {"otp_purpose": None})


@pytest.mark.parametrize("door", [otp_protected, otp_verified])
@pytest.mark.parametrize("purpose", [None, 1, b"login", ("login",)])
def test_purpose_that_no_code_could_have_is_a_clear_error(door, purpose):
    with pytest.raises(TypeError, match="A purpose is a str, not"):
        door(purpose=purpose)(respond)
