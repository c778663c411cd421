"""What an answer, or an error report, must not tell."""

import importlib
import re
import sys

import django
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.core.signals import got_request_exception
from django.test import RequestFactory, override_settings
from django.views.debug import ExceptionReporter
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view
from rest_framework.response import Response
from rest_framework.views import APIView

from otp_actions.decorators import otp_verified
from otp_actions.exceptions import OTPException
from otp_actions.http.errors import OTPAPIException
from otp_actions.http.fields import read_data
from otp_actions.ledgers import Ledger
from otp_actions.services import generate_decoy, generate_otp, verify_otp
from otp_actions.testing import wrong_code

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


# --- Django's error reports ------------------------------------------------------------------------------------------


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


# --- Reports of async views: a coroutine's frames know nothing of what was put around it -----------------------------


ASYNC_ISSUING = {
    "mixin": """
class Page(OTPProtectedMixin, View):
    async def post(self, request):
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
view = Page.as_view()
""",
    "decorated dispatch": """
@method_decorator(otp_protected, name="dispatch")
class Page(View):
    async def post(self, request):
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
view = Page.as_view()
""",
    "decorated method": """
class Page(View):
    @method_decorator(otp_protected)
    async def post(self, request):
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
view = Page.as_view()
""",
    "decorated view": """
class Page(View):
    async def post(self, request):
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
view = otp_protected(csrf_exempt(Page.as_view()))
""",
}

if django.VERSION < (5, 2):  # Whose method_decorator() knows nothing of async methods.
    del ASYNC_ISSUING["decorated method"]

ASYNC_ISSUING["partial"] = """
async def post(prefix, request):
    code, context = await request.agenerate_otp(identifier="ada", length=12)
    await fail()
view = otp_protected(partial(post, "a"))
"""
ASYNC_ISSUING["callable object"] = """
class Page:
    _is_coroutine_mark = True
    async def __call__(self, request):
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
def post():
    pass
page = Page()
markcoroutinefunction(page)
view = otp_protected(page)
"""
ASYNC_ISSUING["catch-all"] = """
class Page(OTPProtectedMixin, View):
    async def get(self, request):
        return HttpResponse()
    async def http_method_not_allowed(self, request):
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
view = Page.as_view()
"""
ASYNC_PRECHECK = {
    "decorator": """
async def precheck(request):
    otp, context = request.POST["otp"], request.POST["context"]
    await fail()
@otp_verified(precheck=precheck)
async def view(request):
    return HttpResponse()
""",
    "mixin": """
async def check(request):
    otp, context = request.POST["otp"], request.POST["context"]
    await fail()
class Page(OTPVerifiedMixin, View):
    otp_precheck = staticmethod(check)
    async def post(self, request):
        return HttpResponse()
view = Page.as_view()
""",
    "sync view": """
async def precheck(request):
    otp, context = request.POST["otp"], request.POST["context"]
    await fail()
@otp_verified(precheck=precheck)
def view(request):
    return HttpResponse()
""",
}


def load(tmp_path, monkeypatch, source):
    """Return the view of a file of its own: what Django hides in coroutines, it knows by file and line."""
    head = """
from functools import partial
from asgiref.sync import markcoroutinefunction
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from otp_actions.decorators import otp_protected, otp_verified
from otp_actions.mixins import OTPProtectedMixin, OTPVerifiedMixin
async def fail():
    raise ValueError("no mail server")
"""
    name = f"page_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(head + source)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name).view


def report_of(view, request):
    """Return what Django would mail of the exception that *view* raises."""
    if iscoroutinefunction(view):
        view = async_to_sync(view)
    with pytest.raises(ValueError, match="no mail server") as caught:
        view(request)
    return ExceptionReporter(request, caught.type, caught.value, caught.tb).get_traceback_html()


@pytest.mark.parametrize("name", ASYNC_ISSUING)
def test_report_of_an_async_view_shows_no_code(name, tmp_path, monkeypatch, otp_outbox):
    view = load(tmp_path, monkeypatch, ASYNC_ISSUING[name])
    report = report_of(view, RequestFactory().post("/"))
    assert_hidden(report, otp_outbox[0].code, otp_outbox[0].context)


@pytest.mark.parametrize(
    "source",
    [
        """
class Page(OTPProtectedMixin, View):
    @sensitive_variables("password")
    async def post(self, request):
        password = "canary"
        code, context = await request.agenerate_otp(identifier="ada", length=12)
        await fail()
view = Page.as_view()
""",
        """
@otp_protected
@sensitive_variables("password")
async def view(request):
    password = "canary"
    code, context = await request.agenerate_otp(identifier="ada", length=12)
    await fail()
""",
        """
@otp_protected
@sensitive_variables()
async def view(request):
    password = secret = "canary"
    code, context = await request.agenerate_otp(identifier="ada", length=12)
    await fail()
""",
    ],
)
def test_what_an_async_view_hides_itself_stays_hidden(source, tmp_path, monkeypatch, otp_outbox):
    head = "from django.views.decorators.debug import sensitive_variables\n"
    report = report_of(load(tmp_path, monkeypatch, head + source), RequestFactory().post("/"))
    # The text of the line is shown, the value is not.
    variables = re.findall(r'<td class="code"><pre>(.*?)</pre>', report)
    assert not [value for value in variables if "canary" in value]
    assert otp_outbox[0].code not in report
    assert otp_outbox[0].context not in report


@pytest.mark.parametrize("name", ASYNC_PRECHECK)
def test_report_of_an_async_precheck_shows_no_code(name, tmp_path, monkeypatch):
    view = load(tmp_path, monkeypatch, ASYNC_PRECHECK[name])
    code, context = generate_otp(length=12)
    report = report_of(view, RequestFactory().post("/", {"otp": code, "context": context}))
    assert_hidden(report, code, context)


def test_report_shows_no_secret_where_the_view_names_sensitive_parameters_itself():
    def fails(request):
        raise ValueError("no mail server")

    @otp_verified(precheck=fails)
    @sensitive_post_parameters("password")
    @api_view(["POST"])
    def view(request):
        return Response()

    code, context = generate_otp(length=12)
    request = RequestFactory().post("/", {"otp": code, "context": context, "password": "canary", "note": "seen"})
    with pytest.raises(ValueError, match="no mail server") as caught:
        view(request)
    for text in ("get_traceback_html", "get_traceback_text"):
        report = getattr(ExceptionReporter(request, caught.type, caught.value, caught.tb.tb_next), text)()
        assert_hidden(report, code, context)
        assert "seen" in report


# --- Logs of the project's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["%s", "%r"])
def test_text_of_what_an_exception_handler_is_given_has_no_context(form):
    code, context = generate_otp()
    with pytest.raises(OTPException) as caught:
        verify_otp(wrong_code(code), context)
    text = form % OTPAPIException(caught.value)
    assert "Attempts remaining: 2" in text
    assert "gAAAA" not in text
    assert caught.value.new_context in OTPAPIException(caught.value).detail["context"]
