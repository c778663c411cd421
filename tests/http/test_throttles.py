"""Throttles: how often a code may be asked for, whatever kind of view is asked and wherever the throttle stands."""

import asyncio
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import time_machine
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured
from django.http import JsonResponse
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import include, path
from django.utils.decorators import sync_and_async_middleware
from django.utils.translation import override
from django.views import View
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from otp_actions.__main__ import generate_key
from otp_actions.conf import SettingError
from otp_actions.decorators import otp_protected, otp_verified
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.http.throttles import OTPThrottle, otp_throttle
from otp_actions.ledgers import Ledger
from otp_actions.services import generate_otp, verify_otp

from .exchange import Kind, assert_accepted
from .views import KINDS, METHODS, Guard, issue, report

NOW = 1_800_000_000

# --- The views -------------------------------------------------------------------------------------------------------

#: The ways to put a decorator on a view. Mixins and spellings of a decorator are not among them.
PLACES = [name for name in KINDS if not name.endswith(("mixin", "parentheses", "alias"))]


def reached(request):
    return {"reached": True}


def guarded(*decorators):
    """These decorators, the innermost first."""
    return Guard(decorators, (), ())


THROTTLE = otp_throttle("2/h", by="ip")
SCENARIOS = {
    "alone": (guarded(THROTTLE), reached),
    "above-protected": (guarded(otp_protected, THROTTLE), issue),
    "below-protected": (guarded(THROTTLE, otp_protected), issue),
    "above-verified": (guarded(otp_verified, THROTTLE), report),
    "below-verified": (guarded(THROTTLE, otp_verified), report),
    "identifier": (guarded(otp_throttle("2/h", by="identifier", field="email")), reached),
    "user": (guarded(otp_throttle("2/h", by="user")), reached),
}


@api_view(["GET", "POST", "PUT"])
@throttle_classes([OTPThrottle.at("2/h", by="identifier", field="email")])
def drf_by_email(request):
    return Response({"reached": sorted(request.data)})


@api_view(["POST"])
@throttle_classes([OTPThrottle])
def drf_default(request):
    return Response({})


@api_view(["POST"])
@throttle_classes([OTPThrottle])
def drf_default_too(request):
    return Response({})


@otp_protected
@api_view(["POST"])
@throttle_classes([OTPThrottle.at("2/h", by="ip")])
def drf_issuing(request):
    return Response({"context": request.generate_otp()[1]})


@api_view(["POST"])
@throttle_classes([OTPThrottle.at("2/h", by="ip"), OTPThrottle.at("3/h", field="email")])
def drf_both(request):
    return Response({})


@api_view(["POST"])
@throttle_classes([OTPThrottle.at("2/h", by="user")])
def drf_by_user(request):
    return Response({})


class Codes(ViewSet):
    throttle_classes = (OTPThrottle.at("1/h", by="ip"),)

    def create(self, request):
        return Response({})

    def destroy(self, request):
        return Response({})


class OnceADay(OTPThrottle):
    rate = "1/day"
    by = "ip"


class Once(APIView):
    throttle_classes = (OnceADay,)

    def post(self, request):
        return Response({})


@otp_throttle("2/h", by="ip")
def first(request):
    return JsonResponse({})


@otp_throttle("2/h", by="ip")
def second(request):
    return JsonResponse({})


@otp_throttle("2/h", by="ip")
@otp_throttle("3/h", by="ip")
def stacked(request):
    return JsonResponse({})


@otp_throttle("5/h", by="identifier", field="email")
def by_email(request):
    return JsonResponse({})


class Base(View):
    def post(self, request):
        return JsonResponse({})


class One(Base):
    pass


class Other(Base):
    pass


def scenarios(kind):
    return [path(f"{name}/", KINDS[kind](guard, body, METHODS)) for name, (guard, body) in SCENARIOS.items()]


