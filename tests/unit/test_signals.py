"""Signals and log records: what happened, to whom, from where; and never a secret."""

import logging
import threading

import pytest
from django.test import RequestFactory

from otp_actions import signals
from otp_actions.exceptions import OTPException
from otp_actions.services import (
    averify_otp,
    decrypt_context,
    generate_decoy,
    generate_otp,
    increment_retry_count,
    revoke_identifier,
    revoke_otp,
    verify_otp,
)
from otp_actions.testing import fresh_ledger, wrong_code

NOW = 1_800_000_000
ALL = [
    signals.otp_generated,
    signals.otp_verified,
    signals.otp_failed,
    signals.otp_exhausted,
    signals.otp_revoked,
]


@pytest.fixture(autouse=True)
def _fresh(otp_settings):
    pass


@pytest.fixture
def heard():
    """Collect (occurrence, request) of every signal."""
    collected = []

    def receiver(sender, occurrence, request, **kwargs):
        collected.append((occurrence, request))

    for signal in ALL:
        signal.connect(receiver)
    yield collected
    for signal in ALL:
        signal.disconnect(receiver)


def refused(call):
    with pytest.raises(OTPException):
        call()


def test_each_thing_that_happens_is_told_once(heard):
    code, context = generate_otp("ada", purpose="login", max_retries=2, now=NOW)
    refused(lambda: verify_otp(wrong_code(code), context, purpose="login", now=NOW + 1))
    verify_otp(code, context, purpose="login", now=NOW + 2)
    refused(lambda: verify_otp(code, context, purpose="login", now=NOW + 3))
    refused(lambda: verify_otp(code, context, purpose="reset", now=NOW + 4))
    refused(lambda: verify_otp(code, "gAAAAA", purpose="login", now=NOW + 5))
    told = [(o.event, o.reason, o.identifier, o.purpose, o.time - NOW) for o, _ in heard]
    assert told == [
        ("generated", "", "ada", "login", 0),
        ("failed", "INVALID_OTP", "ada", "login", 1),
        ("verified", "", "ada", "login", 2),
        ("failed", "OTP_USED", "ada", "login", 3),
        ("failed", "OTP_ERROR", "ada", "login", 4),
        ("failed", "OTP_ERROR", None, "", 5),
    ]
    assert len({o.jti for o, _ in heard[:5]}) == 1
    assert len(heard[0][0].jti) == 32
    assert heard[5][0].jti == ""


def test_what_is_refused_before_a_code_is_judged_is_not_told(heard, settings):
    settings.OTP_PROCESS_LEDGER_SIZE = 1
    with fresh_ledger():
        increment_retry_count(generate_otp(now=NOW)[1], now=NOW)
        code, context = generate_otp(now=NOW)
        refused(lambda: verify_otp(code, context, now=NOW))
        refused(lambda: increment_retry_count(context, now=NOW))
    refused(lambda: verify_otp(code, "", now=NOW))
    refused(lambda: verify_otp("", context, now=NOW))
    assert [o.event for o, _ in heard] == ["generated"] * 2


def test_exhausted_challenge_and_budget_are_told_as_such(heard, settings):
    settings.OTP_IDENTIFIER_BUDGET = "2/h"
    code, context = generate_otp("ada", max_retries=1, now=NOW)
    refused(lambda: verify_otp(wrong_code(code), context, now=NOW))
    refused(lambda: verify_otp(code, context, now=NOW))
    increment_retry_count(generate_otp("ada", now=NOW)[1], now=NOW)
    refused(lambda: increment_retry_count(generate_otp("ada", now=NOW)[1], now=NOW))
    assert [(o.event, o.reason) for o, _ in heard if o.event != "generated"] == [
        ("failed", "INVALID_OTP"),
        ("exhausted", "MAX_RETRIES_EXCEEDED"),
        ("exhausted", "OTP_THROTTLED"),
    ]


def test_revocation_is_told_when_it_happens_and_not_again(heard):
    _, context = generate_otp("ada", purpose="login", now=NOW)
    revoke_otp(context, now=NOW)
    revoke_otp(context, now=NOW)
    revoke_identifier("ada", purpose="login", now=NOW)
    told = [(o.event, o.reason, o.identifier, o.purpose, bool(o.jti)) for o, _ in heard[1:]]
    assert told == [("revoked", "", "ada", "login", True), ("revoked", "IDENTIFIER", "ada", "login", False)]


