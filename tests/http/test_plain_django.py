"""Django stays in charge: CSRF, login required, sensitive parameters; and the ledger that cannot be reached."""

import json

import django
import pytest
from django.http import HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters

from otp_actions.decorators import otp_protected, otp_verified
from otp_actions.services import generate_otp

from .exchange import Kind, assert_accepted, assert_refused
from .test_view_stays_its_own import call
from .views import ASYNC_KINDS, KINDS, PLAIN_KINDS, Guard, build, report

CSRF = "django.middleware.csrf.CsrfViewMiddleware"
NOT_DRF = [*PLAIN_KINDS, *ASYNC_KINDS]


# --- CSRF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOT_DRF)
@override_settings(MIDDLEWARE=[CSRF])
def test_csrf_is_still_enforced(name, challenge, attempts):
    code, context = challenge
    kind = Kind(name)
    client_class = AsyncClient if name in ASYNC_KINDS else Client
    token = "a" * 32
    for otp in ("wrong", code):
        strict = client_class(enforce_csrf_checks=True)
        answer = kind.send("verify", {"otp": otp, "context": context}, client=strict)
        assert answer.status_code == 403
        body = f"otp={otp}&context={context}"
        strict.cookies["csrftoken"] = token
        answer = kind.send_body("verify", body, "application/x-www-form-urlencoded", client=strict)
        assert answer.status_code == 403
    assert attempts(kind, code, context) == 0

    code, context = generate_otp()
    accepted = kind.send_body(
        "verify",
        f"csrfmiddlewaretoken={token}&otp={code}&context={context}",
        "application/x-www-form-urlencoded",
        client=strict,
    )
    assert_accepted(accepted)


@override_settings(MIDDLEWARE=[CSRF])
@pytest.mark.parametrize("outside", [True, False])
def test_csrf_exempt_works_on_either_side_of_a_door(outside):
    def view(request):
        return HttpResponse("reached")

    view = csrf_exempt(otp_verified(view)) if outside else otp_verified(csrf_exempt(view))
    code, context = generate_otp()
    with override_settings(ROOT_URLCONF=(path("", view),)):
        client = Client(enforce_csrf_checks=True)
        assert client.post("/", {"otp": code, "context": context}).content == b"reached"


# --- LoginRequiredMiddleware -----------------------------------------------------------------------------------------


@pytest.mark.skipif(django.VERSION < (5, 1), reason="LoginRequiredMiddleware came with Django 5.1")
class TestLoginRequired:
    SETTINGS = {  # noqa: RUF012
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ],
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "LOGIN_URL": "/login/",
    }

    @pytest.mark.parametrize("name", [kind for kind in KINDS if kind not in ASYNC_KINDS])
    def test_view_behind_a_door_is_as_public_as_without(self, name, challenge):
        code, context = challenge
        body = json.dumps({"otp": code, "context": context})

        def tell(request):
            return {"verified": True}

        bare = KINDS[name](Guard((), (), ()), tell, ("POST",))
        with override_settings(**self.SETTINGS):
            with override_settings(ROOT_URLCONF=(path("", bare),)):
                expected = Client().post("/", body, content_type="application/json")
            with override_settings(ROOT_URLCONF=(path("", build(name, "verify")),)):
                answer = Client().post("/", body, content_type="application/json")
                wrong = Client().post("/", body.replace(code, "wrong"), content_type="application/json")
        assert answer.status_code == expected.status_code
        if expected.status_code == 302:
            assert wrong.status_code == 302
            assert answer["Location"] == expected["Location"]
            assert_accepted(Kind(name).send("verify", {"otp": code, "context": context}))  # It cost nothing.

    @pytest.mark.parametrize("outside", [True, False])
    @pytest.mark.parametrize("door", [otp_protected, otp_verified])
    def test_login_not_required_works_on_either_side_of_a_door(self, outside, door):
        from django.contrib.auth.decorators import login_not_required

        def view(request):
            return HttpResponse("reached")

        view = login_not_required(door(view)) if outside else door(login_not_required(view))
        code, context = generate_otp()
        with override_settings(ROOT_URLCONF=(path("", view),), **self.SETTINGS):
            assert Client().post("/", {"otp": code, "context": context}).content == b"reached"


