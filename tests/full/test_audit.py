"""The audit trail: one row for each thing that happens, through the doors where it happens."""

import json
import logging
from contextlib import suppress
from datetime import datetime, timezone

import pytest
import time_machine
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import DatabaseError, connections, router, transaction
from django.db.models import CharField
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from otp_actions import signals
from otp_actions.__main__ import generate_key
from otp_actions.audit import receivers
from otp_actions.audit.models import OTPEvent
from otp_actions.exceptions import OTPException, OTPUnavailableException
from otp_actions.services import agenerate_otp, averify_otp, generate_otp, revoke_identifier, verify_otp
from otp_actions.signals import Occurrence
from otp_actions.testing import wrong_code

from . import audit_views

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NOW = 1_800_000_000
ADA = "ada@example.com"
LEDGERS = ("database", "process")
COLUMNS = ("event", "outcome", "reason", "purpose")

GENERATED = ("generated", "success", "", "login")
VERIFIED = ("verified", "success", "", "login")


def failed(reason, purpose="login"):
    return ("failed", "refused", reason, purpose)


@pytest.fixture(params=LEDGERS)
def ledger(request, settings, otp_settings):
    """Each ledger, with nothing counted, and a key of the test's own."""
    settings.ROOT_URLCONF = audit_views.__name__
    if request.param == "redis":
        import backends

        settings.OTP_REDIS_URL = request.getfixturevalue("redis_url")
        with backends.redis_client(settings.OTP_REDIS_URL) as client:
            client.flushdb()
    otp_settings(OTP_LEDGER=request.param)
    return request.param


@pytest.fixture(params=["drf", "plain", "async"])
def door(request):
    """A function that sends a body to a door, of each kind."""

    def send(name, body, **more):
        url = f"/{request.param}/{name}/"
        if request.param != "async":
            return Client().post(url, json.dumps(body), content_type="application/json", **more)

        async def asend():
            return await AsyncClient().post(url, json.dumps(body), content_type="application/json", **more)

        return async_to_sync(asend)()

    return send


def rows(*columns):
    return list(OTPEvent.objects.order_by("id").values_list(*(columns or COLUMNS)))


def the_row():
    return OTPEvent.objects.get()


# --- Each event through its door -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", [*LEDGERS, "redis"], indirect=True)
def test_a_challenge_from_asking_to_replay(ledger, door, otp_outbox):
    context = door("ask", {"email": ADA}).json()["context"]
    code = otp_outbox[-1].code
    statuses = [door("confirm", {"otp": otp, "context": context}).status_code for otp in (wrong_code(code), code, code)]
    assert statuses == [400, 200, 410]
    assert rows() == [GENERATED, failed("INVALID_OTP"), VERIFIED, failed("OTP_USED")]
    ((jti, digest),) = set(rows("jti", "identifier"))
    assert len(jti) == 32
    assert len(digest) == 64


def test_attempts_that_run_out(ledger, door, otp_outbox):
    context = door("ask", {"email": ADA}).json()["context"]
    for _ in range(4):
        door("confirm", {"otp": wrong_code(otp_outbox[-1].code), "context": context})
    exhausted = ("exhausted", "refused", "MAX_RETRIES_EXCEEDED", "login")
    assert rows() == [GENERATED, *[failed("INVALID_OTP")] * 3, exhausted]


def test_budget_that_runs_out(ledger, door, otp_outbox, settings):
    settings.OTP_IDENTIFIER_BUDGET = "1/h"
    context = door("ask", {"email": ADA}).json()["context"]
    for _ in range(2):
        door("confirm", {"otp": wrong_code(otp_outbox[-1].code), "context": context})
    assert rows() == [GENERATED, failed("INVALID_OTP"), ("exhausted", "refused", "OTP_THROTTLED", "login")]


def test_revoked_challenge(ledger, door, otp_outbox):
    context = door("ask", {"email": ADA}).json()["context"]
    for _ in range(2):
        assert door("revoke", {"context": context}).status_code == 200
    door("confirm", {"otp": otp_outbox[-1].code, "context": context})
    assert rows() == [GENERATED, ("revoked", "success", "", "login"), failed("OTP_REVOKED")]
    assert len(set(rows("jti", "identifier"))) == 1