def test_decoy_is_told_as_one(heard):
    generate_decoy("nobody", purpose="login", now=NOW)
    assert [(o.event, o.reason, o.identifier) for o, _ in heard] == [("generated", "DECOY", "nobody")]


def test_request_comes_along_with_address_and_user_agent(heard, settings):
    settings.OTP_TRUSTED_PROXY_COUNT = 1
    request = RequestFactory().post(
        "/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR="1.2.3.4, 203.0.113.9", HTTP_USER_AGENT="x" * 1000
    )
    code, context = generate_otp("ada", request=request)
    verify_otp(code, context, request=request)
    for occurrence, sent in heard:
        assert sent is request
        assert occurrence.address == "203.0.113.9"
        assert occurrence.user_agent == "x" * 256


CALLS = {
    "generated": lambda code, context, **more: generate_otp("ada", purpose="login", **more),
    "generated DECOY": lambda code, context, **more: generate_decoy("ada", purpose="login", **more),
    "verified": lambda code, context, **more: verify_otp(code, context, purpose="login", **more),
    "failed INVALID_OTP": lambda code, context, **more: refused(
        lambda: verify_otp(wrong_code(code), context, purpose="login", **more)
    ),
    "exhausted MAX_RETRIES_EXCEEDED": lambda code, context, **more: (
        [increment_retry_count(context, **more) for _ in range(3)]
        and refused(lambda: increment_retry_count(context, **more))
    ),
    "revoked": lambda code, context, **more: revoke_otp(context, **more),
    "revoked IDENTIFIER": lambda code, context, **more: revoke_identifier("ada", purpose="login", **more),
}


@pytest.mark.parametrize("what", CALLS)
def test_whoever_is_told_is_told_all_of_it(heard, what):
    request = RequestFactory().post("/", REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT="a browser")
    code, context = generate_otp("ada", purpose="login", now=NOW)
    CALLS[what](code, context, request=request, now=NOW + 9)
    occurrence, sent = heard[-1]
    assert f"{occurrence.event} {occurrence.reason}".strip() == what
    assert (occurrence.identifier, occurrence.purpose, occurrence.time) == ("ada", "login", NOW + 9)
    assert (occurrence.address, occurrence.user_agent) == ("192.0.2.1", "a browser")
    assert sent is request
    assert occurrence.recorded is False
    assert len(heard) == 2

    CALLS[what](*generate_otp("ada", purpose="login", now=NOW + 20), now=NOW + 29)
    occurrence, sent = heard[-1]
    assert (occurrence.address, occurrence.user_agent, occurrence.time, sent) == (None, "", NOW + 29, None)


def test_client_that_does_not_call_itself_anything_is_told_as_such(heard):
    generate_otp("ada", request=RequestFactory().post("/"))
    assert heard[-1][0].user_agent == ""


def test_time_of_what_is_told_is_in_whole_seconds(heard):
    generate_otp("ada", now=NOW + 0.9)
    generate_decoy("ada", now=NOW + 0.9)
    revoke_identifier("ada", now=NOW + 1.9)
    assert [o.time for o, _ in heard] == [NOW, NOW, NOW + 1]
    assert all(type(o.time) is int for o, _ in heard)


@pytest.mark.asyncio
async def test_receivers_are_not_called_in_the_event_loop():
    threads = []

    def hear(**kwargs):
        threads.append(threading.get_ident())

    signals.otp_verified.connect(hear)
    try:
        await averify_otp(*generate_otp("ada"))
    finally:
        signals.otp_verified.disconnect(hear)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_is_not_an_attempt_is_not_told(heard):
    _, context = generate_otp("ada")
    for otp in ("", None, "1" * 65, True):
        refused(lambda otp=otp: verify_otp(otp, context))
    assert len(heard) == 1


@pytest.mark.asyncio
async def test_async_twin_tells_the_same(heard):
    code, context = generate_otp("ada")
    await averify_otp(code, context)
    assert [o.event for o, _ in heard] == ["generated", "verified"]


