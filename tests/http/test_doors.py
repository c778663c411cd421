"""Every kind of view behind a door: what it lets through, what it refuses, what the view finds."""

import json
from functools import partial
from urllib.parse import urlencode

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from otp_actions import signals
from otp_actions.services import generate_otp, revoke_otp
from otp_actions.testing import wrong_code

from .exchange import Kind, assert_accepted, assert_refused
from .views import KINDS_THAT_KNOW_THEIR_METHODS, UNSAFE


def test_request_wrong_right_replay(kind, otp_outbox):
    issued = kind.send("issue", {"email": "ada@example.com"})
    assert issued.status_code == 200
    assert issued["Cache-Control"] == "no-store, private"
    context = issued.json()["context"]
    (otp,) = otp_outbox
    assert (otp.identifier, otp.context) == ("ada@example.com", context)

    refusal = assert_refused(kind.send("verify", {"otp": wrong_code(otp.code), "context": context}), "INVALID_OTP")
    assert refusal["error"] == "Invalid OTP. Attempts remaining: 2"
    assert refusal["attempts_remaining"] == 2
    assert refusal["context"] != context

    accepted = assert_accepted(kind.send("verify", {"otp": otp.code, "context": refusal["context"]}))
    assert accepted["identifier"] == "ada@example.com"
    assert accepted["read"] == ["context", "otp"]
    for old in (context, refusal["context"]):
        assert_refused(kind.send("verify", {"otp": otp.code, "context": old}), "OTP_USED")


@pytest.mark.parametrize("scenario", ["issue", "decoy"])
def test_receiver_is_told_which_request_a_code_was_issued_in(kind, scenario):
    told = []

    def hear(sender, occurrence, request, **kwargs):
        told.append((occurrence.identifier, occurrence.address, request.path))

    signals.otp_generated.connect(hear)
    try:
        assert kind.send(scenario, {"email": "ada@example.com"}).status_code == 200
    finally:
        signals.otp_generated.disconnect(hear)
    assert told == [("ada@example.com", "127.0.0.1", f"/{kind.name}/{scenario}/")]


def test_receiver_is_told_which_request_a_code_was_verified_in(kind, challenge):
    code, context = challenge
    told = []

    def hear(sender, occurrence, request, **kwargs):
        told.append((occurrence.event, occurrence.address, request.path))

    for signal in (signals.otp_verified, signals.otp_failed):
        signal.connect(hear)
    try:
        assert_refused(kind.send("verify", {"otp": "wrong", "context": context}), "INVALID_OTP")
        assert_accepted(kind.send("verify", {"otp": code, "context": context}))
    finally:
        for signal in (signals.otp_verified, signals.otp_failed):
            signal.disconnect(hear)
    assert told == [(event, "127.0.0.1", f"/{kind.name}/verify/") for event in ("failed", "verified")]


def test_attempts_run_out(kind, challenge):
    code, context = challenge
    for remaining in (2, 1, 0):
        refusal = assert_refused(kind.send("verify", {"otp": wrong_code(code), "context": context}), "INVALID_OTP")
        assert refusal["attempts_remaining"] == remaining
    for held in (context, refusal["context"]):
        refused = assert_refused(kind.send("verify", {"otp": code, "context": held}), "MAX_RETRIES_EXCEEDED")
        assert refused["attempts_remaining"] == 0


