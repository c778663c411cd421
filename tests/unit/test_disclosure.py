"""No text of an error, a log or a repr carries a code, a context or a key."""

import base64
import logging
import sys
import traceback

import pytest
from django.test import override_settings
from django.views.debug import ExceptionReporter

from otp_actions import conf
from otp_actions.__main__ import generate_key
from otp_actions.exceptions import OTPException
from otp_actions.ledgers import ledger_for
from otp_actions.services import (
    decrypt_context,
    encrypt_context,
    generate_decoy,
    generate_otp,
    increment_retry_count,
    revoke_otp,
    validate_otp,
    verify_otp,
)
from otp_actions.testing import capture_otps, fresh_ledger, wrong_code

NOW = 1_800_000_000
CANARY = "canary-in-a-coal-mine"


class Flow:
    """A challenge whose secrets are known, so that they can be looked for."""

    def __init__(self):
        self.code, self.context = generate_otp(CANARY, {"secret": CANARY}, 2, 12, purpose="login", now=NOW)
        self.wrong = wrong_code(self.code)
        self.key = generate_key()
        self.raw_key = base64.urlsafe_b64decode(self.key)

    def secrets(self):
        # A part is enough: nothing may be quoted, not even the beginning.
        return [self.code, self.wrong, self.context[12:40], self.context[-40:], self.key[:20], CANARY, "AAECAwQFBgcI"]

    def verify(self, otp=None, context=None, purpose="login", now=NOW):
        return verify_otp(self.code if otp is None else otp, context or self.context, purpose=purpose, now=now)

    def used(self):
        self.verify()
        self.verify()

    def revoked(self):
        revoke_otp(self.context, now=NOW)
        self.verify()

    def exhausted(self):
        for _ in range(2):
            increment_retry_count(self.context, now=NOW)
        self.verify()

    def unavailable(self):
        with override_settings(OTP_PROCESS_LEDGER_SIZE=1), fresh_ledger():
            increment_retry_count(generate_otp(now=NOW)[1], now=NOW)
            self.verify()

    def nothing_to_revoke_with(self):
        with override_settings(OTP_LEDGER=None):
            revoke_otp(self.context)

    def with_settings(self, **overrides):
        with override_settings(**overrides):
            self.verify()