urlpatterns = [
    *(path(f"{kind}/", include(scenarios(kind))) for kind in PLACES),
    path("drf-by-email/", drf_by_email),
    path("drf-default/", drf_default),
    path("drf-default-too/", drf_default_too),
    path("drf-issuing/", drf_issuing),
    path("drf-both/", drf_both),
    path("drf-by-user/", drf_by_user),
    path("codes/", Codes.as_view({"post": "create", "delete": "destroy"})),
    path("once/", Once.as_view()),
    path("first/", first),
    path("second/", second),
    path("stacked/", stacked),
    path("by-email/", by_email),
    path("one/", otp_throttle("1/h", by="ip")(One.as_view())),
    path("other/", otp_throttle("1/h", by="ip")(Other.as_view())),
]


@sync_and_async_middleware
def user_from_header(get_response):
    """Log in whoever the header ``X-User`` names, as a middleware would, without a table of users."""

    def log_in(request):
        pk = request.headers.get("X-User")
        request.user = SimpleNamespace(pk=int(pk), is_authenticated=True, is_active=True) if pk else AnonymousUser()

    if iscoroutinefunction(get_response):

        async def amiddleware(request):
            log_in(request)
            return await get_response(request)

        return amiddleware

    def middleware(request):
        log_in(request)
        return get_response(request)

    return middleware


@pytest.fixture(autouse=True)
def _views(_doors, settings):
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.user_from_header"]


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture(params=PLACES)
def place(request):
    return Kind(request.param)


def statuses(url, *bodies, client=None, **more):
    client = client or Client()
    return [client.post(url, json.dumps(body), content_type="application/json", **more).status_code for body in bodies]


def assert_throttled(answer, retry_after=3600):
    assert answer.status_code == 429
    assert answer["Retry-After"] == str(retry_after)
    assert answer.json() == {"error": "Too many attempts. Please try again later.", "error_code": "OTP_THROTTLED"}


# --- Every place -----------------------------------------------------------------------------------------------------


def test_no_more_than_the_limit_reach_the_view(place, clock):
    answers = [place.send("alone") for _ in range(3)]
    assert [answer.json() for answer in answers[:2]] == [{"reached": True}] * 2
    assert_throttled(answers[2])
    assert answers[2]["Cache-Control"] == "no-store, private"