def test_unsafe_methods_are_verified(kind):
    for method in UNSAFE:
        code, context = generate_otp(identifier="ada")
        assert_refused(kind.send("verify", {"email": "x"}, method=method), "MISSING_FIELDS")
        assert_refused(kind.send("verify", {"otp": wrong_code(code), "context": context}, method=method), "INVALID_OTP")
        accepted = assert_accepted(kind.send("verify", {"otp": code, "context": context}, method=method))
        assert (accepted["method"], accepted["identifier"]) == (method, "ada")


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", MULTIPART_CONTENT])
def test_forms_are_verified_and_the_view_still_reads_them(kind, content_type):
    encode = urlencode if "urlencoded" in content_type else partial(encode_multipart, BOUNDARY)
    for method in UNSAFE:
        code, context = generate_otp()
        wrong = encode({"otp": wrong_code(code), "context": context, "note": "hi"})
        assert_refused(kind.send_body("verify", wrong, content_type, method=method), "INVALID_OTP")
        right = encode({"otp": code, "context": context, "note": "hi"})
        accepted = assert_accepted(kind.send_body("verify", right, content_type, method=method))
        # Outside of DRF, Django itself reads forms of a POST only.
        if kind.name.startswith("drf") or method == "POST":
            assert accepted["read"] == ["context", "note", "otp"]


def test_view_can_still_read_the_raw_body(kind):
    """To check a signature over it, say."""
    for method in UNSAFE:
        code, context = generate_otp()
        body = json.dumps({"otp": code, "context": context, "note": "ä"}, ensure_ascii=False)
        answer = kind.send_body("verify-raw", body, "application/json", method=method)
        assert assert_accepted(answer)["body"] == body


def test_file_beside_the_code_reaches_the_view(kind, challenge):
    code, context = challenge
    photo = SimpleUploadedFile("a.txt", b"the file")
    body = encode_multipart(BOUNDARY, {"otp": code, "context": context, "photo": photo})
    assert assert_accepted(kind.send_body("verify", body, MULTIPART_CONTENT))["files"] == {"photo": "the file"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_pass_unverified(kind, challenge, method):
    code, context = challenge
    answer = kind.send("verify", method=method, QUERY_STRING=f"otp={code}&context={context}")
    assert answer.status_code == 200
    if method == "GET":
        assert answer.json() == {"verified": False, "identifier": None, "method": "GET", "read": [], "files": {}}
    assert_accepted(kind.send("verify", {"otp": code, "context": context}))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_codes_can_be_issued_on_a_safe_method(kind, method, otp_outbox):
    answer = kind.send("issue", method=method)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store, private")
    assert len(otp_outbox) == 1


@pytest.mark.parametrize("name", KINDS_THAT_KNOW_THEIR_METHODS)
def test_unsupported_method_is_405_and_costs_nothing(name, challenge, attempts):
    kind = Kind(name)
    code, context = challenge
    for otp in (wrong_code(code), code):
        for method in ("PUT", "DELETE", "TRACE"):
            answer = kind.send("verify-post-only", {"otp": otp, "context": context}, method=method)
            assert answer.status_code == 405
    assert attempts(kind, code, context) == 0


def test_fields_may_not_come_by_the_query_string(kind, challenge):
    code, context = challenge
    answer = kind.send("verify", {}, QUERY_STRING=f"otp={code}&context={context}")
    assert_refused(answer, "MISSING_FIELDS")


def test_missing_fields(kind, challenge, attempts):
    code, context = challenge
    fields = {"otp": code, "context": context}
    for missing in ({"otp": None}, {"context": None}, {"otp": ""}, {"context": ""}):
        assert_refused(kind.send("verify", {**fields, **missing}), "MISSING_FIELDS")
    for incomplete in ({}, {"otp": code}, {"context": context}):
        assert_refused(kind.send("verify", incomplete), "MISSING_FIELDS")
    assert attempts(kind, code, context) == 0


def test_revoked(kind, challenge):
    code, context = challenge
    revoke_otp(context)
    assert_refused(kind.send("verify", {"otp": code, "context": context}), "OTP_REVOKED")


def test_expiry_of_code_and_session(kind):
    now = 1_700_000_000
    code, context = generate_otp(identifier="ada", now=now)
    for after, reason in ((300, "OTP_EXPIRED"), (899, "OTP_EXPIRED"), (900, "SESSION_EXPIRED")):
        with time_machine.travel(now + after, tick=False):
            assert_refused(kind.send("verify", {"otp": code, "context": context}), reason)
    with time_machine.travel(now + 299, tick=False):
        assert_accepted(kind.send("verify", {"otp": code, "context": context}))
