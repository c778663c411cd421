"""``precheck=``: what is refused before the code is looked at costs neither an attempt nor the code."""

import json

import pytest
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from otp_actions.decorators import otp_verified
from otp_actions.services import generate_otp, verify_otp

from .exchange import Kind, assert_accepted, assert_refused
from .views import ASYNC_KINDS, DRF_KINDS, KINDS, METHODS, PLAIN_KINDS, build, report, verifying

GOOD, SHORT = {"new_password": "long enough"}, {"new_password": "short"}


@pytest.mark.parametrize("right", [True, False], ids=["right code", "wrong code"])
@pytest.mark.parametrize(
    ("scenario", "status", "body"),
    [
        ("precheck-serializer", 400, {"new_password": ["Ensure this field has at least 8 characters."]}),
        ("precheck-raises", 400, {"new_password": ["Too short."]}),
        ("precheck-answers", 422, "too short"),
    ],
)
def test_refusal_costs_neither_attempt_nor_code(kind, challenge, attempts, scenario, status, body, right):
    code, context = challenge
    answer = kind.send(scenario, {"otp": code if right else "wrong", "context": context, **SHORT})
    assert answer.status_code == status
    assert (answer.content.decode() if isinstance(body, str) else answer.json()) == body
    assert answer["Cache-Control"] == "no-store, private"
    assert attempts(kind, code, context, scenario=scenario, **GOOD) == 0


@pytest.mark.parametrize("scenario", ["precheck-serializer", "precheck-raises", "precheck-answers"])
def test_form_is_prechecked_too(kind, challenge, scenario):
    code, context = challenge
    body = "otp={}&context={}&new_password={}".format
    content_type = "application/x-www-form-urlencoded"
    assert kind.send_body(scenario, body(code, context, "short"), content_type).status_code in (400, 422)
    assert_accepted(kind.send_body(scenario, body(code, context, "long+enough"), content_type))


@pytest.mark.parametrize("scenario", ["precheck-serializer", "precheck-raises"])
def test_passing_the_precheck_is_not_enough(kind, challenge, scenario):
    _, context = challenge
    assert_refused(kind.send(scenario, {"otp": "wrong", "context": context, **GOOD}), "INVALID_OTP")
    assert_refused(kind.send(scenario, {**GOOD}), "MISSING_FIELDS")


@pytest.mark.parametrize("missing", [{"otp": ""}, {"otp": None}, {"context": ""}, {"context": None}])
def test_precheck_is_not_run_without_both_fields(kind, challenge, missing):
    code, context = challenge
    assert_refused(kind.send("precheck-breaks", {"otp": code, "context": context, **missing}), "MISSING_FIELDS")


def test_precheck_is_not_run_on_safe_methods(kind):
    assert kind.send("precheck-breaks", method="GET").json()["verified"] is False


def test_error_in_a_precheck_is_the_projects_and_nothing_is_counted(kind, challenge, attempts):
    code, context = challenge
    with pytest.raises(RuntimeError, match=f"6, {len(context)}"):
        kind.send("precheck-breaks", {"otp": code, "context": context})
    assert attempts(kind, code, context) == 0


@pytest.mark.parametrize("name", ASYNC_KINDS)
@pytest.mark.parametrize(("scenario", "status"), [("precheck-async-answers", 422), ("precheck-async-raises", 400)])
def test_async_precheck_is_awaited(name, challenge, attempts, scenario, status):
    kind = Kind(name)
    code, context = challenge
    answer = kind.send(scenario, {"otp": code, "context": context, **SHORT})
    assert (answer.status_code, answer["Cache-Control"]) == (status, "no-store, private")
    assert attempts(kind, code, context, scenario=scenario, **GOOD) == 0


