"""What an answer, or an error report, must not tell."""

import sys

import pytest
from django.core.signals import got_request_exception
from django.test import RequestFactory, override_settings
from django.views.debug import ExceptionReporter
from rest_framework.authentication import BaseAuthentication
from rest_framework.views import APIView

from otp_actions.exceptions import OTPException
from otp_actions.http.fields import read_data
from otp_actions.ledgers import Ledger
from otp_actions.services import generate_decoy, generate_otp

from .exchange import Kind, assert_refused
from .views import CANARIES, build


def test_decoy_answers_like_a_real_challenge_through_the_whole_sequence(kind, otp_outbox):
    def sequence(scenario, email):
        """Send wrong codes until there is more than enough; say what a client can see of each answer."""
        answers = [kind.send(scenario, {"email": email})]
        context = None
        while len(answers) < 6:
            context = answers[-1].json().get("context", context)
            answers.append(kind.send("verify", {"otp": "nonsense", "context": context}))
        return [
            (
                answer.status_code,
                {**answer.json(), "context": len(answer.json().get("context", ""))},
                {**answer.headers},
                len(answer.content),
            )
            for answer in answers
        ]

    real, decoy = sequence("issue", "ada@example.com"), sequence("decoy", "eve@example.com")
    assert real == decoy
    assert [status for status, *_ in real] == [200, 400, 400, 400, 429, 429]
    assert len(otp_outbox) == 1


def test_decoy_counts_by_itself_not_by_the_context_a_client_resends(kind):
    decoy = generate_decoy(identifier="eve@example.com")
    answers = [kind.send("verify", {"otp": "000000", "context": decoy}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 429, 429]


# --- Django's error reports -----------------------------------------------------------------------------------------


@pytest.fixture
def reports():
    """What Django would mail to the ADMINS of each exception that leaves a view, as HTML, which shows the most."""
    made = []

    def report(request, **kwargs):
        made.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_html())

    got_request_exception.connect(report)
    yield made
    got_request_exception.disconnect(report)


class Broken(Ledger):
    """A ledger with a bug."""

    def take(self, claims, *, unless=(), now):
        raise RuntimeError("a bug")

    def advance(self, mark, value, *, ttl, now):
        raise RuntimeError("a bug")

    def _give_back(self, bucket, *, now):
        raise RuntimeError("a bug")


def assert_hidden(report, code, context):
    assert "Traceback" in report
    for secret in (code, context, *CANARIES):
        at = report.find(secret)
        assert at < 0, report[max(at - 200, 0) : at + 100]


def test_report_of_a_failing_view_shows_no_secret(kind, reports, settings):
    code, context = generate_otp(length=12)
    body = f"otp={code}&context={context}&note=seen"
    with pytest.raises(ValueError, match="the view's own"):
        kind.send_body("verify-then-value-error", body, "application/x-www-form-urlencoded")
    (report,) = reports
    assert_hidden(report, code, context)
    assert settings.OTP_SIGNING_KEY not in report
    assert "seen" in report  # What is not secret is still there to debug with.


@pytest.mark.parametrize("name", ["drf_above", "drf_below", "plain_function", "async_function"])
def test_report_of_a_view_that_fails_with_a_json_body_shows_no_secret(name, reports):
    code, context = generate_otp(length=12)
    with pytest.raises(ValueError, match="the view's own"):
        Kind(name).send("verify-then-value-error", {"otp": code, "context": context})
    assert_hidden(reports[0], code, context)


@override_settings(OTP_DEFAULT_LENGTH=12)
def test_report_of_a_failing_issuing_view_shows_no_secret(kind, reports, otp_outbox):
    with pytest.raises(ValueError, match="after issuing"):
        kind.send("issue-then-fail", {"email": "ada"})
    assert_hidden(reports[0], otp_outbox[0].code, otp_outbox[0].context)


def test_report_of_a_failing_precheck_shows_no_secret(kind, reports):
    code, context = generate_otp(length=12)
    with pytest.raises(RuntimeError):
        kind.send("precheck-breaks", {"otp": code, "context": context})
    assert_hidden(reports[0], code, context)


def test_report_of_a_failing_ledger_shows_no_secret(kind, reports):
    code, context = generate_otp(length=12)
    with override_settings(OTP_LEDGER=f"{__name__}.Broken"), pytest.raises(RuntimeError, match="a bug"):
        kind.send("verify", {"otp": code, "context": context})
    assert_hidden(reports[0], code, context)


@pytest.mark.parametrize("scenario", ["verify", "verify-login"])
def test_refusals_do_not_quote_what_was_sent(kind, scenario):
    code, context = generate_otp(length=12)
    answer = kind.send(scenario, {"otp": "canary-" + code, "context": context})
    assert_refused(answer, "INVALID_OTP", "OTP_ERROR")
    assert "canary" not in answer.content.decode()


class Unreachable(BaseAuthentication):
    """An authentication whose database is down: it fails before the view's door is entered."""

    def authenticate(self, request):
        raise RuntimeError("no database")


def test_report_of_a_failing_authentication_shows_no_secret(reports, monkeypatch):
    code, context = generate_otp(length=12)
    monkeypatch.setattr(APIView, "authentication_classes", [Unreachable])
    view = build("drf_above", "verify")
    request = RequestFactory().post("/", {"otp": code, "context": context})
    with pytest.raises(RuntimeError, match="no database") as caught:
        view(request)
    report = ExceptionReporter(request, caught.type, caught.value, caught.tb)
    assert_hidden(report.get_traceback_text(), code, context)


def test_charset_that_is_slow_to_decode_is_refused_before_it_is_decoded(monkeypatch):
    """Decoding by punycode takes quadratic time."""
    request = RequestFactory().post("/", "otp=1&context=x", "application/x-www-form-urlencoded; charset=punycode")
    monkeypatch.setattr(type(request), "POST", property(lambda self: pytest.fail("was decoded")))
    with pytest.raises(OTPException, match="could not be read"):
        read_data(request)
