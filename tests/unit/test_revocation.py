"""Revoking by context, by identifier, and by a newer code."""

from enum import Enum

import pytest
from django.test import override_settings
from django.utils.translation import gettext_lazy

from otp_actions.__main__ import generate_key
from otp_actions.exceptions import (
    InvalidOTPException,
    OTPException,
    OTPRevokedException,
    OTPUnavailableException,
    OTPUsedException,
)
from otp_actions.services import (
    canonical_identifier,
    decrypt_context,
    generate_decoy,
    generate_otp,
    increment_retry_count,
    revoke_identifier,
    revoke_otp,
    verify_otp,
)
from otp_actions.testing import wrong_code

NOW = 1_800_000_000
ADA = "ada@example.com"


@pytest.fixture(autouse=True)
def _fresh(otp_settings):
    pass


def is_revoked(issued, *, now=NOW, purpose=""):
    code, context = issued
    try:
        verify_otp(code, context, purpose=purpose, now=now)
    except OTPRevokedException:
        return True
    return False


def test_identifier_revokes_every_code_before_and_none_after():
    before = [generate_otp(ADA, now=NOW) for _ in range(3)]
    revoke_identifier(ADA, now=NOW)
    after = [generate_otp(ADA, now=NOW) for _ in range(3)]
    assert [is_revoked(issued) for issued in before + after] == [True] * 3 + [False] * 3


def test_order_within_a_second_is_kept_by_a_clock_that_stands_still(time_machine):
    time_machine.move_to(NOW, tick=False)
    for _ in range(3):
        old = generate_otp(ADA)
        revoke_identifier(ADA)
        new = generate_otp(ADA)
        assert (is_revoked(old), is_revoked(new)) == (True, False)


def test_order_within_a_second_is_the_microseconds_order():
    early, late = generate_otp(ADA, now=NOW + 0.25), generate_otp(ADA, now=NOW + 0.75)
    revoke_identifier(ADA, now=NOW + 0.5)
    # In one process what was revoked later revokes more, however the clocks ran; see the core's NextInstant.
    assert is_revoked(early)
    assert is_revoked(late)
    other = generate_otp("bob", now=NOW + 5.75)
    revoke_identifier(ADA, now=NOW + 5.5)
    assert not is_revoked(other, now=NOW + 6)


def test_revoked_is_not_counted_and_not_compared(comparisons):
    code, context = generate_otp(ADA, now=NOW)
    revoke_identifier(ADA, now=NOW)
    for _ in range(10):
        with pytest.raises(OTPRevokedException):
            verify_otp(wrong_code(code), context, now=NOW)
        with pytest.raises(OTPRevokedException):
            increment_retry_count(context, now=NOW)
    assert comparisons.count == 0


def test_somebody_else_and_another_purpose_are_not_revoked():
    others = [(generate_otp("bob", now=NOW), ""), (generate_otp(ADA, purpose="reset", now=NOW), "reset")]
    nobody = generate_otp(None, now=NOW)
    revoke_identifier(ADA, now=NOW)
    assert [is_revoked(issued, purpose=purpose) for issued, purpose in others] == [False, False]
    assert not is_revoked(nobody)


def test_other_spelling_is_revoked_too_and_a_number_is_not_its_digits():
    text, number = generate_otp("  \uff41da@example.com", now=NOW), generate_otp(42, now=NOW)
    revoke_identifier(ADA, now=NOW)
    revoke_identifier("42", now=NOW)
    assert is_revoked(text)
    assert not is_revoked(number)
    revoke_identifier(42, now=NOW)
    assert is_revoked(generate_otp(42, now=NOW - 1))


def test_resealed_context_is_revoked_too():
    code, context = generate_otp(ADA, now=NOW)
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp(wrong_code(code), context, now=NOW)
    revoke_identifier(ADA, now=NOW)
    assert is_revoked((code, caught.value.new_context))
    assert is_revoked((code, context))