def test_revoked_identifier(ledger, door, otp_outbox):
    context = door("ask", {"email": ADA}).json()["context"]
    door("revoke-all", {"email": ADA})
    door("confirm", {"otp": otp_outbox[-1].code, "context": context})
    assert rows() == [GENERATED, ("revoked", "success", "IDENTIFIER", "login"), failed("OTP_REVOKED")]
    (generated, _), (revoked, no_jti), _ = rows("identifier", "jti")
    assert (revoked, no_jti) == (generated, "")


def test_superseded_challenge(ledger, door, otp_outbox):
    context = door("ask", {"email": ADA}).json()["context"]
    code = otp_outbox[-1].code
    newer = door("replace", {"email": ADA}).json()["context"]
    door("confirm", {"otp": code, "context": context})
    door("confirm", {"otp": otp_outbox[-1].code, "context": newer})
    assert rows() == [GENERATED, GENERATED, failed("OTP_REVOKED"), VERIFIED]


def test_decoy(ledger, door):
    context = door("deceive", {"email": ADA}).json()["context"]
    door("confirm", {"otp": "123456", "context": context})
    assert rows() == [("generated", "decoy", "DECOY", "login"), failed("INVALID_OTP")]


def test_context_of_somebody_elses_making(ledger, door):
    door("confirm", {"otp": "123456", "context": "gAAAAABnonsense"})
    assert rows(*COLUMNS, "jti", "identifier", "identifier_digest") == [(*failed("OTP_ERROR", ""), "", "", "")]


def test_context_for_something_else(ledger, door):
    code, context = generate_otp(ADA, purpose="reset")
    door("confirm", {"otp": code, "context": context})
    assert rows() == [("generated", "success", "", "reset"), failed("OTP_ERROR", "reset")]
    assert len(set(rows("jti", "identifier"))) == 1


def test_code_that_is_too_old(ledger, door, otp_outbox, settings):
    with time_machine.travel(NOW, tick=False) as clock:
        context = door("ask", {"email": ADA}).json()["context"]
        for later in (300, 900):
            clock.move_to(NOW + later)
            door("confirm", {"otp": otp_outbox[-1].code, "context": context})
    assert rows() == [GENERATED, failed("OTP_EXPIRED"), failed("SESSION_EXPIRED")]
    times = [(time - datetime.fromtimestamp(NOW, timezone.utc)).total_seconds() for (time,) in rows("time")]
    assert times == [0, 300, 900]


@pytest.mark.parametrize("single_use", [True, False])
def test_every_success_is_recorded_also_where_codes_are_used_again(ledger, door, otp_outbox, settings, single_use):
    settings.OTP_SINGLE_USE = single_use
    context = door("ask", {"email": ADA}).json()["context"]
    fields = {"otp": otp_outbox[-1].code, "context": context}
    for _ in range(2):
        door("confirm", fields)
    assert rows() == [GENERATED, VERIFIED, failed("OTP_USED") if single_use else VERIFIED]


def test_nobody_is_recorded_as_nobody(ledger, door):
    door("ask", {})
    assert rows("identifier", "identifier_digest") == [("", "")]


def test_revoking_an_identifier_under_every_key_of_the_ring_is_one_row(ledger, settings):
    settings.OTP_SIGNING_KEY_FALLBACKS = [generate_key(), generate_key()]
    revoke_identifier(ADA, purpose="login")
    assert rows() == [("revoked", "success", "IDENTIFIER", "login")]


def test_outside_of_a_request_there_is_no_address(ledger):
    code, context = generate_otp(ADA)
    verify_otp(code, context)
    assert rows("ip", "user_agent") == [(None, ""), (None, "")]


@pytest.mark.asyncio
async def test_async_functions_record_too(ledger):
    try:
        code, context = await agenerate_otp(ADA, purpose="login")
        with pytest.raises(OTPException):
            await averify_otp(wrong_code(code), context, purpose="login")
        await averify_otp(code, context, purpose="login")
        events = [event async for event in OTPEvent.objects.order_by("id").values_list(*COLUMNS)]
        assert events == [GENERATED, failed("INVALID_OTP"), VERIFIED]
    finally:
        await sync_to_async(connections.close_all)()  # The thread's; without a request nobody does it.


