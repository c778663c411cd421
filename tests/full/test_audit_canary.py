"""A code, a context and a key are in no table, no log record, no page of the admin and no page of an error."""

import json
import logging

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

import backends
from otp_actions.audit.models import OTPEvent
from otp_actions.services import generate_otp
from otp_actions.testing import wrong_code

from . import audit_views

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

ADA = "ada@example.com"


@pytest.fixture
def canaries():
    """The secrets of a test: name by text. Codes have 12 digits, which occur nowhere by chance."""
    return {}


@pytest.fixture(params=["database", "process", "redis"])
def ledger(request, settings, otp_settings, canaries, redis_url):
    otp_settings(
        OTP_LEDGER=request.param,
        OTP_DEFAULT_LENGTH=12,
        TIME_ZONE="UTC",  # See docs/audit.md.
        OTP_REDIS_URL=redis_url,
        OTP_IDENTIFIER_BUDGET="5/h",
        OTP_IP_BUDGET="100/h",
        ROOT_URLCONF=audit_views.__name__,
    )
    with backends.redis_client(redis_url) as client:
        client.flushdb()
    canaries[settings.OTP_SIGNING_KEY] = "the signing key"
    return request.param


@pytest.fixture
def records():
    """Every record of every logger, at DEBUG."""
    collected = []

    class Collector(logging.Handler):
        def emit(self, record):
            collected.append(record)

    collector = Collector()
    loggers = [logging.root, *(found for found in logging.root.manager.loggerDict.values() if hasattr(found, "level"))]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
        if logger is logging.root or not logger.propagate:
            logger.addHandler(collector)
    yield collected
    for logger, level, disabled in before:
        logger.setLevel(level)
        logger.disabled = disabled
        logger.removeHandler(collector)


def exchange(canaries):
    """Go through everything that can happen to a code; return the pages of errors."""
    client = Client(raise_request_exception=False, REMOTE_ADDR="192.0.2.1", headers={"User-Agent": "Canary/1.0"})
    pages = []

    def send(url, **body):
        answer = client.post(url, json.dumps(body), content_type="application/json")
        if answer["Content-Type"].startswith("application/json"):
            if context := answer.json().get("context"):
                canaries[context] = "a context"
            return answer.status_code, answer.json().get("context", body.get("context"))
        pages.append(answer.content.decode())
        return answer.status_code, body.get("context")

    def issue(url="/plain/ask/"):
        _, context = send(url, email=ADA)
        return context

    for kind in ("drf", "plain"):
        for ending in ("confirm", "confirm-and-fail"):
            code, context = generate_otp(ADA, purpose="login", metadata={"note": "0123456789ab"})
            canaries.update({code: "a code", wrong_code(code): "a wrong code", context: "a context"})
            status, context = send(f"/{kind}/confirm/", otp=wrong_code(code), context=context)
            assert status == 400
            status, _ = send(f"/{kind}/{ending}/", otp=code, context=context)
            assert status == (200 if ending == "confirm" else 500)
            assert send(f"/{kind}/confirm/", otp=code, context=context)[0] == 410
        context = issue(f"/{kind}/deceive/")
        canaries["135792468013"] = "a guess"
        for _ in range(6):
            _, context = send(f"/{kind}/confirm/", otp="135792468013", context=context)
        send(f"/{kind}/confirm/", otp="135792468013", context="gAAAAA" + "canary" * 20)
        canaries["canary" * 20] = "a context of somebody else's"
        send(f"/{kind}/revoke/", context=issue(f"/{kind}/ask/"))
        issue(f"/{kind}/replace/")
        send(f"/{kind}/revoke-all/", email=ADA)
    assert len(pages) == 2
    return pages


def tables():
    """Every row of every table of every database."""
    for connection in connections.all():
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                yield from ((table, row) for row in cursor.fetchall())


def shape(value):
    """The text of *value*, also of bytes, as they are and in hexadecimal."""
    if isinstance(value, (bytes, memoryview)):
        raw = bytes(value)
        return f"{raw!r} {raw.hex()} {raw.decode('latin-1')}"
    return str(value)


def found(canaries, text):
    return {name for canary, name in canaries.items() if canary in text}


@pytest.mark.parametrize("how", ["digest", "plain"])
def test_secrets_are_nowhere(ledger, settings, canaries, records, how, redis_url):
    settings.OTP_AUDIT_IDENTIFIERS = how
    settings.DEBUG = True  # Django then logs each statement with its parameters, and shows errors with every variable.
    pages = exchange(canaries)
    settings.DEBUG = False

    events = set(OTPEvent.objects.values_list("event", flat=True))
    assert events == {"generated", "verified", "failed", "exhausted", "revoked"}
    for page in pages:
        assert "after writing" in page
        assert not found(canaries, page)

    rows = list(tables())
    assert {"otp_actions_event", "otp_actions_ledger"} <= {table for table, _ in rows} or ledger != "database"
    for table, row in rows:
        if table == "otp_actions_event":
            assert how == "plain" or ADA not in str(row)
        assert not found(canaries, " ".join(map(shape, row))), table

    with backends.redis_client(redis_url) as client:
        dump = [(key, client.get(key)) for key in client.scan_iter()]
        assert bool(dump) == (ledger == "redis")
        for pair in dump:
            text = " ".join(map(shape, pair))
            assert not found({**canaries, ADA: "an identifier"}, text)

    statements = sum(record.name == "django.db.backends" for record in records)
    assert statements > 10
    told = [record for record in records if record.name == "otp_actions"]
    assert {record.otp_event for record in told} == events
    for record in records:
        text = f"{logging.Formatter().format(record)} {record.__dict__}"
        assert not found(canaries, text), record.name
        assert record.name != "otp_actions" or ADA not in text


def test_secrets_are_on_no_page_of_the_admin(ledger, canaries):
    exchange(canaries)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    code, context = generate_otp(ADA, purpose="login")
    canaries.update({code: "a code", context: "a context"})
    url = "/admin/otp_actions_audit/otpevent/"
    pages = [client.get(url), client.get(url, {"q": ADA}), client.get(url, {"event__exact": "failed"})]
    each = {event.event + event.reason: event.pk for event in OTPEvent.objects.all()}
    pages += [client.get(f"{url}{pk}/change/") for pk in each.values()]
    for page in pages:
        assert page.status_code == 200
        assert not found(canaries, page.content.decode())
    # What somebody types is on the page, and nothing is found by it.
    for secret in (code, context):
        page = client.get(url, {"q": secret})
        assert list(page.context["cl"].result_list) == []