def test_used_code_of_a_revoked_identifier_is_not_accepted():
    issued = generate_otp(ADA, now=NOW)
    verify_otp(*issued, now=NOW)
    revoke_identifier(ADA, now=NOW)
    with pytest.raises((OTPUsedException, OTPRevokedException)):
        verify_otp(*issued, now=NOW)


def test_revocation_lasts_as_long_as_the_longest_lived_code(settings):
    settings.OTP_EXPIRY_SECONDS = 900
    issued = generate_otp(ADA, now=NOW)
    revoke_identifier(ADA, now=NOW)
    assert is_revoked(issued, now=NOW + 899)


def test_revocation_outlives_a_session_that_is_shortened(settings):
    settings.OTP_EXPIRY_SECONDS = settings.OTP_SESSION_EXPIRY_SECONDS = 3600
    issued = generate_otp(ADA, now=NOW)
    settings.OTP_EXPIRY_SECONDS = settings.OTP_SESSION_EXPIRY_SECONDS = 60
    revoke_identifier(ADA, now=NOW + 10)
    assert is_revoked(issued, now=NOW + 3599)


def test_revocation_holds_through_a_rotation_of_keys():
    old, new = generate_key(), generate_key()
    with override_settings(OTP_SIGNING_KEY=old):
        issued = generate_otp(ADA, now=NOW)
    with override_settings(OTP_SIGNING_KEY=old, OTP_SIGNING_KEY_FALLBACKS=[new]):
        revoke_identifier(ADA, now=NOW)
    with override_settings(OTP_SIGNING_KEY=new, OTP_SIGNING_KEY_FALLBACKS=[old]):
        assert is_revoked(issued)
        later = generate_otp(ADA, now=NOW)
        assert not is_revoked(later)
        by_old = generate_otp(ADA, now=NOW)
        revoke_identifier(ADA, now=NOW)
        assert is_revoked(by_old)


@pytest.mark.parametrize("identifier", [None, True, 1.5, ["ada"], b"ada"])
def test_revoking_needs_an_identifier(identifier):
    with pytest.raises(OTPException, match="needs an identifier"):
        revoke_identifier(identifier)
    with pytest.raises(OTPException):
        generate_otp(identifier, supersede=True)


@pytest.mark.parametrize("identifier", [2**64, "\ud800"])
def test_identifier_that_cannot_be_stored_is_one_of_our_errors(identifier):
    with pytest.raises(OTPException, match="cannot be stored"):
        revoke_identifier(identifier)


def test_without_a_ledger_nothing_can_be_revoked_or_superseded(settings):
    settings.OTP_LEDGER = None
    for call in (lambda: revoke_identifier(ADA), lambda: generate_otp(ADA, supersede=True)):
        with pytest.raises(OTPException, match="without a ledger"):
            call()


def test_full_ledger_revokes_and_supersedes_nothing(otp_settings):
    otp_settings(OTP_PROCESS_LEDGER_SIZE=1)
    revoke_identifier("bob", now=NOW)
    for call in (lambda: revoke_identifier(ADA, now=NOW), lambda: generate_otp(ADA, supersede=True, now=NOW)):
        with pytest.raises(OTPUnavailableException):
            call()


# --- supersede


def test_newer_code_supersedes_every_older_one():
    old = [generate_otp(ADA, now=NOW), generate_otp(ADA, supersede=True, now=NOW), generate_otp(ADA, now=NOW)]
    newest = generate_otp(ADA, supersede=True, now=NOW)
    assert [is_revoked(issued) for issued in old] == [True] * 3
    assert not is_revoked(newest)


def test_each_superseding_code_in_a_row_is_good_until_the_next(otp_outbox):
    for _ in range(5):
        previous = otp_outbox[-1] if otp_outbox else None
        generate_otp(ADA, supersede=True, now=NOW)
        if previous is not None:
            assert is_revoked((previous.code, previous.context))
    assert len(otp_outbox) == 5
    assert not is_revoked((otp_outbox[-1].code, otp_outbox[-1].context))


def test_superseding_at_once_leaves_exactly_one_good_code(at_once):
    issued = at_once(16, lambda: generate_otp(ADA, supersede=True, now=NOW))
    assert [is_revoked(one) for one in issued].count(False) == 1