FAILURES = {
    "wrong code": lambda f: f.verify(f.wrong),
    "wrong code, validate": lambda f: validate_otp(f.wrong, f.context, purpose="login", now=NOW),
    "wrong code as an int": lambda f: f.verify(int("9" + f.wrong)),
    "code too long": lambda f: f.verify(f.code * 10),
    "code in a list": lambda f: f.verify([f.code]),
    "code in a dict": lambda f: f.verify({f.code: f.code}),
    "code as bytes": lambda f: f.verify(f.code.encode()),
    "code with a surrogate": lambda f: f.verify(f.code + "\ud800"),
    "no code": lambda f: f.verify(""),
    "context cut off": lambda f: f.verify(context=f.context[:-4]),
    "context as bytes": lambda f: f.verify(context=f.context.encode()),
    "context with more": lambda f: f.verify(context=f.context + "é"),
    "context too big": lambda f: f.verify(context=f.context * 50),
    "wrong purpose": lambda f: f.verify(purpose="reset"),
    "expired": lambda f: f.verify(now=NOW + 300),
    "session expired": lambda f: f.verify(now=NOW + 900),
    "used": Flow.used,
    "revoked": Flow.revoked,
    "exhausted": Flow.exhausted,
    "unavailable": Flow.unavailable,
    "nothing to revoke with": Flow.nothing_to_revoke_with,
    "now out of range": lambda f: f.verify(now=2**70),
    "now out of range, increment": lambda f: increment_retry_count(f.context, now=2**70),
    "now out of range, generate": lambda f: generate_otp(CANARY, now=2**70),
    "now out of range, encrypt": lambda f: encrypt_context({"a": CANARY}, now=2**70),
    "purpose is not text": lambda f: f.verify(purpose=5),
    "purpose with a surrogate": lambda f: f.verify(purpose="\ud800" + CANARY),
    "increment of garbage": lambda f: increment_retry_count(f.context + "x"),
    "decrypt of garbage": lambda f: decrypt_context(f.context + "x"),
    "foreign text": lambda f: decrypt_context(conf.current().keyring.seal(CANARY.encode(), NOW)),
    "foreign bytes": lambda f: decrypt_context(conf.current().keyring.seal(b"\xff" + CANARY.encode(), NOW)),
    "foreign JSON": lambda f: f.verify(context=encrypt_context({"otp": CANARY})),
    "identifier too long": lambda f: generate_otp(CANARY * 100),
    "identifier with a surrogate": lambda f: generate_otp(CANARY + "\ud800"),
    "identifier as bytes": lambda f: generate_otp(CANARY.encode()),
    "metadata too big": lambda f: generate_otp(metadata=CANARY * 300),
    "metadata not JSON": lambda f: generate_otp(metadata={CANARY: {CANARY}}),
    "metadata with a surrogate": lambda f: generate_decoy(metadata=CANARY + "\ud800"),
    "metadata with other keys": lambda f: generate_otp(metadata={(CANARY,): 1}),
    "purpose too long": lambda f: generate_otp(purpose=CANARY * 10),
    "purpose as bytes": lambda f: generate_otp(CANARY, purpose=[CANARY]),
    "context not JSON": lambda f: encrypt_context({CANARY: object()}),
    "context not a dict": lambda f: encrypt_context([CANARY]),
    "key too short": lambda f: f.with_settings(OTP_SIGNING_KEY=f.key[:24]),
    "key cut off": lambda f: f.with_settings(OTP_SIGNING_KEY=f.key[:-1]),
    "key pasted": lambda f: f.with_settings(OTP_SIGNING_KEY=f"b'{f.key}'"),
    "key in a list": lambda f: f.with_settings(OTP_SIGNING_KEY=[f.key]),
    "key with other letters": lambda f: f.with_settings(OTP_SIGNING_KEY=f.key + "é"),
    "fallback cut off": lambda f: f.with_settings(OTP_SIGNING_KEY_FALLBACKS=[f.key[:-1]]),
    "fallbacks in a text": lambda f: f.with_settings(OTP_SIGNING_KEY_FALLBACKS=f.key),
    "fallback twice": lambda f: f.with_settings(OTP_SIGNING_KEY=f.key, OTP_SIGNING_KEY_FALLBACKS=[f.key]),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_error_quotes_a_code_a_context_or_a_key(failure, caplog):
    caplog.set_level(logging.DEBUG)
    flow = Flow()
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- whatever it is
        FAILURES[failure](flow)
    error = caught.value
    texts = [str(error), repr(error), str(error.args), "".join(traceback.format_exception(error)), caplog.text]
    for secret in flow.secrets():
        for text in texts:
            assert secret not in text


@pytest.mark.parametrize("failure", FAILURES)
def test_error_report_shows_no_code_and_no_context_in_a_frame_of_ours(failure, rf):
    """As Django mails it to ADMINS when nobody catches the error."""
    flow = Flow()
    try:
        FAILURES[failure](flow)
    except Exception:
        reporter = ExceptionReporter(rf.get("/"), *sys.exc_info())
    frames = [one for one in reporter.get_traceback_frames() if "/otp_actions/" in one["filename"]]
    assert frames
    shown = str([frame["vars"] for frame in frames])
    for secret in (
        flow.code,
        flow.wrong,
        flow.context[12:40],
        flow.context[-40:],
        flow.key[:20],
        repr(flow.raw_key)[2:20],
    ):
        assert secret not in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTP_REDIS_URL": "canary://:canary@127.0.0.1/0"},
        {"OTP_REDIS_URL": "redis://:canary@127.0.0.1/0?socket_timeout=canary", "OTP_LEDGER": "redis"},
        {"OTP_REDIS_URL": "redis://:canary@127.0.0.1:1/0", "OTP_DEFAULT_LENGTH": 99},
        {"OTP_REDIS_URL": "redis://:canary@127.0.0.1:1/0", "OTP_CANONICAL_IDENTIFIER": f"{__name__}.raising"},
    ],
    ids=str,
)
def test_error_report_shows_no_password_of_redis_in_a_frame_of_ours(wrong, rf):
    code, context = generate_otp("René")
    with override_settings(**wrong):
        try:
            verify_otp(code, context)
        except Exception:
            reporter = ExceptionReporter(rf.get("/"), *sys.exc_info())
    frames = [one for one in reporter.get_traceback_frames() if "/otp_actions/" in one["filename"]]
    assert frames
    assert "canary" not in str([frame["vars"] for frame in frames])


def raising(identifier):
    raise ZeroDivisionError


@pytest.mark.parametrize("failure", ["now out of range", "now out of range, encrypt", "purpose is not text"])
def test_argument_that_the_core_cannot_take_is_one_of_our_errors(failure):
    with pytest.raises(OTPException):
        FAILURES[failure](Flow())


def test_whole_flow_prints_nothing_and_logs_no_secret(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    flow = Flow()
    with pytest.raises(OTPException):
        flow.verify(flow.wrong)
    flow.verify()
    assert [record.otp_event for record in caplog.records] == ["generated", "failed", "verified"]
    everything = "".join(str(vars(record)) for record in caplog.records)
    assert not any(secret in everything for secret in flow.secrets())
    assert capfd.readouterr() == ("", "")


def test_reprs_of_the_core_show_nothing():
    flow = Flow()
    shown = repr([conf.current().keyring, conf.current(), ledger_for(conf.current())])
    assert not any(secret in shown for secret in flow.secrets())


def test_error_report_shows_no_code_that_was_issued_when_telling_of_it_fails(caplog, rf):
    caplog.set_level(logging.INFO)
    with capture_otps() as issued:
        try:
            generate_otp("ada", request=object())
        except AttributeError:
            reporter = ExceptionReporter(rf.get("/"), *sys.exc_info())
    frames = [one for one in reporter.get_traceback_frames() if "/otp_actions/" in one["filename"]]
    assert frames
    shown = str([frame["vars"] for frame in frames])
    assert issued[0].code not in shown
    assert issued[0].context[12:40] not in shown


def test_error_report_shows_no_context_when_telling_of_a_verification_fails(caplog, rf):
    code, context = generate_otp("ada")
    caplog.set_level(logging.INFO)
    for otp in (wrong_code(code), code):
        try:
            verify_otp(otp, context, request=object())
        except AttributeError:
            reporter = ExceptionReporter(rf.get("/"), *sys.exc_info())
        frames = [one for one in reporter.get_traceback_frames() if "/otp_actions/" in one["filename"]]
        shown = str([frame["vars"] for frame in frames])
        assert otp not in shown
        assert context[12:40] not in shown