# --- From where ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", ["database"], indirect=True)  # Written with a mark, and without one.
@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "203.0.113.9"),
        (0, "192.0.2.1", "203.0.113.9"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "192.0.2.66, 192.0.2.1", "192.0.2.1"),
        (1, None, "203.0.113.9"),
        (1, "nonsense", "203.0.113.9"),
        (2, "192.0.2.66, 192.0.2.1, 198.51.100.1", "192.0.2.1"),
        (2, "192.0.2.1", "203.0.113.9"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "::ffff:192.0.2.1", "192.0.2.1"),
        (1, "fe80::1%eth0", "fe80::1"),
    ],
)
def test_address_is_the_one_that_can_be_believed(ledger, settings, proxies, forwarded, address):
    settings.OTP_TRUSTED_PROXY_COUNT = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    client = Client(REMOTE_ADDR="203.0.113.9", headers=headers)
    code, context = generate_otp(ADA, purpose="login")
    for otp in (wrong_code(code), code):
        client.post("/plain/confirm/", json.dumps({"otp": otp, "context": context}), content_type="application/json")
    assert rows("ip")[1:] == [(address,), (address,)]


@pytest.mark.parametrize("ledger", ["database"], indirect=True)  # Written with a mark, and without one.
@pytest.mark.parametrize(
    ("agent", "stored"),
    [
        ("Mozilla/5.0", "Mozilla/5.0"),
        ("x" * 300, "x" * 256),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\ud800", "?"),
        ("\N{PILE OF POO}" * 300, "\N{PILE OF POO}" * 256),
        ("'; DROP TABLE otp_actions_event; --", "'; DROP TABLE otp_actions_event; --"),
        ("%s %(a)s {}", "%s %(a)s {}"),
    ],
)
def test_user_agent_may_be_anything(ledger, agent, stored):
    request = RequestFactory(HTTP_USER_AGENT=agent).post("/")
    code, context = generate_otp(ADA, request=request)
    verify_otp(code, context, request=request)
    assert rows("user_agent") == [(stored,), (stored,)]


# --- Whom ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", ["database"], indirect=True)  # Written with a mark, and without one.
@pytest.mark.parametrize("identifier", ["x" * 1024, "\N{PILE OF POO}" * 256, "a\0b", 42, -(2**63), "ⅷ", ""])
@pytest.mark.parametrize("how", ["digest", "plain"])
def test_identifier_may_be_any_that_a_context_holds(ledger, settings, identifier, how):
    settings.OTP_AUDIT_IDENTIFIERS = how
    purpose = "\N{PILE OF POO}" * 32
    code, context = generate_otp(identifier, purpose=purpose)
    verify_otp(code, context, purpose=purpose)
    plain = str(identifier).replace("\0", "\N{REPLACEMENT CHARACTER}")
    for stored, digest, stored_purpose in rows("identifier", "identifier_digest", "purpose"):
        assert stored == (plain if how == "plain" else digest)
        assert len(digest) == 64
        assert stored_purpose == purpose
    assert len(rows()) == 2


def test_purpose_may_be_anything_a_context_holds(ledger):
    generate_otp(purpose="a\0b")
    assert the_row().purpose == "a\N{REPLACEMENT CHARACTER}b"


def test_digests_of_the_trail_are_none_of_the_ledgers(ledger, settings):
    from otp_actions import conf

    generate_otp(ADA)
    digests = conf.current().keyring.digests
    known = {digests(use, ADA, "", conf.current().rules)[0].hex() for use in ("identifier", "throttle", "network")}
    assert the_row().identifier not in known


# --- With the mark, or after it ---------------------------------------------------------------------------------------


@pytest.fixture
def broken_trail(monkeypatch):
    """A trail that the database refuses, for a reason with a secret in it."""
    field = OTPEvent._meta.get_field("user_agent")
    monkeypatch.setattr(field, "column", "no_such_column")


