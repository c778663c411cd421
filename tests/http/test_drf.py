"""DRF stays in charge: its order of checks, its exception handler, its parsers, its ViewSets."""

import json

import pytest
from django.contrib.auth.models import Group
from django.test import Client, override_settings
from django.urls import include, path
from django.views.generic import View as DjangoView
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers import Ledger
from otp_actions.mixins import OTPProtectedMixin, OTPVerifiedMixin
from otp_actions.services import generate_otp

from .exchange import Kind, assert_accepted, assert_refused
from .test_view_stays_its_own import call
from .views import DRF_KINDS, build


@pytest.fixture(params=DRF_KINDS)
def kind(request):
    return Kind(request.param)


# --- Order -----------------------------------------------------------------------------------------------------------


class NoOne(BaseAuthentication):
    def authenticate(self, request):
        raise AuthenticationFailed


class Nothing(BasePermission):
    def has_permission(self, request, view):
        return False


class Never(BaseThrottle):
    def allow_request(self, request, view):
        return False


@pytest.mark.parametrize(
    ("attribute", "refusal", "statuses"),
    [
        ("authentication_classes", NoOne, {401, 403}),
        ("permission_classes", Nothing, {401, 403}),
        ("throttle_classes", Never, {429}),
    ],
)
def test_what_drf_refuses_costs_no_attempt(kind, challenge, attempts, monkeypatch, attribute, refusal, statuses):
    code, context = challenge
    with monkeypatch.context() as patch:
        patch.setattr(APIView, attribute, [refusal])
        refusing = build(kind.name, "verify")
        for otp in ("wrong", code):
            answer = call(refusing, {"otp": otp, "context": context})
            assert answer.status_code in statuses
            assert b"error_code" not in answer.content
    assert attempts(kind, code, context) == 0


# --- The project's exception handler ---------------------------------------------------------------------------------


def house_style(error, context):
    """Render as some project does."""
    return Response({"problem": error.get_codes(), "full": error.get_full_details()}, status=error.status_code)


class Unreachable(Ledger):
    """A ledger that cannot be reached."""

    def take(self, claims, *, unless=(), now):
        raise OTPUnavailableException(retry_after=7)

    def advance(self, mark, value, *, ttl, now):
        raise OTPUnavailableException(retry_after=7)

    def _give_back(self, bucket, *, now):
        raise OTPUnavailableException(retry_after=7)


def test_exception_handler_of_the_project_renders(kind, challenge):
    _, context = challenge
    with override_settings(REST_FRAMEWORK={"EXCEPTION_HANDLER": f"{__name__}.house_style"}):
        answer = kind.send("verify", {"otp": "wrong", "context": context})
        assert answer.status_code == 400
        full = {"message": "Invalid OTP. Attempts remaining: 2", "code": "INVALID_OTP"}
        assert answer.json() == {"problem": "INVALID_OTP", "full": full}
        assert answer["Cache-Control"] == "no-store, private"
        assert kind.send("issue", {"email": []}).json()["problem"] == "OTP_ERROR"


# --- Parsers ---------------------------------------------------------------------------------------------------------


def test_parsers_of_the_view_decide_what_is_read(challenge, monkeypatch):
    code, context = challenge
    monkeypatch.setattr(APIView, "parser_classes", [JSONParser])
    only_json = build("drf_above", "verify")
    with override_settings(ROOT_URLCONF=(path("", only_json),)):
        answer = Client().post("/", {"otp": code, "context": context})
        assert_refused(answer, "OTP_ERROR")
        body = json.dumps({"otp": code, "context": context})
        assert_accepted(Client().post("/", body, content_type="application/json"))


# --- ViewSets --------------------------------------------------------------------------------------------------------


class GroupSerializer(serializers.ModelSerializer):
    class Meta:
        model = Group
        fields = ("id", "name")


class GroupViewSet(OTPVerifiedMixin, ModelViewSet):
    """Every unsafe action is verified."""

    queryset = Group.objects.order_by("pk")
    serializer_class = GroupSerializer

    @action(detail=False, methods=["post"])
    def clear(self, request):
        Group.objects.all().delete()
        return Response(status=204)

    @action(detail=False)
    def total(self, request):
        return Response({"total": Group.objects.count(), "verified": request.otp_verified})


