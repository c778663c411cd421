"""Through HTTP: what a request rolls back is not what was counted."""

import pytest
from django.contrib.auth.models import Group
from django.db import connections
from django.http import JsonResponse
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response

from full.database import KEY, begin, fresh, rows, somebody_else
from otp_actions.decorators import otp_verified
from otp_actions.services import generate_otp
from otp_actions.testing import wrong_code

pytestmark = [
    pytest.mark.urls(__name__),
    # Requests are in transactions of their own here, so the test must be in none.
    pytest.mark.django_db(transaction=True, databases="__all__"),
]


@otp_verified
def plain(request):
    return JsonResponse({})


@otp_verified
def plain_that_fails(request):
    Group.objects.create(name="canary")
    raise RuntimeError


@otp_verified
@api_view(["POST"])
def drf(request):
    return Response({})


@otp_verified
@api_view(["POST"])
def drf_that_fails(request):
    Group.objects.create(name="canary")
    raise RuntimeError


urlpatterns = [
    path("plain/", plain),
    path("plain/fails/", plain_that_fails),
    path("drf/", drf),
    path("drf/fails/", drf_that_fails),
]


@pytest.fixture(autouse=True)
def _fresh(settings):
    settings.OTP_LEDGER = "database"
    fresh()
    yield
    fresh()


@pytest.fixture
def post(client, monkeypatch):
    """Send a code to a view of a project that has ATOMIC_REQUESTS; return status and error_code."""
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    client.raise_request_exception = False

    def send(url, code, context):
        response = client.post(url, {"otp": code, "context": context})
        body = response.json() if response["Content-Type"] == "application/json" else {}
        return response.status_code, body.get("error_code")

    return send


@pytest.mark.parametrize("door", ["plain", "drf"])
def test_view_that_raises_rolls_its_own_work_back_but_not_the_mark(post, door):
    code, context = generate_otp(identifier="ada@example.com")
    assert post(f"/{door}/fails/", code, context) == (500, None)
    assert not Group.objects.exists()
    for _ in range(2):
        assert post(f"/{door}/", code, context) == (410, "OTP_USED")


@pytest.mark.parametrize("door", ["plain", "drf"])
def test_refused_request_rolls_no_count_back(post, door, comparisons):
    code, context = generate_otp(identifier="ada@example.com", max_retries=3)
    answers = [post(f"/{door}/fails/", wrong_code(code), context) for _ in range(5)]
    assert answers == [(400, "INVALID_OTP")] * 3 + [(429, "MAX_RETRIES_EXCEEDED")] * 2
    assert comparisons.count == 3
    assert post(f"/{door}/", code, context) == (429, "MAX_RETRIES_EXCEEDED")


@pytest.mark.parametrize("door", ["plain", "drf"])
def test_ledger_that_waits_too_long_is_a_503_that_accepts_nothing(post, door, settings, client, comparisons):
    settings.OTP_LEDGER_TIMEOUT = 0.3
    code, context = generate_otp()
    assert post(f"/{door}/", wrong_code(code), context) == (400, "INVALID_OTP")
    [entry] = rows()
    comparisons.reset()
    with somebody_else() as cursor:
        begin(cursor)
        cursor.execute(f"UPDATE otp_actions_ledger SET expiry = expiry + 1 WHERE {KEY} = %s", [entry])
        response = client.post(f"/{door}/", {"otp": code, "context": context})
        assert (response.status_code, response.json()["error_code"]) == (503, "OTP_UNAVAILABLE")
        assert int(response["Retry-After"]) > 0
        assert comparisons.count == 0
        cursor.execute("ROLLBACK")
    assert post(f"/{door}/", code, context) == (200, None)


def test_entries_of_a_verification_are_few(post):
    """What docs/database.md says about sizes."""
    code, context = generate_otp(identifier="ada@example.com")
    assert post("/plain/", code, context) == (200, None)
    assert sorted(chr(one[0]) for one in rows()) == ["c", "i"]