def confirm(otp, context, *, kind="plain"):
    return Client().post(
        f"/{kind}/confirm/", json.dumps({"otp": otp, "context": context}), content_type="application/json"
    )


@pytest.mark.parametrize("ledger", ["database"], indirect=True)
@pytest.mark.parametrize("kind", ["drf", "plain"])
def test_code_whose_row_cannot_be_written_is_not_accepted(ledger, kind, monkeypatch, caplog):
    code, context = generate_otp(ADA, purpose="login")
    with monkeypatch.context() as patch:
        patch.setattr(OTPEvent._meta.get_field("user_agent"), "column", "no_such_column")
        caplog.clear()
        answer = confirm(code, context, kind=kind)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "OTP_UNAVAILABLE")
        errors = [r for r in caplog.records if r.name == "otp_actions" and r.levelno >= logging.ERROR]
        assert len(errors) == 1, "The ledger's line."
    assert confirm(code, context, kind=kind).status_code == 200
    assert ("verified", "success", "", "login") in rows()


@pytest.mark.parametrize("ledger", ["process", "redis"], indirect=True)
@pytest.mark.parametrize("kind", ["drf", "plain"])
def test_code_whose_row_cannot_be_written_is_accepted_and_logged_once(ledger, kind, broken_trail, caplog):
    with caplog.at_level(logging.ERROR):
        code, context = generate_otp(ADA, purpose="login")
        caplog.clear()
        assert confirm(code, context, kind=kind).status_code == 200
    (line,) = caplog.messages
    assert line.startswith("An otp_verified event is missing in the audit trail: ")
    assert "ada" not in line
    assert code not in line
    assert rows("id") == []


@pytest.mark.parametrize("ledger", ["database"], indirect=True)
def test_row_is_written_in_the_transaction_of_the_mark(ledger, monkeypatch):
    """What fails after the row takes back the row and the mark, and then the code is as good as before."""
    code, context = generate_otp(ADA, purpose="login")
    OTPEvent.objects.all().delete()
    seen = []

    def record(occurrence, connection):
        seen.append((occurrence.event, connection is not connections[connection.alias]))
        return [*receivers.record(occurrence, connection), ("DELETE FROM no_such_table", ())]

    with monkeypatch.context() as patch:
        patch.setattr(signals, "record", record)
        with pytest.raises(OTPUnavailableException):
            verify_otp(code, context, purpose="login")
    assert seen == [("verified", True)]
    assert OTPEvent.objects.filter(event="verified").count() == 0
    OTPEvent.objects.all().delete()
    verify_otp(code, context, purpose="login")
    assert rows() == [VERIFIED]


@pytest.fixture
def trail():
    """The alias of the database that the trail is in. In SQLite not the one that requests are served with."""
    return router.db_for_write(OTPEvent)