def answers_of(issue):
    """Return what a client is told that asks twice and tries both contexts with a wrong code."""
    contexts = [issue(), issue()]
    reasons = []
    for context in contexts:
        with pytest.raises(OTPException) as caught:
            verify_otp("not a code", context, now=NOW)
        reasons.append(caught.value.code)
    return reasons


@pytest.mark.parametrize("supersede", [True, False])
def test_decoys_supersede_and_are_superseded_like_real_ones(supersede):
    real = answers_of(lambda: generate_otp(ADA, supersede=supersede, now=NOW)[1])
    decoy = answers_of(lambda: generate_decoy("nobody@example.com", supersede=supersede, now=NOW))
    assert real == decoy == (["OTP_REVOKED", "INVALID_OTP"] if supersede else ["INVALID_OTP", "INVALID_OTP"])


@pytest.mark.parametrize("arguments", [{"length": 99}, {"max_retries": -1}, {"metadata": {"a": object()}}])
def test_call_that_is_refused_supersedes_nothing(arguments):
    old = generate_otp(ADA, now=NOW)
    with pytest.raises(OTPException):
        generate_otp(ADA, supersede=True, now=NOW, **arguments)
    assert not is_revoked(old)


@pytest.mark.parametrize("issue", [generate_otp, generate_decoy])
def test_call_whose_context_would_be_too_big_supersedes_nothing(issue):
    """Each of the two fits, both together do not."""
    identifier = "\x01" * 700
    old = generate_otp(identifier, now=NOW)
    with pytest.raises(OTPException, match="8192"):
        issue(identifier, "x" * 2000, supersede=True, now=NOW)
    assert not is_revoked(old)


def test_superseding_beats_a_host_whose_clock_is_ahead():
    ahead = generate_otp(ADA, supersede=True, now=NOW + 2.5)
    newer = generate_otp(ADA, supersede=True, now=NOW)
    assert is_revoked(ahead, now=NOW + 3)
    assert not is_revoked(newer)
    fields = decrypt_context(newer[1])
    assert NOW <= fields["timestamp"] <= NOW + 8
    assert fields["otp_expiry"] == NOW + 300


def never(identifier):
    raise AssertionError("It was looked at.")


class Purpose(Enum):
    LOGIN = "login"


@pytest.mark.parametrize("purpose", [None, b"login", Purpose.LOGIN, gettext_lazy("login"), 7, "x" * 129, "\ud800"])
def test_purpose_that_no_code_can_have_is_refused_and_not_revoked_for_nobody(purpose):
    for call in (
        lambda: revoke_identifier(ADA, purpose=purpose, now=NOW),
        lambda: generate_otp(ADA, purpose=purpose, supersede=True, now=NOW),
    ):
        with pytest.raises(OTPException, match="purpose"):
            call()


@pytest.mark.parametrize("identifier", ["x" * 1025, "a" + "\u0300\u0316" * 25_000])
def test_identifier_that_no_code_can_have_costs_no_more_than_any_other(identifier, settings):
    settings.OTP_CANONICAL_IDENTIFIER = "unit.test_revocation.never"
    for call in (lambda: revoke_identifier(identifier, now=NOW), lambda: canonical_identifier(identifier)):
        with pytest.raises(OTPException, match="1024 bytes"):
            call()


@pytest.mark.parametrize(
    "revoke", [lambda: generate_otp(ADA, supersede=True, now=NOW), lambda: revoke_identifier(ADA, now=NOW)]
)
def test_clock_that_is_minutes_ahead_is_not_followed_and_the_log_says_so(revoke, caplog):
    generate_otp(ADA, supersede=True, now=NOW + 3600)
    with pytest.raises(OTPUnavailableException):
        revoke()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "ERROR",
            "Another host's clock was over 300 seconds ahead of this one, so nothing was revoked: compare the clocks.",
        )
    ]


def test_revoke_otp_twice_is_fine():
    issued = generate_otp(ADA, now=NOW)
    for _ in range(2):
        revoke_otp(issued[1], now=NOW)
    assert is_revoked(issued)
