"""Every Python block of the document that describes the older release runs as it was written.

The blocks stand, word for word, in ``seed_000.md``. What they leave undefined (``env``, ``send_email``...) is supplied
here; nothing in them is changed. Their views are driven over a real HTTP server.
"""

import contextlib
import http.client
import io
import json
import re
import sys
import types
import unittest
from functools import wraps
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.core.mail import send_mail
from django.test import override_settings
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response

from otp_actions.conf import SettingError
from otp_actions.decorators import otp_protected, otp_verified
from otp_actions.exceptions import InvalidOTPException
from otp_actions.services import decrypt_context, generate_otp, verify_otp
from otp_actions.testing import otp_settings, wrong_code

DOCUMENT = (Path(__file__).parent / "seed_000.md").read_text(encoding="utf-8")
BLOCKS = {
    heading: (language, text)
    for heading, language, text in re.findall(
        r"^#+ ([^\n]+)\n\n```(\w+)\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE
    )
}


def run(heading, **names):
    """Execute the Python block under *heading* with *names* defined, and return its namespace."""
    language, text = BLOCKS[heading]
    assert language == "python"
    namespace = {"__name__": "seed_000", **names}
    exec(compile(text, f"seed 000, {heading}", "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def _fresh():
    with otp_settings():
        yield


class Site:
    """A client of a live server whose URLs can be set."""

    def __init__(self, live_server):
        self.host, self.port = live_server.thread.host, live_server.thread.port

    def post(self, url, fields):
        """Send *fields* as JSON. Return status, body and headers."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request("POST", url, json.dumps(fields), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body.startswith(b"{") else body, answer.headers
        finally:
            connection.close()


@pytest.fixture
def site(request, transactional_db):
    """A live server's client."""
    # Django's live server wants to serve static files, too; it reads where from when it starts.
    with override_settings(STATIC_URL="/static/", MEDIA_URL="/media/"):
        return Site(request.getfixturevalue("live_server"))


@contextlib.contextmanager
def serving(**views):
    """Route ``/api/<name>/`` to each view."""
    routes = tuple(path(f"api/{name.replace('_', '-')}/", view) for name, view in views.items())
    with override_settings(ROOT_URLCONF=routes):
        yield


def test_every_python_block_is_run():
    """Each heading with Python under it is named by a test of this file."""
    source = Path(__file__).read_text(encoding="utf-8")
    python = [heading for heading, (language, _) in BLOCKS.items() if language == "python"]
    assert len(python) == DOCUMENT.count("```python\n") == 10
    assert [heading for heading in python if f'"{heading}"' not in source] == []


# --- Configuration ---------------------------------------------------------------------------------------------------


def configured(key):
    """Run the settings block with *key* in the environment, and return the settings it makes."""
    made = run("Configuration", env={"OTP_SIGNING_KEY": key}.__getitem__)
    return {name: value for name, value in made.items() if name.isupper()}


def printed_by(heading):
    """Run the ``python -c "..."`` in the block under *heading*, and return what it prints."""
    command = re.search(r'python -c "(.*?)"', BLOCKS[heading][1])[1]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(command, {})
    return out.getvalue().strip()


def test_settings_block_configures_the_package(settings):
    made = configured(printed_by("Generate a Test Key"))
    assert set(made.pop("INSTALLED_APPS")) <= set(settings.INSTALLED_APPS)
    with override_settings(**made):
        code, context = generate_otp(identifier="ada")
        sealed = decrypt_context(context)
        assert len(code) == 6
        assert sealed["otp_expiry"] - sealed["timestamp"] == 300
        assert sealed["session_expiry"] - sealed["timestamp"] == 900
        assert sealed["max_retries"] == 3
        assert verify_otp(code, context)["identifier"] == "ada"


def test_defaults_are_those_of_the_settings_block(settings):
    names = [name for name in configured("") if name not in ("INSTALLED_APPS", "OTP_SIGNING_KEY")]
    assert len(names) == 4
    assert not any(hasattr(settings, name) for name in names)
    code, context = generate_otp()
    sealed = decrypt_context(context)
    made = configured("")
    assert len(code) == made["OTP_DEFAULT_LENGTH"]
    assert sealed["max_retries"] == made["OTP_DEFAULT_MAX_RETRIES"]
    assert sealed["otp_expiry"] - sealed["timestamp"] == made["OTP_EXPIRY_SECONDS"]
    assert sealed["session_expiry"] - sealed["timestamp"] == made["OTP_SESSION_EXPIRY_SECONDS"]


def test_key_as_the_settings_comment_prints_it_gets_an_error_that_says_what_is_wrong():
    """``print(Fernet.generate_key())`` prints ``b'...'``; that is what people paste."""
    comment = re.search(r'python -c "(.*?)"', BLOCKS["Configuration"][1])[1]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(comment, {})
    pasted = out.getvalue().strip()
    assert pasted.startswith("b'")
    with override_settings(OTP_SIGNING_KEY=pasted), pytest.raises(SettingError, match=r"Remove the leading b"):
        generate_otp()
    with override_settings(OTP_SIGNING_KEY=pasted[2:-1]):
        generate_otp()


def test_key_storage_block(monkeypatch):
    key = Fernet.generate_key().decode()
    cloud = types.ModuleType("google.cloud")
    cloud.secretmanager = types.ModuleType("google.cloud.secretmanager")
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.cloud", cloud)
    made = run("3. Secure Key Storage", env=lambda name: "from env", get_secret=lambda name: key)
    with override_settings(OTP_SIGNING_KEY=made["OTP_SIGNING_KEY"]):
        code, context = generate_otp()
        verify_otp(code, context)
    with override_settings(OTP_SIGNING_KEY=b"gAAAAABl..."), pytest.raises(SettingError, match="generate-key"):
        generate_otp()


# --- Quick start and mixins: request -> wrong -> right -> replay ------------------------------------------------------


def exchange(site, sent, *, request, verify):
    """Drive one whole exchange, and check each answer."""
    with serving(request_otp=request, verify_otp=verify):
        status, body, headers = site.post("/api/request-otp/", {"email": "ada@example.com"})
        assert (status, body["message"], headers["Cache-Control"]) == (
            200,
            "OTP sent successfully",
            "no-store, private",
        )
        context = body["context"]
        ((to, message),) = sent
        code = re.search(r"\d{6}$", message)[0]
        assert to == "ada@example.com"

        status, body, headers = site.post("/api/verify-otp/", {"otp": wrong_code(code), "context": context})
        assert (status, headers["Cache-Control"]) == (400, "no-store, private")
        documented = json.loads(BLOCKS["Updated Context on Invalid OTP"][1])
        assert set(documented) <= set(body)
        assert (body["error"], body["error_code"]) == (documented["error"], documented["error_code"])
        assert body["context"].startswith("gAAAAA")

        right = {"otp": code, "context": body["context"]}
        status, body, _ = site.post("/api/verify-otp/", right)
        assert (status, body) == (200, {"status": "verified", "identifier": "ada@example.com"})

        for replayed in (right, {**right, "context": context}):
            status, body, _ = site.post("/api/verify-otp/", replayed)
            assert (status, body["error_code"]) == (410, "OTP_USED")

        status, body, _ = site.post("/api/verify-otp/", {"otp": code})
        assert (status, body["error_code"]) == (400, "MISSING_FIELDS")


def test_function_based_views(site):
    sent = []
    request = run(
        "1. Generate OTP (Function-Based View)", send_email=lambda to, subject, message: sent.append((to, message))
    )
    verify = run("2. Verify OTP (Function-Based View)")
    exchange(site, sent, request=request["request_otp"], verify=verify["verify_otp"])


def test_class_based_views(site):
    sent = []
    request = run("OTPProtectedMixin", send_sms=lambda to, message: sent.append((to, message)))
    verify = run("OTPVerifiedMixin")
    exchange(site, sent, request=request["RequestOTPView"].as_view(), verify=verify["VerifyOTPView"].as_view())


def test_get_passes_the_verified_mixin_without_a_code(client):
    """As the note under the mixin says."""

    class View(run("OTPVerifiedMixin")["VerifyOTPView"]):
        def get(self, request):
            return Response({"verified": request.otp_verified, "context": request.otp_context})

    with serving(verify_otp=View.as_view()):
        assert client.get("/api/verify-otp/").json() == {"verified": False, "context": None}
        for method in (client.post, client.put, client.patch, client.delete):
            assert method("/api/verify-otp/", {}, content_type="application/json").status_code in (400, 405)


# --- Password reset --------------------------------------------------------------------------------------------------


def request_password_reset(site, email):
    """Do as ``requestPasswordReset`` of the client-side block does."""
    return site.post("/api/request-password-reset/", {"email": email})[1]["context"]


def verify_and_reset_password(site, initial_context, user_otp, new_password, prompt):
    """Do as ``verifyAndResetPassword`` of the client-side block does. Return success, and what was shown."""
    context, shown = initial_context, []
    while context:
        status, data, _ = site.post(
            "/api/reset-password/", {"otp": user_otp, "context": context, "new_password": new_password}
        )
        if status < 300:
            return True, shown
        shown.append(data["error"])
        if data["error_code"] != "INVALID_OTP":
            break
        context = data["context"]
        user_otp = prompt(data["error"])
        if not user_otp:
            break
    return False, shown


@pytest.fixture
def reset(site):
    """The two views of the complete example, served, and a user."""
    views = run("Backend Implementation")
    with serving(request_password_reset=views["request_password_reset"], reset_password=views["reset_password"]):
        yield User.objects.create_user("ada", "ada@example.com", "old password")


def mailed_code():
    """Return the code in the last mail."""
    return re.search(r"code is: (\d{6})\n\nThis code expires in 5 minutes\.", mail.outbox[-1].body)[1]


def test_password_reset_with_two_typing_errors(site, reset):
    context = request_password_reset(site, reset.email)
    assert mail.outbox[-1].to == [reset.email]
    code = mailed_code()
    typed = iter([wrong_code(code), code])
    success, shown = verify_and_reset_password(site, context, "000", "new password", lambda _: next(typed))
    assert success
    assert shown == ["Invalid OTP. Attempts remaining: 2", "Invalid OTP. Attempts remaining: 1"]
    reset.refresh_from_db()
    assert reset.check_password("new password")

    success, shown = verify_and_reset_password(site, context, code, "stolen", lambda _: None)
    assert (success, shown) == (False, ["OTP has already been used. Please request a new OTP."])
    reset.refresh_from_db()
    assert reset.check_password("new password")


def test_password_reset_gives_up_when_the_attempts_are_used_up(site, reset):
    context = request_password_reset(site, reset.email)
    code = mailed_code()
    success, shown = verify_and_reset_password(site, context, wrong_code(code), "x", lambda _: wrong_code(code))
    assert not success
    assert [text[-1] for text in shown[:3]] == ["2", "1", "0"]
    assert shown[3:] == ["Maximum retry attempts (3) exceeded. Please request a new OTP code."]
    # The first context, sent again with the right code, buys nothing.
    success, shown = verify_and_reset_password(site, context, code, "x", lambda _: None)
    assert (success, len(shown)) == (False, 1)
    reset.refresh_from_db()
    assert reset.check_password("old password")


def test_password_reset_of_an_unknown_address_sends_no_mail(site, reset):
    assert request_password_reset(site, "eve@example.com") is None
    assert not mail.outbox
    status, body, _ = site.post("/api/reset-password/", {"otp": "123456", "context": None, "new_password": "x"})
    assert (status, body["error_code"]) == (400, "MISSING_FIELDS")


# --- Rate limit ------------------------------------------------------------------------------------------------------


@pytest.fixture
def _ratelimit(monkeypatch):
    """A stand-in for django-ratelimit, which is not installed; it really limits."""

    def ratelimit(key, rate, method):
        assert key == "ip"
        allowed, seen = int(rate.split("/")[0]), {}

        def decorator(view):
            @wraps(view)
            def limiter(request, *args, **kwargs):
                if request.method == method:
                    address = request.META["REMOTE_ADDR"]
                    seen[address] = seen.get(address, 0) + 1
                    if seen[address] > allowed:
                        raise PermissionDenied
                return view(request, *args, **kwargs)

            return limiter

        return decorator

    package, decorators = types.ModuleType("django_ratelimit"), types.ModuleType("django_ratelimit.decorators")
    decorators.ratelimit = ratelimit
    monkeypatch.setitem(sys.modules, "django_ratelimit", package)
    monkeypatch.setitem(sys.modules, "django_ratelimit.decorators", decorators)


@pytest.mark.usefixtures("_ratelimit")
def test_rate_limit_block(client):
    # The block's view is `pass`; api_view, which the block does not import, is told to answer for it.
    def answering(methods):
        return lambda view: api_view(methods)(lambda request: Response({"returned": view(request)}))

    view = run("1. Rate Limiting (Critical!)", api_view=answering)["request_otp"]
    with serving(request_otp=view):
        answers = [client.post("/api/request-otp/") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [403] * 2
    assert answers[0].json() == {"returned": None}


@pytest.mark.usefixtures("_ratelimit")
@pytest.mark.parametrize("door", [otp_protected, otp_verified])
def test_rate_limit_between_a_door_and_its_view_is_kept(client, door):
    ratelimit = sys.modules["django_ratelimit.decorators"].ratelimit

    @door
    @ratelimit(key="ip", rate="5/h", method="POST")
    @api_view(["POST"])
    def view(request):
        return Response({})

    with serving(view=view):
        statuses = []
        for _ in range(7):
            code, context = generate_otp()
            answer = client.post("/api/view/", {"otp": code, "context": context}, content_type="application/json")
            statuses.append(answer.status_code)
    assert statuses == [200] * 5 + [403] * 2


# --- Delivery and tests ----------------------------------------------------------------------------------------------


def test_delivery_block(monkeypatch):
    sent = []

    class Client:
        def __init__(self, account_sid, auth_token):
            self.messages = types.SimpleNamespace(create=lambda **message: sent.append(message))

    package, rest = types.ModuleType("twilio"), types.ModuleType("twilio.rest")
    rest.Client = Client
    monkeypatch.setitem(sys.modules, "twilio", package)
    monkeypatch.setitem(sys.modules, "twilio.rest", rest)
    made = run("4. OTP Delivery", account_sid="sid", auth_token="token", send_mail=send_mail)
    code, _ = generate_otp()
    made["send_otp_sms"]("+4930123456", code)
    made["send_otp_email"]("ada@example.com", code)
    assert sent == [{"to": "+4930123456", "from_": "+1234567890", "body": f"Your verification code is: {code}"}]
    assert mail.outbox[0].body.startswith(f"Your code: {code}")


@pytest.mark.django_db
def test_test_case_block_passes():
    case = run("Example Test", InvalidOTPException=InvalidOTPException)["OTPTestCase"]
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun == 2
    assert result.wasSuccessful(), result.failures + result.errors