class SomeVerified(GroupViewSet):
    """Only what cannot be undone is verified."""

    otp_actions = frozenset({"destroy", "clear"})


router = SimpleRouter()
router.register("all", GroupViewSet, basename="all")
router.register("some", SomeVerified, basename="some")
urlpatterns = [path("", include(router.urls))]


def proof():
    code, context = generate_otp()
    return {"otp": code, "context": context}


def send(method, url, fields):
    return Client().generic(method, url, json.dumps(fields), content_type="application/json")


@pytest.fixture
def _groups(db):
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.mark.usefixtures("_groups")
def test_model_viewset_verifies_every_unsafe_action():
    assert_refused(send("POST", "/all/", {"name": "a"}), "MISSING_FIELDS")
    assert not Group.objects.exists()
    created = send("POST", "/all/", {"name": "a", **proof()})
    assert (created.status_code, created["Cache-Control"]) == (201, "no-store, private")
    url = f"/all/{created.json()['id']}/"
    for method, expected in (("PUT", 200), ("PATCH", 200), ("DELETE", 204)):
        assert_refused(send(method, url, {"name": method}), "MISSING_FIELDS")
        assert Group.objects.get().name != method
        assert send(method, url, {"name": method, **proof()}).status_code == expected
    assert Client().get("/all/").json() == []


@pytest.mark.usefixtures("_groups")
def test_extra_actions_are_verified_by_their_method():
    Group.objects.create(name="a")
    assert_refused(send("POST", "/all/clear/", {}), "MISSING_FIELDS")
    assert Client().get("/all/total/").json() == {"total": 1, "verified": False}
    assert send("POST", "/all/clear/", proof()).status_code == 204
    assert not Group.objects.exists()


@pytest.mark.usefixtures("_groups")
def test_otp_actions_names_the_actions_that_are_verified():
    url = f"/some/{send('POST', '/some/', {'name': 'a'}).json()['id']}/"
    assert send("PATCH", url, {"name": "b"}).status_code == 200
    assert_refused(send("DELETE", url, {}), "MISSING_FIELDS")
    assert_refused(send("POST", "/some/clear/", {}), "MISSING_FIELDS")
    assert Group.objects.count() == 1
    assert send("DELETE", url, proof()).status_code == 204


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("prefix", ["all", "some"])
def test_method_without_action_is_405_and_costs_nothing(prefix):
    spent = proof()
    for method in ("PUT", "PATCH", "DELETE", "TRACE"):
        assert send(method, f"/{prefix}/", spent).status_code == 405
    created = Group.objects.create(name="a")
    assert send("POST", f"/{prefix}/{created.pk}/", spent).status_code == 405
    assert send("DELETE", f"/{prefix}/{created.pk}/", spent).status_code == 204


@pytest.mark.usefixtures("_groups")
def test_options_describes_the_viewset_without_a_code():
    assert Client().options("/all/").status_code == 200


def test_otp_actions_on_a_view_without_actions_is_refused():
    """An APIView has methods, not actions: nothing in the list could ever match."""
    with pytest.raises(TypeError, match="no other view has actions"):

        class View(OTPVerifiedMixin, APIView):
            otp_actions = ("post",)


@pytest.mark.parametrize(("actions", "sentence"), [(("destory",), "names destory"), ("destroy", "is a str")])
def test_otp_actions_that_matches_nothing_is_refused(actions, sentence):
    with pytest.raises(TypeError, match=sentence):

        class Misspelt(GroupViewSet):
            otp_actions = actions


@pytest.mark.parametrize("mixin", [OTPProtectedMixin, OTPVerifiedMixin])
@pytest.mark.parametrize("base", [APIView, DjangoView])
def test_mixin_after_the_view_is_refused(mixin, base):
    with pytest.raises(TypeError, match=f"before {base.__name__}"):
        type("Open", (base, mixin), {})


def test_purpose_under_the_decorators_name_is_refused():
    """The code would be good for everything that has no purpose."""
    with pytest.raises(TypeError, match="the mixins read otp_purpose"):

        class View(OTPVerifiedMixin, APIView):
            purpose = "reset"


def test_view_may_have_a_purpose_of_its_own():
    class View(OTPVerifiedMixin, APIView):
        purpose = "decoration"
        otp_purpose = "reset"

    assert View.otp_purpose == "reset"
