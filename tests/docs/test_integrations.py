"""The examples of ``docs/integrations.md``, each against the package or the protocol that it is about."""

import base64
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import django
import pytest
import yaml
from django.core import mail
from django.test import Client

from docs.pages import ROOT, blocks_of
from otp_actions import services, testing
from otp_actions.http.errors import body_of

PAGE = ROOT / "docs/integrations.md"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _broker(monkeypatch):
    monkeypatch.setenv("BROKER_URL", "memory://")


def test_python_runs(run_python):
    run_python(PAGE)


def test_console_runs(run_console):
    run_console(PAGE)


@pytest.fixture
def names(play):
    return play(PAGE)


@pytest.fixture
def ada(django_user_model):
    return django_user_model.objects.create_user("ada", "ada@example.com")


@pytest.fixture
def provider():
    """A server in place of a provider's: what it was sent, and the status that it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.seen.append((self.path, dict(self.headers), body))
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(b'{"ErrorCode": 0, "Message": "OK", "MessageID": "1", "To": "ada@example.com"}')

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def post(rf, view, **fields):
    return view(rf.post("/", json.dumps(fields), content_type="application/json"))


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_own_throttle_refuses_the_sixth_request(names, rf):
    answers = [post(rf, names["request_code"], email=f"{n}@example.com") for n in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert answers[5].data["error_code"] == "OTP_THROTTLED"


def test_ratelimit_refuses_the_sixth_request(names, settings):
    urls = type(json)("shop_limits_urls")
    urls.urlpatterns = [names["path"]("code/", names["request_code_by_ratelimit"])]
    settings.ROOT_URLCONF = urls
    answers = [Client().post("/code/", {"email": f"{n}@example.com"}) for n in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [403]
    assert answers[0].json()["context"].startswith("gAAAAA")


# --- Mail and SMS -----------------------------------------------------------------------------------------------------


def test_mail_goes_through_the_api_of_a_provider(names, settings, provider):
    if django.VERSION >= (6, 1):
        settings.MAILERS = names["MAILERS"]
    else:
        settings.EMAIL_BACKEND = names["MAILERS"]["default"]["BACKEND"]
    settings.ANYMAIL = {**names["ANYMAIL"], "POSTMARK_SERVER_TOKEN": "a-token", "POSTMARK_API_URL": provider.url}
    names["send_code"]("ada@example.com", "123456")
    ((path, headers, body),) = provider.seen
    assert (path, headers["X-Postmark-Server-Token"], body["To"]) == ("/email", "a-token", "ada@example.com")
    assert "123456" in body["TextBody"]
    assert (body["TrackOpens"], body["TrackLinks"]) == (False, "None")


def test_sms_goes_to_the_provider_and_the_code_in_it_is_good(names, settings, provider, monkeypatch, rf):
    settings.SMS_URL = provider.url + "messages"
    monkeypatch.setenv("SMS_TOKEN", "a-token")
    context = post(rf, names["request_sms"]).data["context"]
    ((path, headers, body),) = provider.seen
    assert (path, headers["Authorization"], body["to"]) == ("/messages", "Bearer a-token", "+15550100")
    code = re.match(r"\d{6}", body["text"])[0]
    assert services.verify_otp(code, context, purpose="phone")["identifier"] == "+15550100"


def test_code_of_an_sms_that_was_not_sent_is_worthless(names, settings, provider, rf):
    settings.SMS_URL, provider.status = provider.url, 500
    with testing.capture_otps() as issued:
        answer = post(rf, names["request_sms"])
    assert answer.status_code == 503
    assert "context" not in answer.data
    with pytest.raises(services.OTPRevokedException):
        services.verify_otp(issued[-1].code, issued[-1].context, purpose="phone")


# --- A queue ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def commits(django_capture_on_commit_callbacks):
    """Makes what waits for a commit run."""
    return django_capture_on_commit_callbacks


@pytest.fixture
def queue(names):
    """What lies in the broker: Celery's in-memory one, to which tasks really are sent."""
    app = names["deliver"].app
    with app.connection_for_write() as connection, connection.SimpleQueue("celery") as queue:
        queue.clear()
        yield queue
        queue.clear()