@pytest.mark.parametrize("name", [*DRF_KINDS, *PLAIN_KINDS])
@pytest.mark.parametrize("scenario", ["precheck-async-answers", "precheck-async-raises"])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_async_precheck_of_a_sync_view_does_not_let_everything_through(name, challenge, scenario):
    code, context = challenge
    body = json.dumps({"otp": code, "context": context, **SHORT})
    request = RequestFactory().post("/", body, content_type="application/json")
    try:
        answer = build(name, scenario)(request)
    except (TypeError, ValueError):
        return  # Refusing such a precheck is as good as running it.
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (PermissionDenied("not you"), 403, {"detail": "not you"}),
        (serializers.ValidationError(["too", "short"]), 400, ["too", "short"]),
        (serializers.ValidationError({"password": "short"}), 400, {"password": "short"}),
    ],
)
def test_exceptions_of_drf_are_answered_by_a_plain_view_too(error, status, body):
    def raises(request):
        raise error

    @otp_verified(precheck=raises)
    def view(request):
        raise AssertionError

    code, context = generate_otp()
    answer = view(RequestFactory().post("/", {"otp": code, "context": context}))
    assert (answer.status_code, json.loads(answer.content)) == (status, body)
    assert verify_otp(code, context)


class AsyncCallable:
    """A precheck that is not a function."""

    async def __call__(self, request):
        return HttpResponse("too short", status=422)


@pytest.mark.parametrize("name", ["drf_above", "plain_function", "async_function"])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_precheck_whose_call_is_async_does_not_let_everything_through(name, challenge):
    with override_settings(
        ROOT_URLCONF=(path(f"{name}/x/", KINDS[name](verifying(precheck=AsyncCallable()), report, METHODS)),)
    ):
        assert Kind(name).send("x", dict(zip(("otp", "context"), challenge, strict=True))).status_code == 422


def refuse_as_validate_password_does(request):
    raise DjangoValidationError(["This password is too common."])


def refuse_as_drf_does(request):
    raise PermissionDenied


@pytest.mark.parametrize(
    "name", ["drf_above", "drf_below", "drf_mixin", "plain_function", "plain_mixin", "async_function"]
)
@pytest.mark.parametrize(
    ("precheck", "status"), [(refuse_as_validate_password_does, 400), (refuse_as_drf_does, 403)], ids=["django", "drf"]
)
def test_what_validators_and_drf_raise_is_a_refusal(name, challenge, attempts, precheck, status):
    kind = Kind(name)
    code, context = challenge
    with override_settings(
        ROOT_URLCONF=(path(f"{name}/x/", KINDS[name](verifying(precheck=precheck), report, METHODS)),)
    ):
        assert kind.send("x", {"otp": code, "context": context}).status_code == status
    assert attempts(kind, code, context) == 0


@pytest.mark.parametrize("answer", [False, True, "no"])
def test_precheck_that_answers_neither_none_nor_a_response_is_a_mistake(answer, challenge):
    """False does not let a request through because someone took it for a refusal."""
    view = KINDS["plain_function"](verifying(precheck=lambda request: answer), report, METHODS)
    with (
        override_settings(ROOT_URLCONF=(path("plain_function/x/", view),)),
        pytest.raises(TypeError, match=f"refuses by raising .* returned {type(answer).__name__}"),
    ):
        Kind("plain_function").send("x", dict(zip(("otp", "context"), challenge, strict=True)))


class OfTheCaller(serializers.Serializer):
    def validate(self, fields):
        if self.context["request"].META.get("HTTP_X_FAMILY") is None:
            raise serializers.ValidationError("Strangers may not.")
        return fields


def test_serializer_finds_the_request_in_its_context_as_in_any_view(kind, challenge):
    fields = dict(zip(("otp", "context"), challenge, strict=True))
    view = KINDS[kind.name](verifying(precheck=OfTheCaller), report, METHODS)
    with override_settings(ROOT_URLCONF=(path(f"{kind.name}/x/", view),)):
        assert kind.send("x", fields).json() == {"non_field_errors": ["Strangers may not."]}
        headers = {"headers": {"X-Family": "yes"}}
        assert_accepted(kind.send("x", fields, **headers))