def test_window_begins_with_the_first_request_and_ends(place, clock):
    assert place.send("alone").status_code == 200
    clock.move_to(NOW + 3000)
    assert place.send("alone").status_code == 200
    assert_throttled(place.send("alone"), 600)
    clock.move_to(NOW + 3599)
    assert_throttled(place.send("alone"), 1)
    clock.move_to(NOW + 3600)
    assert [place.send("alone").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_method_is_neither_counted_nor_refused(place, method):
    def safe():
        return place.send("alone", method=method).status_code

    # A handler of a class that does not know OPTIONS answers 405, a decorated function 200.
    before = [safe() for _ in range(4)]
    assert 429 not in before
    assert [place.send("alone").status_code for _ in range(3)] == [200, 200, 429]
    assert safe() == before[0]


@pytest.mark.parametrize("scenario", ["above-protected", "below-protected"])
def test_issuing_stops_at_the_limit(place, scenario, otp_outbox):
    answers = [place.send(scenario, {"email": "ada@example.com"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error_code"] == "OTP_THROTTLED"
    assert len(otp_outbox) == 2


@pytest.mark.parametrize("scenario", ["above-verified", "below-verified"])
def test_verifying_stops_at_the_limit(place, scenario):
    answers = [place.send(scenario, dict(zip(("otp", "context"), generate_otp(), strict=True))) for _ in range(3)]
    assert_accepted(answers[0])
    assert_accepted(answers[1])
    assert answers[2].status_code == 429
    assert answers[2].json()["error_code"] == "OTP_THROTTLED"


def test_code_is_neither_compared_nor_used_up_behind_a_full_throttle(place, comparisons):
    code, context = generate_otp()
    fields = {"otp": code, "context": context}
    for _ in range(2):
        place.send("above-verified", {"otp": "wrong", "context": generate_otp()[1]})
    comparisons.reset()
    assert place.send("above-verified", fields).status_code == 429
    assert comparisons.count == 0
    verify_otp(code, context)


def test_wrong_code_does_not_come_as_far_as_the_throttle_below(place):
    code, context = generate_otp()
    for _ in range(2):
        answer = place.send("below-verified", {"otp": "wrong", "context": context})
        assert answer.json()["error_code"] == "INVALID_OTP"
    assert_accepted(place.send("below-verified", {"otp": code, "context": context}))


def test_identifier_is_read_from_the_body_and_left_for_the_view(place):
    def ask(email):
        return place.send("identifier", {"email": email}).status_code

    assert [ask("ada@example.com") for _ in range(3)] == [200, 200, 429]
    assert ask("eve@example.com") == 200


def test_user_has_a_count_of_her_own(place, settings):
    settings.OTP_TRUSTED_PROXY_COUNT = 1

    def ask(user, address="192.0.2.1"):
        return place.send("user", headers={"X-User": user, "X-Forwarded-For": address}).status_code

    assert [ask("1") for _ in range(3)] == [200, 200, 429]
    assert ask("1", "192.0.2.2") == 429
    assert ask("2") == 200
    # Who is not logged in is counted by the address.
    assert [ask("") for _ in range(3)] == [200, 200, 429]
    assert ask("", "192.0.2.2") == 200


def test_process_that_counts_nothing_says_so(place, settings):
    settings.OTP_LEDGER = None
    with pytest.raises(ImproperlyConfigured, match="OTP_LEDGER is None"):
        place.send("alone")


class Unreachable(Ledger):
    def take(self, claims, *, unless=(), now):
        raise OTPUnavailableException

    advance = _give_back = take


def test_ledger_that_cannot_tell_is_a_503(place, settings):
    settings.OTP_LEDGER = f"{__name__}.Unreachable"
    for scenario in ("alone", "above-protected"):
        answer = place.send(scenario, {"email": "ada@example.com"})
        assert answer.status_code == 503
        assert answer.json()["error_code"] == "OTP_UNAVAILABLE"
        assert answer["Retry-After"] == "5"


# --- OTPThrottle -----------------------------------------------------------------------------------------------------


ADA = {"email": "ada@example.com"}


def test_throttle_class_answers_like_the_decorator(clock):
    assert statuses("/drf-by-email/", ADA, ADA) == [200, 200]
    assert_throttled(Client().post("/drf-by-email/", ADA))


def test_throttle_class_counts_all_unsafe_methods_of_a_view_as_one():
    client = Client()
    assert client.put("/drf-by-email/", ADA, content_type="application/json").status_code == 200
    assert statuses("/drf-by-email/", ADA, ADA) == [200, 429]
    assert [client.get("/drf-by-email/", ADA).status_code for _ in range(3)] == [200] * 3


def test_throttle_class_works_as_it_is():
    assert statuses("/drf-default/", *[{"identifier": "ada"}] * 6) == [200] * 5 + [429]
    assert statuses("/drf-default/", {"identifier": "eve"}) == [200]


def test_throttle_class_stands_before_an_issuing_door(otp_outbox):
    assert statuses("/drf-issuing/", {}, {}, {}) == [200, 200, 429]
    assert len(otp_outbox) == 2


def test_throttle_class_is_subclassed_as_any():
    assert statuses("/once/", {}, {}) == [200, 429]


def test_actions_of_a_viewset_are_counted_one_by_one():
    client = Client()
    assert [client.post("/codes/").status_code for _ in range(2)] == [200, 429]
    assert [client.delete("/codes/").status_code for _ in range(2)] == [200, 429]


def test_user_of_a_drf_view_is_the_one_that_drf_has_authenticated():
    def ask(user):
        return statuses("/drf-by-user/", {}, headers={"X-User": user})[0]

    assert [ask("1") for _ in range(3)] == [200, 200, 429]
    assert ask("2") == 200


def test_address_that_is_refused_uses_up_nobody_elses_count(settings):
    settings.OTP_TRUSTED_PROXY_COUNT = 1
    many = {"headers": {"X-Forwarded-For": "192.0.2.66"}}
    assert statuses("/drf-both/", *[ADA] * 9, **many) == [200, 200] + [429] * 7
    assert statuses("/drf-both/", ADA, headers={"X-Forwarded-For": "192.0.2.7"}) == [200]


def test_ledger_that_cannot_tell_is_a_503_of_the_throttle_class(settings):
    settings.OTP_LEDGER = f"{__name__}.Unreachable"
    answer = Client().post("/drf-default/")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert answer.json()["error_code"] == "OTP_UNAVAILABLE"


def house_style(error, context):
    return Response({"problem": error.get_codes(), "wait": error.wait}, status=error.status_code)


@pytest.mark.parametrize("url", ["/once/", "/drf_above/alone/", "/drf_below/alone/", "/drf_dispatch/alone/"])
def test_refusal_goes_through_the_projects_exception_handler(url, clock, settings):
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": f"{__name__}.house_style"}
    for _ in range(3):
        answer = Client().post(url)
    assert answer.status_code == 429
    assert answer.json() == {"problem": "OTP_THROTTLED", "wait": 86400 if url == "/once/" else 3600}


def test_throttle_class_may_be_everybodys_default(tmp_path):
    """DRF then imports it while it imports its own views."""
    script = """
import django
from django.conf import settings

settings.configure(
    OTP_SIGNING_KEY="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    REST_FRAMEWORK={"DEFAULT_THROTTLE_CLASSES": ["otp_actions.http.throttles.OTPThrottle"]},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "otp_actions"],
)
django.setup()
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

view = api_view(["POST"])(lambda request: Response())
print([view(APIRequestFactory().post("/")).status_code for _ in range(6)])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "[200, 200, 200, 200, 200, 429]\n", done.stderr


# --- What is counted as one ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["/by-email/", "/drf-by-email/"])
@pytest.mark.parametrize("spelling", ["  ada@example.com\n", "ada\N{FULLWIDTH COMMERCIAL AT}example.com"])
def test_spelling_of_an_identifier_opens_no_fresh_count(url, spelling, settings):
    spelled = [{"email": email} for email in ["ada@example.com", spelling] * 3]
    limit = 5 if url == "/by-email/" else 2
    assert statuses(url, *spelled) == [200] * limit + [429] * (6 - limit)


def test_identifier_is_canonicalised_as_the_project_says(settings):
    assert statuses("/drf-by-email/", *[{"email": "ADA@example.com"}] * 2, ADA) == [200, 200, 429]
    settings.OTP_CANONICAL_IDENTIFIER = "builtins.str"
    eve = {"email": "eve@example.com"}
    assert statuses("/drf-by-email/", *[{"email": "EVE@example.com"}] * 2, eve) == [200] * 3


@pytest.mark.parametrize(
    "spelling", [" " * 2000 + "{}", "{}" + "\t" * 2000, "{}\u00ad", "\u200b{}\ufe0f", "{}\U000e0001"]
)
def test_what_shows_nothing_makes_nobody_another(spelling):
    bodies = [ADA, {"email": spelling.format("ADA@example.com")}, {"email": spelling.format("ada@example.com")}]
    assert statuses("/drf-by-email/", *bodies) == [200, 200, 429]


def test_what_comes_after_a_thousand_characters_makes_nobody_another():
    assert statuses("/drf-by-email/", *[{"email": "x" * 1024 + end} for end in "abc"]) == [200, 200, 429]


def test_number_is_the_text_that_a_serializer_makes_of_it():
    assert statuses("/drf-by-email/", *[{"email": email} for email in (42, "42", 42)]) == [200, 200, 429]
    assert statuses("/drf-by-email/", *[{"email": email} for email in (4.5, "4.5", 4.5)]) == [200, 200, 429]


def phone_number(text):
    raise ValueError(text)


@pytest.mark.parametrize("value", [None, "", " ", "\N{NO-BREAK SPACE}", True, ["a"], {"a": "b"}, "\ud800"])
def test_what_is_no_identifier_is_counted_by_the_address(value):
    bodies = [{"email": value}, {}, {"email": value}]
    assert statuses("/drf-by-email/", *bodies) == [200, 200, 429]
    assert statuses("/drf-by-email/", ADA) == [200]


def test_what_the_project_refuses_as_an_identifier_is_counted_by_the_address(settings):
    settings.OTP_CANONICAL_IDENTIFIER = f"{__name__}.phone_number"
    assert statuses("/drf-by-email/", ADA, {"email": "eve"}, {"email": "mallory"}) == [200, 200, 429]
    # An address and a user are not canonicalised.
    assert statuses("/first/", {}) == [200]
    assert statuses("/drf-by-user/", {}, headers={"X-User": "1"}) == [200]


@pytest.mark.parametrize("url", ["/by-email/", "/drf-by-email/"])
@pytest.mark.parametrize("body", ["{", "[1]", "[" * 100_000])
def test_body_that_cannot_be_read_is_refused(url, body):
    for _ in range(7):
        answer = Client().post(url, body, content_type="application/json")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "OTP_ERROR")


def test_form_is_read_like_json():
    client = Client()
    assert [client.post("/by-email/", ADA).status_code for _ in range(3)] == [200] * 3
    assert statuses("/by-email/", ADA, ADA, ADA) == [200, 200, 429]
    assert client.post("/by-email/", ADA, content_type="application/x-www-form-urlencoded").status_code == 200


def test_address_is_not_what_a_client_says_of_itself(settings):
    def ask(forwarded):
        return statuses("/first/", {}, headers={"X-Forwarded-For": forwarded})[0]

    assert [ask(f"192.0.2.{i}") for i in range(4)] == [200, 200, 429, 429]
    settings.OTP_TRUSTED_PROXY_COUNT = 1
    assert [ask(f"192.0.2.{i}, 198.51.100.7") for i in range(4)] == [200, 200, 429, 429]
    assert ask("192.0.2.1, 198.51.100.8") == 200


def test_ipv6_is_counted_by_the_network_of_a_client():
    def ask(address):
        return Client(REMOTE_ADDR=address).post("/first/").status_code

    assert [ask(f"2001:db8:0:1::{i}") for i in range(1, 4)] == [200, 200, 429]
    assert ask("2001:db8:0:2::1") == 200


@pytest.mark.parametrize(
    ("url", "another"), [("/first/", "/second/"), ("/one/", "/other/"), ("/drf-default/", "/drf-default-too/")]
)
def test_each_view_has_its_own_count(url, another):
    assert statuses(url, *[{}] * 6)[-1] == 429
    assert statuses(another, {}) == [200]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"field": "email"}, {"field": "phone"}),
        ({"by": "ip"}, {"by": "identifier"}),
        ({"by": "ip"}, {"by": "user"}),
    ],
)
def test_throttles_of_one_view_and_rate_count_side_by_side(one, other):
    view = otp_throttle("2/h", **one)(otp_throttle("2/h", **other)(lambda request: JsonResponse({})))
    body = {"email": "42", "phone": "42"}
    answers = [view(RequestFactory().post("/", body, content_type="application/json")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_throttles_of_one_view_count_side_by_side():
    assert statuses("/stacked/", {}, {}, {}) == [200, 200, 429]


def test_identifier_and_address_that_read_the_same_are_two():
    same = {"identifier": "127.0.0.1"}
    assert statuses("/drf-default/", *[{}] * 6) == [200] * 5 + [429]
    assert statuses("/drf-default/", *[same] * 6) == [200] * 5 + [429]


def test_count_outlives_a_change_of_the_key(settings):
    old, new, newest = settings.OTP_SIGNING_KEY, generate_key(), generate_key()
    assert statuses("/first/", {}) == [200]
    settings.OTP_SIGNING_KEY, settings.OTP_SIGNING_KEY_FALLBACKS = new, [old]
    assert statuses("/first/", {}, {}) == [200, 429]
    settings.OTP_SIGNING_KEY, settings.OTP_SIGNING_KEY_FALLBACKS = newest, [new, old]
    assert statuses("/first/", {}) == [429]
    settings.OTP_SIGNING_KEY_FALLBACKS = [generate_key() for _ in range(6)] + [old]
    assert statuses("/first/", {}) == [429]


def test_64_threads_at_once_take_exactly_the_limit(at_once):
    many = otp_throttle("20/h", by="ip")(lambda request: JsonResponse({}))
    answers = at_once(64, lambda: many(RequestFactory().post("/")).status_code)
    assert sorted(answers) == [200] * 20 + [429] * 44


def test_view_that_is_an_object_has_its_count_too():
    class Greeting:
        def __call__(self, request):
            return JsonResponse({})

    greeting = otp_throttle("1/h", by="ip")(Greeting())
    assert [greeting(RequestFactory().post("/")).status_code for _ in range(2)] == [200, 429]


class Watchful(Ledger):
    def take(self, claims, *, unless=(), now):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        raise OTPUnavailableException

    advance = _give_back = take


def test_event_loop_does_not_wait_for_the_ledger(settings):
    settings.OTP_LEDGER = f"{__name__}.Watchful"
    assert Kind("async_function").send("alone").status_code == 503


def test_64_requests_at_once_take_exactly_the_limit_of_an_async_view():
    @otp_throttle("20/h", by="ip")
    async def many(request):
        return JsonResponse({})

    async def ask():
        return await asyncio.gather(*(many(AsyncRequestFactory().post("/")) for _ in range(64)))

    answers = [answer.status_code for answer in async_to_sync(ask)()]
    assert sorted(answers) == [200] * 20 + [429] * 44


def test_ledger_sees_digests_only(monkeypatch):
    seen = []

    class Watched(Ledger):
        def take(self, claims, *, unless=(), now):
            seen.extend(claims)
            raise OTPUnavailableException

        advance = _give_back = take

    monkeypatch.setattr("otp_actions.http.throttles.ledger_for", lambda settings: Watched())
    statuses("/by-email/", ADA)
    ((bucket, limit, ttl),) = seen
    assert (bucket[:1], len(bucket), limit, ttl) == (b"t", 17, 5, 3600)
    assert b"ada" not in bucket


# --- Mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["5", "5/w", "0/h", "-1/h", "h/5", "", None, 5, "5/h "])
@pytest.mark.parametrize(
    "make",
    [
        lambda rate: otp_throttle(rate),
        lambda rate: OTPThrottle.at(rate),
        lambda rate: type("Mine", (OTPThrottle,), {"rate": rate}),
    ],
)
def test_bad_rate_is_an_error_where_it_is_written(rate, make):
    with pytest.raises(SettingError, match='must be a rate like "30/h"'):
        make(rate)


def test_throttle_without_a_rate_is_an_error_where_it_is_written():
    with pytest.raises(TypeError, match=r'write @otp_throttle\("5/h"\)'):
        otp_throttle(first)


@pytest.mark.parametrize("make", [otp_throttle, OTPThrottle.at])
def test_field_that_would_not_be_read_is_an_error_where_it_is_written(make):
    with pytest.raises(ValueError, match="read only with by = 'identifier'"):
        make("5/h", by="ip", field="email")


@pytest.mark.parametrize("by", ["email", "", None, "IP"])
@pytest.mark.parametrize("make", [otp_throttle, OTPThrottle.at])
def test_bad_key_is_an_error_where_it_is_written(by, make):
    with pytest.raises(ValueError, match='by must be "identifier", "ip" or "user"'):
        make("5/h", by=by)


def test_class_is_not_decorated():
    with pytest.raises(TypeError, match=r"One is a class: .* throttle_classes, or decorate a method"):
        otp_throttle("5/h")(One)


def test_settings_are_not_read_before_the_first_request(settings):
    settings.OTP_SIGNING_KEY = None
    settings.OTP_LEDGER = None
    otp_throttle("5/h")(lambda request: None)
    OTPThrottle.at("5/h")


def test_refusal_is_translated():
    statuses("/first/", {}, {})
    with override("de"):
        assert "Zu viele" in Client().post("/first/", headers={"Accept-Language": "de"}).json()["error"]