# --- Sensitive post parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [True, False])
def test_fields_are_sensitive_post_parameters(kind, challenge, wrong):
    code, context = challenge
    answer = kind.send("verify", {"otp": "wrong" if wrong else code, "context": context})
    request = getattr(answer, "wsgi_request", None) or answer.asgi_request
    assert {"otp", "context"} <= set(request.sensitive_post_parameters)


@pytest.mark.parametrize(
    ("before", "after"), [(("password",), {"password", "otp", "context"}), ((), set("__ALL__"))], ids=["some", "all"]
)
def test_sensitive_post_parameters_of_the_project_stay(challenge, before, after):
    view = sensitive_post_parameters(*before)(build("plain_function", "verify"))
    request = RequestFactory().post("/", dict(zip(("otp", "context"), challenge, strict=True)))
    assert view(request).status_code == 200
    assert set(request.sensitive_post_parameters) == after


# --- 503 -------------------------------------------------------------------------------------------------------------


def test_unreachable_ledger_is_503_and_nothing_is_accepted(kind, challenge):
    code, context = challenge
    with override_settings(OTP_LEDGER=f"{call.__module__.rpartition('.')[0]}.test_drf.Unreachable"):
        for otp in ("wrong", code):
            answer = kind.send("verify", {"otp": otp, "context": context})
            assert_refused(answer, "OTP_UNAVAILABLE")
            assert answer["Retry-After"] == "7"
    assert_accepted(kind.send("verify", {"otp": code, "context": context}))


def test_full_process_ledger_is_503(kind):
    with override_settings(OTP_PROCESS_LEDGER_SIZE=1):
        statuses = []
        for _ in range(200):
            code, context = generate_otp()
            answer = kind.send("verify", {"otp": code, "context": context})
            statuses.append(answer.status_code)
            if answer.status_code == 503:
                assert_refused(answer, "OTP_UNAVAILABLE")
                assert int(answer["Retry-After"]) > 0
                break
            assert_accepted(answer)
        assert statuses[-1] == 503


# --- The ledger of a project that wants none --------------------------------------------------------------------------


def test_without_a_ledger_the_context_alone_counts(kind, challenge):
    code, context = challenge
    with override_settings(OTP_LEDGER=None):
        held = context
        for remaining in (2, 1, 0):
            refusal = assert_refused(kind.send("verify", {"otp": "wrong", "context": held}), "INVALID_OTP")
            assert refusal["attempts_remaining"] == remaining
            held = refusal["context"]
        assert_refused(kind.send("verify", {"otp": code, "context": held}), "MAX_RETRIES_EXCEEDED")
        for _ in range(2):
            assert_accepted(kind.send("verify", {"otp": code, "context": context}))


def test_code_may_be_used_twice_where_the_project_says_so(kind, challenge):
    code, context = challenge
    with override_settings(OTP_SINGLE_USE=False):
        for _ in range(2):
            assert_accepted(kind.send("verify", {"otp": code, "context": context}))


def test_report_is_not_reached_by_a_refused_request(monkeypatch, challenge):
    reached = []
    view = KINDS["plain_function"](Guard((otp_verified,), (), ()), lambda r: reached.append(r) or report(r), ("POST",))
    assert call(view, {"otp": "wrong", "context": challenge[1]}).status_code == 400
    assert not reached


def test_form_that_was_read_under_another_method_is_refused():
    """As method overrides in a middleware do: what is left of a multipart body cannot be read again."""

    @otp_verified
    def view(request):
        raise AssertionError

    request = RequestFactory().post("/", {"otp": "123456", "context": "c"})
    assert request.POST
    request.method = "PUT"
    answer = view(request)
    assert (answer.status_code, json.loads(answer.content)["error_code"]) == (400, "OTP_ERROR")


def test_context_is_not_kept_by_djangos_cache_for_the_next_client():
    @cache_page(60)
    @otp_protected
    def view(request):
        return JsonResponse({"context": request.generate_otp()[1]})

    first, second = (view(RequestFactory().get("/issue-by-get/")).content for _ in range(2))
    assert first != second