def taken(queue):
    """Take the one message from *queue*: its arguments, and all of it as text."""
    message = queue.get(timeout=1)
    message.ack()
    assert queue.qsize() == 0
    body = message.body if isinstance(message.body, bytes) else message.body.encode()
    everything = json.dumps([message.headers, message.properties], default=str) + body.decode()
    for found in re.findall(r"[A-Za-z0-9+/_-]{16,}={0,2}", everything):  # Whatever is base64, plain.
        everything += base64.urlsafe_b64decode(found[: len(found) // 4 * 4]).decode(errors="replace")
    return message, everything


def ask(queue, rf, names, email, commits):
    with commits(execute=True), testing.capture_otps() as issued:
        context = post(rf, names["request_login"], email=email).data["context"]
    return context, issued


def test_broker_never_holds_the_code_or_the_address(names, queue, ada, rf, commits):
    _, issued = ask(queue, rf, names, ada.email, commits)
    message, everything = taken(queue)
    assert message.headers["task"] == "shop.tasks.deliver"
    assert "gAAAAA" in everything
    assert issued[-1].code not in re.findall(r"\d+", everything)
    assert ada.email not in everything


@pytest.fixture
def _logging_as_it_is():
    """Celery sets up the root logger for good, unless somebody else says to do that."""
    from celery.signals import setup_logging

    def leave_it(**kwargs):
        pass

    setup_logging.connect(leave_it)
    yield
    setup_logging.disconnect(leave_it)


# The page is loaded once for each test, and Celery remembers the task of the first.
@pytest.mark.filterwarnings("ignore::celery.exceptions.DuplicateTaskNameWarning")
@pytest.mark.usefixtures("_logging_as_it_is")
def test_worker_delivers_the_code(names, queue, ada, rf, commits):
    from celery.contrib.testing.worker import start_worker

    context, issued = ask(queue, rf, names, ada.email, commits)
    assert not mail.outbox
    with start_worker(names["deliver"].app, perform_ping_check=False, pool="solo"):
        deadline = time.monotonic() + 20
        while not mail.outbox and time.monotonic() < deadline:
            time.sleep(0.01)
    assert issued[-1].code in mail.outbox[-1].body
    assert services.verify_otp(issued[-1].code, context, purpose="login")["identifier"] == ada.email


def test_unknown_address_is_queued_alike_and_sent_nothing(names, queue, rf, commits):
    context, _ = ask(queue, rf, names, "nobody@example.com", commits)
    assert context.startswith("gAAAAA")
    message, _ = taken(queue)
    names["deliver"](*message.payload[0])
    assert not mail.outbox


def test_message_that_comes_too_late_is_not_sent(names, queue, ada, rf, commits, monkeypatch):
    ask(queue, rf, names, ada.email, commits)
    message, _ = taken(queue)
    later = names["time"].time() + 301
    monkeypatch.setattr(names["time"], "time", lambda: later)
    names["deliver"](*message.payload[0])
    assert not mail.outbox


# --- Tokens -----------------------------------------------------------------------------------------------------------


def test_right_code_is_exchanged_for_tokens_once(names, ada, rf):
    from rest_framework_simplejwt.authentication import JWTAuthentication

    code, context = services.generate_otp(identifier=ada.email, purpose="login")
    wrong = post(rf, names["log_in"], otp=testing.wrong_code(code), context=context)
    assert (wrong.status_code, set(wrong.data)) == (400, {"error", "error_code", "attempts_remaining", "context"})
    right = post(rf, names["log_in"], otp=code, context=context)
    backend = JWTAuthentication()
    assert backend.get_user(backend.get_validated_token(right.data["access"])) == ada
    assert right["Cache-Control"] == "no-store, private"
    assert post(rf, names["log_in"], otp=code, context=context).data["error_code"] == "OTP_USED"


# --- A schema ---------------------------------------------------------------------------------------------------------


def test_schema_shows_what_a_door_reads_and_answers(project):
    for block in blocks_of(PAGE, "python"):
        project.add(block.file, block.text)
    schema = yaml.safe_load(project.run(sys.executable, "manage.py", "spectacular"))
    for path in ("/confirm/", "/confirm-by-class/"):
        operation = schema["paths"][path]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Code"}
        assert set(operation["responses"]) == {"200", "400", "410", "429", "503"}
    assert schema["components"]["schemas"]["Code"]["required"] == ["context", "otp"]
    assert set(schema["components"]["schemas"]["Refusal"]["properties"]) == set(refusal_of_the_door())


def refusal_of_the_door():
    code, context = services.generate_otp()
    with pytest.raises(services.InvalidOTPException) as caught:
        services.verify_otp(testing.wrong_code(code), context)
    return body_of(caught.value)