@pytest.mark.parametrize("kind", ["drf", "plain"])
@pytest.mark.parametrize("ending", ["wrong", "raising", "right"])
def test_row_lasts_though_the_request_is_rolled_back(ledger, kind, ending, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    code, context = generate_otp(ADA, purpose="login")
    client = Client(raise_request_exception=False)
    url = f"/{kind}/confirm/" if ending != "raising" else f"/{kind}/confirm-and-fail/"
    otp = wrong_code(code) if ending == "wrong" else code
    answer = client.post(url, json.dumps({"otp": otp, "context": context}), content_type="application/json")
    assert answer.status_code == {"wrong": 400, "raising": 500, "right": 200}[ending]
    assert not Group.objects.exists()
    assert rows() == [GENERATED, failed("INVALID_OTP") if ending == "wrong" else VERIFIED]


def test_row_lasts_though_a_block_around_it_is_rolled_back(ledger, engine, trail):
    code, context = generate_otp(ADA, purpose="login")
    with transaction.atomic(using=trail):
        with pytest.raises(OTPException):
            verify_otp(wrong_code(code), context, purpose="login")
        transaction.set_rollback(True, using=trail)
    # Another connection to the same SQLite file would have to wait for the end of the block: see docs/audit.md.
    assert rows() == [GENERATED] + [failed("INVALID_OTP")] * (engine != "sqlite")


def test_row_that_cannot_be_written_leaves_the_callers_transaction_alone(ledger, broken_trail, trail, caplog):
    with transaction.atomic(), transaction.atomic(using=trail):
        Group.objects.create(name="before")
        generate_otp(ADA)
        Group.objects.create(name="after")
        assert rows("id") == []
    assert Group.objects.count() == 2
    assert [line for line in caplog.messages if "is missing in the audit trail" in line]


@pytest.mark.django_db(transaction=False, databases="__all__")
def test_row_that_cannot_be_written_leaves_a_testcase_alone(ledger, broken_trail):
    Group.objects.create(name="before")
    generate_otp(ADA)
    Group.objects.create(name="after")
    assert Group.objects.count() == 2
    assert rows("id") == []


@pytest.mark.django_db(transaction=False, databases="__all__")
@pytest.mark.parametrize("time", [1, 2])
def test_rows_of_a_testcase_are_undone_with_it(ledger, time):
    generate_otp(ADA)
    assert len(rows()) == 1


def test_transaction_that_is_broken_already_costs_no_more_than_the_row(ledger, engine, trail, caplog):
    with transaction.atomic(using=trail):
        with suppress(DatabaseError), connections[trail].cursor() as cursor:
            cursor.execute("SELECT no_such_column")
        transaction.set_rollback(True, using=trail)
        generate_otp(ADA)
    lost = engine == "sqlite"
    assert len(rows()) == (not lost)
    assert len([line for line in caplog.messages if "is missing in the audit trail" in line]) == lost


def test_without_a_transaction_the_row_is_one_statement(ledger, trail):
    with CaptureQueriesContext(connections[trail]) as captured:
        generate_otp(ADA)
    assert [query["sql"][:11] for query in captured] == ["INSERT INTO"]


# --- The table -------------------------------------------------------------------------------------------------------


def test_row_is_written_where_the_router_says(ledger, settings):
    generate_otp(ADA)
    assert OTPEvent.objects.using(router.db_for_write(OTPEvent)).count() == 1


@pytest.mark.parametrize("use_tz", [True, False])
def test_time_is_right_with_and_without_time_zones(ledger, settings, use_tz):
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Kathmandu"
    for alias in connections:
        connections[alias].close()
        for cached in ("timezone", "timezone_name"):
            connections[alias].__dict__.pop(cached, None)
    try:
        generate_otp(ADA, now=NOW)
        time = the_row().time
        assert time.timestamp() == NOW if use_tz else time == datetime(2027, 1, 15, 13, 45)
    finally:
        for alias in connections:
            connections[alias].close()


def test_nothing_that_can_occur_is_too_long_for_its_column():
    from otp_actions import _core, exceptions

    size = {field.name: field.max_length for field in OTPEvent._meta.fields if isinstance(field, CharField)}
    codes = [getattr(exceptions, name).code for name in exceptions.__all__]
    assert max(map(len, [*codes, "IDENTIFIER", "DECOY"])) <= size["reason"]
    assert size["purpose"] == _core.MAX_PURPOSE_SIZE
    assert size["identifier"] == _core.MAX_IDENTIFIER_SIZE
    assert {*OTPEvent.Event.values} == set(signals._EVENTS)


def test_retention(ledger, settings, capsys):
    with time_machine.travel(NOW, tick=False) as clock:
        for age in (91, 90, 89, 0):
            generate_otp(ADA, now=NOW - age * 86400 - 1)
        call_command("otp_purge", "--dry-run")
        assert len(rows()) == 4
        call_command("otp_purge")
        assert [(NOW - int(time.timestamp())) // 86400 for (time,) in rows("time")] == [89, 0]
        settings.OTP_AUDIT_RETENTION = None
        clock.move_to(NOW + 10**9)
        call_command("otp_purge")
        assert len(rows()) == 2


def test_receivers_are_connected_once():
    receivers.connect()
    assert [len(signal.receivers) for signal in (signal for signal, _ in signals._EVENTS.values())] == [1] * 5


def test_recorded_occurrence_is_not_written_again(ledger):
    occurrence = Occurrence("verified", "", ADA, "", "0" * 32, None, "", NOW, recorded=True)
    signals.tell(occurrence, None)
    assert rows() == []