def test_receiver_that_raises_changes_nothing(heard):
    def broken(**kwargs):
        raise RuntimeError("a receiver's bug")

    for signal in ALL:
        signal.connect(broken)
    try:
        code, context = generate_otp("ada")
        refused(lambda: verify_otp(wrong_code(code), context))
        assert verify_otp(code, context)["identifier"] == "ada"
    finally:
        for signal in ALL:
            signal.disconnect(broken)
    assert [o.event for o, _ in heard] == ["generated", "failed", "verified"]


def test_signal_that_cannot_be_sent_changes_nothing_and_is_logged_without_its_text(monkeypatch, caplog):
    def broken(**kwargs):
        raise RuntimeError("canary")

    monkeypatch.setattr(signals.otp_verified, "send_robust", broken)
    code, context = generate_otp("ada")
    monkeypatch.setattr(signals.otp_verified, "receivers", [object()])
    assert verify_otp(code, context)["identifier"] == "ada"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "The receivers of otp_verified could not be called: RuntimeError."
    ]
    assert "canary" not in caplog.text


def test_log_records_are_structured_and_hold_no_identifier_and_no_secret(caplog):
    caplog.set_level(logging.DEBUG)
    code, context = generate_otp("canary@example.com", {"canary": 1}, purpose="login")
    with pytest.raises(OTPException) as caught:
        verify_otp(wrong_code(code), context, purpose="login")
    verify_otp(code, context, purpose="login")
    revoke_otp(context)
    records = [record for record in caplog.records if record.name == "otp_actions"]
    assert [(r.otp_event, r.otp_reason, r.otp_purpose) for r in records] == [
        ("generated", "", "login"),
        ("failed", "INVALID_OTP", "login"),
        ("verified", "", "login"),
        ("revoked", "", "login"),
    ]
    everything = "".join(record.getMessage() + str(vars(record)) for record in caplog.records)
    for secret in (code, wrong_code(code), context[12:40], caught.value.new_context[-30:], "canary"):
        assert secret not in everything


def test_log_records_say_what_happened_to_which_challenge(caplog):
    caplog.set_level(logging.INFO)
    request = RequestFactory().post("/", REMOTE_ADDR="192.0.2.1")
    code, context = generate_otp("ada", purpose="login", request=request, now=NOW)
    refused(lambda: verify_otp(wrong_code(code), context, purpose="login", request=request, now=NOW))
    refused(lambda: verify_otp(code, "gAAAAA", purpose="login", request=request, now=NOW))
    jti = decrypt_context(context)["jti"]
    assert [record.getMessage() for record in caplog.records] == [
        f"otp_generated purpose='login' jti={jti}",
        f"otp_failed INVALID_OTP purpose='login' jti={jti}",
        "otp_failed OTP_ERROR purpose='' jti=-",
    ]
    assert [(record.otp_jti, record.otp_ip) for record in caplog.records] == [
        (jti, "192.0.2.1"),
        (jti, "192.0.2.1"),
        ("", "192.0.2.1"),
    ]


def test_receivers_of_occurrences_are_called():
    heard = []

    def receiver(sender, **kwargs):
        heard.append(sender)

    signals.otp_generated.connect(receiver, sender=signals.Occurrence)
    try:
        generate_otp("ada")
    finally:
        signals.otp_generated.disconnect(receiver, sender=signals.Occurrence)
    assert heard == [signals.Occurrence]


def test_exhaustion_is_a_warning_and_the_rest_is_information(caplog):
    caplog.set_level(logging.DEBUG)
    code, context = generate_otp(max_retries=0)
    refused(lambda: verify_otp(code, context))
    assert [(r.otp_event, r.levelname) for r in caplog.records] == [("generated", "INFO"), ("exhausted", "WARNING")]


def test_nothing_is_worked_out_when_nobody_listens(monkeypatch):
    monkeypatch.setattr(signals, "tell", lambda *args: pytest.fail("told to nobody"))
    code, context = generate_otp("ada")
    refused(lambda: verify_otp(wrong_code(code), context))
    verify_otp(code, context)


def test_full_process_ledger_is_one_log_line(otp_settings, caplog):
    otp_settings(OTP_PROCESS_LEDGER_SIZE=1)
    verify_otp(*generate_otp())
    refused(lambda: verify_otp(*generate_otp()))
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "OTP_PROCESS_LEDGER_SIZE" in errors[0].getMessage()
