"""Contexts of the older release: no ``v``, no ``jti``, a plain SHA-256, times with a fraction."""

import hashlib
import json
import math
import time

import pytest

from otp_actions.exceptions import (
    InvalidOTPException,
    MaxRetriesExceededException,
    OTPException,
    OTPExpiredException,
    OTPRevokedException,
    OTPUsedException,
    SessionExpiredException,
)
from otp_actions.services import decrypt_context, increment_retry_count, revoke_otp, verify_otp
from otp_actions.testing import fresh_ledger

CODE = "123456"


@pytest.fixture(autouse=True)
def _fresh():
    """Two older contexts of one second that are alike in all but the fraction share a count, and tests are fast."""
    with fresh_ledger():
        yield


@pytest.fixture
def legacy(fernet):
    """Make a context as the older release did: ``fernet.encrypt(json.dumps(...))``."""

    def make(**changes):
        now = changes.pop("now", time.time())
        payload = {
            "identifier": "ada@example.com",
            "otp_hash": hashlib.sha256(CODE.encode()).hexdigest(),
            "metadata": {"ip": "192.0.2.1", "n": [1, None, 2.5]},
            "timestamp": now,
            "otp_expiry": now + 300,
            "session_expiry": now + 900,
            "retry_count": 0,
            "max_retries": 3,
        }
        return fernet.encrypt(json.dumps(payload | changes).encode()).decode()

    return make


def test_older_context_verifies_once(legacy):
    context = legacy()
    verified = verify_otp(CODE, context)
    assert verified["identifier"] == "ada@example.com"
    assert verified["metadata"] == {"ip": "192.0.2.1", "n": [1, None, 2.5]}
    assert (verified["retry_count"], verified["max_retries"], verified["purpose"]) == (0, 3, "")
    with pytest.raises(OTPUsedException):
        verify_otp(CODE, context)


@pytest.mark.parametrize("metadata", [None, {}, "text", 5, {"a": "é"}])
@pytest.mark.parametrize("identifier", [None, "", "ada", 42])
def test_older_context_may_hold_any_identifier_and_metadata(legacy, identifier, metadata):
    verified = verify_otp(CODE, legacy(identifier=identifier, metadata=metadata))
    assert (verified["identifier"], verified["metadata"]) == (identifier, metadata)


def test_first_older_context_sent_again_buys_max_retries_comparisons(legacy, comparisons):
    context = legacy()
    for remaining in (2, 1, 0):
        with pytest.raises(InvalidOTPException) as caught:
            verify_otp("000000", context)
        assert caught.value.attempts_remaining == remaining
    for _ in range(20):
        with pytest.raises(MaxRetriesExceededException):
            verify_otp(CODE, context)
    assert comparisons.count == 3


def test_wrong_answer_gives_a_context_in_the_older_form_that_still_verifies(legacy, fernet):
    """The older release may still be running beside us."""
    first = legacy()
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp("000000", first)
    renewed = caught.value.new_context
    old, new = (json.loads(fernet.decrypt(context)) for context in (first, renewed))
    assert new.keys() == old.keys()
    assert new["retry_count"] == 1
    assert [new[field] for field in ("identifier", "otp_hash", "metadata", "max_retries")] == [
        old[field] for field in ("identifier", "otp_hash", "metadata", "max_retries")
    ]
    assert new["otp_expiry"] == math.ceil(old["otp_expiry"])
    assert verify_otp(CODE, renewed)["retry_count"] == 1
    for context in (first, renewed):
        with pytest.raises(OTPUsedException):
            verify_otp(CODE, context)


def test_older_context_keeps_one_count_through_all_its_forms(legacy, comparisons):
    first = legacy(max_retries=4)
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp("000000", first)
    second = increment_retry_count(caught.value.new_context)
    assert decrypt_context(second)["retry_count"] == 2
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp("000000", first)
    assert caught.value.attempts_remaining == 1
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp("000000", second)
    assert caught.value.attempts_remaining == 0
    for context in (first, second, caught.value.new_context):
        with pytest.raises(MaxRetriesExceededException):
            verify_otp(CODE, context)
    assert comparisons.count == 3


def test_count_inside_an_older_context_is_heeded(legacy):
    with pytest.raises(MaxRetriesExceededException):
        verify_otp(CODE, legacy(retry_count=3))
    with fresh_ledger(), pytest.raises(InvalidOTPException) as caught:
        verify_otp("000000", legacy(retry_count=2))
    assert caught.value.attempts_remaining == 0


def test_older_challenges_are_counted_apart(legacy):
    now = time.time()
    revoke_otp(legacy(now=now))
    with pytest.raises(OTPRevokedException):
        verify_otp(CODE, legacy(now=now))
    for other in (
        legacy(now=now, identifier="eve"),
        legacy(now=now, identifier=None),
        legacy(now=now, metadata={}),
        legacy(now=now, max_retries=4),
        legacy(now=now + 5),
    ):
        assert verify_otp(CODE, other, now=int(now) + 6)


def test_older_context_has_no_purpose(legacy):
    context = legacy(max_retries=1)
    with pytest.raises(OTPException, match="issued for something else"):
        verify_otp(CODE, context, purpose="login")
    assert verify_otp(CODE, context, purpose="")


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (300, None),
        (301, OTPExpiredException),
        (900, OTPExpiredException),
        (901, SessionExpiredException),
    ],
)
def test_expiry_with_a_fraction_is_rounded_up(legacy, at, reason):
    start = 1_800_000_000
    context = legacy(now=start + 0.25)
    if reason is None:
        assert verify_otp(CODE, context, now=start + at)["otp_expiry"] == start + 301
    else:
        with pytest.raises(reason):
            verify_otp(CODE, context, now=start + at)


def test_whole_seconds_are_accepted_too(legacy):
    context = legacy(now=1_800_000_000)
    with pytest.raises(OTPExpiredException):
        verify_otp(CODE, context, now=1_800_000_300)
    assert verify_otp(CODE, context, now=1_800_000_299)


def test_older_contexts_can_be_refused(settings, legacy, comparisons):
    settings.OTP_ACCEPT_LEGACY_CONTEXTS = False
    context = legacy(max_retries=1)
    for purpose in ("", "login"):
        with pytest.raises(OTPException, match="Failed to decrypt context"):
            verify_otp(CODE, context, purpose=purpose)
    assert comparisons.count == 0
    settings.OTP_ACCEPT_LEGACY_CONTEXTS = True
    assert verify_otp(CODE, context)


def test_older_context_without_ledger_counts_in_itself(settings, legacy):
    settings.OTP_LEDGER = None
    context = legacy(max_retries=2)
    for remaining in (1, 0):
        with pytest.raises(InvalidOTPException) as caught:
            verify_otp("000000", context)
        assert caught.value.attempts_remaining == remaining
        context = caught.value.new_context
    with pytest.raises(MaxRetriesExceededException):
        verify_otp(CODE, context)


@pytest.mark.parametrize("changes", [{"v": 2}, {"v": 1}, {"jti": "0" * 32}, {"purpose": ""}, {"extra": 1}])
def test_mixture_of_the_two_forms_is_no_challenge(legacy, changes):
    with pytest.raises(OTPException, match="Failed to decrypt context"):
        verify_otp(CODE, legacy(**changes))
