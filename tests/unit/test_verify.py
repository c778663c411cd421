"""Judging: the order of reasons, what is counted and what is not, single use, revocation."""

import json
from itertools import combinations

import pytest

from contract.dict_ledger import DictLedger
from otp_actions import conf, services
from otp_actions.exceptions import (
    InvalidOTPException,
    MaxRetriesExceededException,
    MissingFieldsException,
    OTPException,
    OTPExpiredException,
    OTPRevokedException,
    OTPUnavailableException,
    OTPUsedException,
    SessionExpiredException,
)
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
from otp_actions.testing import fresh_ledger, wrong_code

NOW = 1_800_000_000


def retry_count(context):
    return decrypt_context(context)["retry_count"]


def guess(code, context, **kwargs):
    """Answer wrongly and return the error."""
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp(wrong_code(code), context, **{"now": NOW, **kwargs})
    return caught.value


# --- The order of reasons

# In the order in which DECISIONS.md judges. The second column: the message of the ones that share OTP_ERROR.
REASONS = {
    "unopenable": (OTPException, "Failed to decrypt"),
    "purpose": (OTPException, "issued for something else"),
    "session": (SessionExpiredException, None),
    "expired": (OTPExpiredException, None),
    "revoked": (OTPRevokedException, None),
    "used": (OTPUsedException, None),
    "exhausted": (MaxRetriesExceededException, None),
    "wrong": (InvalidOTPException, None),
}


@pytest.mark.parametrize("faults", [*combinations(REASONS, 1), *combinations(REASONS, 2), tuple(REASONS)], ids="+".join)
def test_first_reason_in_the_fixed_order_is_given(faults, comparisons):
    code, context = generate_otp(max_retries=3, now=NOW)
    if "exhausted" in faults:  # A success is an attempt, too.
        for _ in range(2 if "used" in faults else 3):
            increment_retry_count(context, now=NOW)
    if "used" in faults:
        verify_otp(code, context, now=NOW)
    if "revoked" in faults:
        revoke_otp(context, now=NOW)
    comparisons.reset()
    expected, message = REASONS[faults[0]]
    with pytest.raises(OTPException, match=message) as caught:
        verify_otp(
            wrong_code(code) if "wrong" in faults else code,
            context[:-4] if "unopenable" in faults else context,
            purpose="other" if "purpose" in faults else "",
            now=NOW + (900 if "session" in faults else 300 if "expired" in faults else 0),
        )
    assert type(caught.value) is expected
    assert comparisons.count == (faults == ("wrong",))


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (0, None),
        (299, None),
        (300, OTPExpiredException),
        (301, OTPExpiredException),
        (899, OTPExpiredException),
        (900, SessionExpiredException),
        (10**9, SessionExpiredException),
    ],
)
def test_code_and_context_are_valid_while_now_is_before_their_expiry(at, reason):
    code, context = generate_otp(now=NOW)
    if reason is None:
        assert validate_otp(code, context, now=NOW + at) is True
    else:
        with pytest.raises(reason):
            verify_otp(code, context, now=NOW + at)


def test_windows_may_end_together(settings):
    settings.OTP_EXPIRY_SECONDS = settings.OTP_SESSION_EXPIRY_SECONDS = 60
    code, context = generate_otp(now=NOW)
    with pytest.raises(SessionExpiredException):
        verify_otp(code, context, now=NOW + 60)
    assert verify_otp(code, context, now=NOW + 59)


def test_new_context_lives_no_longer_than_the_first(settings):
    code, context = generate_otp(now=NOW)
    renewed = guess(code, context, now=NOW + 299).new_context
    with pytest.raises(OTPExpiredException):
        verify_otp(code, renewed, now=NOW + 300)


# --- Counting


@pytest.mark.parametrize("follow", [True, False], ids=["newest context", "first context"])
@pytest.mark.parametrize("max_retries", [1, 3, 5])
def test_wrong_answers_count_down_and_the_last_one_is_still_invalid_otp(max_retries, follow, comparisons):
    code, context = generate_otp(max_retries=max_retries, now=NOW)
    for made in range(1, max_retries + 1):
        error = guess(code, context)
        remaining = max_retries - made
        assert (error.code, error.attempts_remaining) == ("INVALID_OTP", remaining)
        assert str(error) == f"Invalid OTP. Attempts remaining: {remaining}"
        assert retry_count(error.new_context) == made
        context = error.new_context if follow else context
    for answer in (code, wrong_code(code)):
        with pytest.raises(MaxRetriesExceededException, match=rf"\({max_retries}\)"):
            verify_otp(answer, context, now=NOW)
    assert comparisons.count == max_retries


def test_first_context_sent_a_hundred_times_buys_max_retries_comparisons(comparisons):
    code, context = generate_otp(max_retries=3)
    answers = []
    for _ in range(100):
        with pytest.raises(OTPException) as caught:
            verify_otp(wrong_code(code), context)
        answers.append(caught.value.code)
    assert answers == ["INVALID_OTP"] * 3 + ["MAX_RETRIES_EXCEEDED"] * 97
    assert comparisons.count == 3
    with pytest.raises(MaxRetriesExceededException):
        verify_otp(code, context)


def test_max_retries_of_zero_refuses_at_once(comparisons):
    code, context = generate_otp(max_retries=0)
    with pytest.raises(MaxRetriesExceededException, match=r"\(0\)"):
        verify_otp(code, context)
    with pytest.raises(MaxRetriesExceededException):
        increment_retry_count(context)
    assert comparisons.count == 0


def test_right_answer_after_wrong_ones_is_accepted_on_any_context_of_the_challenge():
    for use_newest in (True, False):
        code, context = generate_otp(now=NOW)
        renewed = guess(code, guess(code, context).new_context).new_context
        verified = verify_otp(code, renewed if use_newest else context, now=NOW)
        assert verified["retry_count"] == (2 if use_newest else 0)


def test_count_of_the_ledger_wins_over_an_older_context():
    code, context = generate_otp(max_retries=5, now=NOW)
    for made in (1, 2, 3):
        error = guess(code, context)
        assert (error.attempts_remaining, retry_count(error.new_context)) == (5 - made, made)


def test_count_of_the_context_wins_over_a_ledger_that_forgot():
    code, context = generate_otp(max_retries=5, now=NOW)
    for _ in range(3):
        context = guess(code, context).new_context
    with fresh_ledger():
        error = guess(code, context)
        assert (error.attempts_remaining, retry_count(error.new_context)) == (1, 4)
        context = guess(code, error.new_context).new_context
    with fresh_ledger(), pytest.raises(MaxRetriesExceededException):
        verify_otp(code, context, now=NOW)


@pytest.fixture
def calls(settings):
    """The calls of a ledger that notes them, see ``contract.dict_ledger.Call``."""
    settings.OTP_LEDGER = "contract.dict_ledger.RecordingLedger"
    with fresh_ledger():
        yield ledger_for(conf.current()).calls


def test_attempt_is_counted_then_compared_then_marked(calls, comparisons):
    code, context = generate_otp(now=NOW)
    before = comparisons.before
    guess(code, context)
    assert [(call.operation, call.compared - before) for call in calls] == [("take", 0)]
    verify_otp(code, context, now=NOW)
    assert [(call.operation, call.compared - before) for call in calls[1:]] == [("take", 1), ("advance", 2)]


def test_without_single_use_a_right_answer_is_given_back(settings, calls):
    settings.OTP_SINGLE_USE = False
    code, context = generate_otp(now=NOW)
    verify_otp(code, context, now=NOW)
    guess(code, context)
    assert [call.operation for call in calls] == ["take", "take", "give_back", "take"]


def test_attempt_that_never_ends_has_been_counted(settings, monkeypatch, comparisons):
    """A worker that is killed between counting and comparing has cost its client an attempt."""
    settings.OTP_LEDGER = "contract.dict_ledger.DictLedger"
    code, context = generate_otp(max_retries=1, now=NOW)

    def killed(ledger, *args, **kwargs):
        take(ledger, *args, **kwargs)
        raise KeyboardInterrupt

    take = DictLedger.take
    with fresh_ledger():
        with monkeypatch.context() as patch:
            patch.setattr(DictLedger, "take", killed)
            with pytest.raises(KeyboardInterrupt):
                verify_otp(code, context, now=NOW)
        with pytest.raises(MaxRetriesExceededException):
            verify_otp(code, context, now=NOW)
    assert comparisons.count == 0


def test_challenges_are_counted_apart():
    code, context = generate_otp("ada", max_retries=1, now=NOW)
    other_code, other = generate_otp("ada", max_retries=1, now=NOW)
    guess(code, context)
    assert verify_otp(other_code, other, now=NOW)


def test_refusals_that_are_not_attempts_cost_nothing(comparisons):
    code, context = generate_otp(max_retries=1, purpose="login", now=NOW)
    refused = [
        {"purpose": "reset"},
        {"purpose": ""},
        {"now": NOW + 300},
        {"now": NOW + 900},
        {"otp": None},
        {"otp": ""},
        {"otp": ["1"]},
        {"otp": "1" * 65},
        {"otp": 1.0},
        {"otp": True},
        {"encrypted_context": context + "A"},
        {"encrypted_context": f" {context}"},
        {"encrypted_context": None},
    ]
    good = {"otp": code, "encrypted_context": context, "purpose": "login", "now": NOW}
    for change in refused * 3:
        with pytest.raises(OTPException):
            verify_otp(**good | change)
    assert comparisons.count == 0
    assert verify_otp(**good)


def test_entries_outlive_the_session_by_five_minutes(calls):
    """So that a clock which is a little behind never meets a fresh count."""
    code, context = generate_otp(now=NOW)
    guess(code, context)
    verify_otp(code, context, now=NOW + 250)
    revoke_otp(context, now=NOW + 600)
    assert [call.expiry for call in calls] == [NOW + 900 + 300] * 4
    revoke_otp(context, now=NOW + 5000)
    assert calls[-1].expiry == NOW + 5000 + 300


# --- increment_retry_count


def test_increment_takes_from_the_ledger_too(comparisons):
    code, context = generate_otp(max_retries=3, now=NOW)
    assert retry_count(increment_retry_count(context, now=NOW)) == 1
    assert retry_count(increment_retry_count(context, now=NOW)) == 2  # The first context again.
    assert guess(code, context).attempts_remaining == 0
    for call in (lambda: increment_retry_count(context, now=NOW), lambda: verify_otp(code, context, now=NOW)):
        with pytest.raises(MaxRetriesExceededException):
            call()
    assert comparisons.count == 1


def test_context_from_increment_verifies():
    code, context = generate_otp(now=NOW)
    assert verify_otp(code, increment_retry_count(context, now=NOW), now=NOW)["retry_count"] == 1


def test_increment_of_a_used_or_revoked_challenge_is_refused():
    code, context = generate_otp(now=NOW)
    verify_otp(code, context, now=NOW)
    with pytest.raises(OTPUsedException):
        increment_retry_count(context, now=NOW)
    revoke_otp(context, now=NOW)
    with pytest.raises(OTPRevokedException):
        increment_retry_count(context, now=NOW)


# --- Single use


@pytest.mark.parametrize("call", [verify_otp, validate_otp])
@pytest.mark.parametrize("again", [verify_otp, validate_otp])
def test_code_is_accepted_once(call, again):
    code, context = generate_otp(max_retries=10, now=NOW)
    renewed = guess(code, context).new_context
    assert call(code, context, now=NOW)
    for spelling in (context, renewed):
        for answer in (code, wrong_code(code)):
            with pytest.raises(OTPUsedException):
                again(answer, spelling, now=NOW)


def test_validate_otp_hands_everything_over(monkeypatch):
    given = []
    monkeypatch.setattr(services, "verify_otp", lambda *args, **kwargs: given.append((args, kwargs)))
    assert services.validate_otp("123456", "gAAAAA", purpose="login", request="the request", now=NOW) is True
    assert given == [(("123456", "gAAAAA"), {"purpose": "login", "request": "the request", "now": NOW})]


def test_validate_otp_is_true_or_raises():
    code, context = generate_otp(purpose="login", now=NOW)
    with pytest.raises(InvalidOTPException):
        validate_otp(wrong_code(code), context, purpose="login", now=NOW)
    assert validate_otp(code, context, purpose="login", now=NOW) is True


def test_without_single_use_right_answers_cost_nothing_and_wrong_ones_do(settings, comparisons):
    settings.OTP_SINGLE_USE = False
    code, context = generate_otp(max_retries=3, now=NOW)
    for remaining in (2, 1, 0):
        if remaining:
            assert all(verify_otp(code, context, now=NOW) for _ in range(10))
        assert guess(code, context).attempts_remaining == remaining
    with pytest.raises(MaxRetriesExceededException):
        verify_otp(code, context, now=NOW)
    assert comparisons.count == 23


def test_used_code_stays_used_when_single_use_is_switched_off(settings):
    code, context = generate_otp(now=NOW)
    verify_otp(code, context, now=NOW)
    settings.OTP_SINGLE_USE = False
    with pytest.raises(OTPUsedException):
        verify_otp(code, context, now=NOW)


# --- Revocation


def test_revoked_challenge_is_worthless_on_every_context_of_it():
    code, context = generate_otp(now=NOW)
    renewed = guess(code, context).new_context
    for _ in range(3):  # Doing it again is fine.
        assert revoke_otp(renewed, now=NOW) is None
    for spelling in (context, renewed):
        with pytest.raises(OTPRevokedException):
            verify_otp(code, spelling, now=NOW)


def test_revoking_needs_no_purpose_and_no_valid_window():
    code, context = generate_otp(purpose="login", now=NOW)
    revoke_otp(context, now=NOW + 10_000)
    with pytest.raises(OTPRevokedException):
        verify_otp(code, context, purpose="login", now=NOW)


def test_revoking_one_leaves_others():
    code, context = generate_otp("ada", now=NOW)
    revoke_otp(generate_otp("ada", now=NOW)[1], now=NOW)
    assert verify_otp(code, context, now=NOW)


def test_revoking_works_on_a_decoy():
    decoy = generate_decoy(now=NOW)
    revoke_otp(decoy, now=NOW)
    with pytest.raises(OTPRevokedException):
        verify_otp("123456", decoy, now=NOW)


# --- Purpose


def test_purpose_product_passes_only_on_the_diagonal(comparisons):
    purposes = ["", "login", "Login", "login ", "reset", "\N{FULLWIDTH LATIN SMALL LETTER L}ogin", "x" * 128]
    for issued in purposes:
        code, context = generate_otp(purpose=issued, max_retries=1, now=NOW)
        for wanted in [*(p for p in purposes if p != issued), issued]:
            if wanted == issued:
                assert verify_otp(code, context, purpose=wanted, now=NOW)["purpose"] == issued
            else:
                with pytest.raises(OTPException, match="issued for something else") as caught:
                    verify_otp(code, context, purpose=wanted, now=NOW)
                assert caught.value.code == "OTP_ERROR"
    assert comparisons.count == len(purposes)


# --- Ledger None: stateless, as seed 000 describes it


@pytest.fixture
def stateless(settings):
    settings.OTP_LEDGER = None


@pytest.mark.usefixtures("stateless")
def test_without_ledger_the_context_counts():
    code, context = generate_otp(max_retries=3, now=NOW)
    for remaining in (2, 1, 0):
        error = guess(code, context)
        assert (error.attempts_remaining, retry_count(error.new_context)) == (remaining, 3 - remaining)
        context = error.new_context
    for answer in (code, wrong_code(code)):
        with pytest.raises(MaxRetriesExceededException):
            verify_otp(answer, context, now=NOW)
    with pytest.raises(MaxRetriesExceededException):
        increment_retry_count(context, now=NOW)


@pytest.mark.usefixtures("stateless")
def test_without_ledger_a_code_verifies_again_and_nothing_can_be_revoked():
    code, context = generate_otp(now=NOW)
    assert verify_otp(code, context, now=NOW)
    assert verify_otp(code, context, now=NOW)
    assert retry_count(increment_retry_count(context, now=NOW)) == 1
    with pytest.raises(OTPException, match="Nothing can be revoked without a ledger"):
        revoke_otp(context, now=NOW)


@pytest.mark.usefixtures("stateless")
def test_without_ledger_max_retries_of_zero_still_refuses():
    code, context = generate_otp(max_retries=0, now=NOW)
    with pytest.raises(MaxRetriesExceededException):
        verify_otp(code, context, now=NOW)


# --- A ledger that cannot tell


def test_ledger_without_room_for_the_attempt_accepts_and_compares_nothing(settings, comparisons, caplog):
    settings.OTP_PROCESS_LEDGER_SIZE = 1
    with fresh_ledger():
        increment_retry_count(generate_otp(now=NOW)[1], now=NOW)
        code, context = generate_otp(now=NOW)
        for call in (
            lambda: verify_otp(code, context, now=NOW),
            lambda: increment_retry_count(context, now=NOW),
            lambda: revoke_otp(context, now=NOW),
        ):
            with pytest.raises(OTPUnavailableException) as caught:
                call()
            assert caught.value.retry_after > 0
    assert comparisons.count == 0
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["The process ledger is full"] * 3


def test_ledger_with_room_for_the_attempt_has_room_for_the_used_mark(settings):
    settings.OTP_PROCESS_LEDGER_SIZE = 1
    code, context = generate_otp(now=NOW)
    with fresh_ledger():
        assert verify_otp(code, context, now=NOW)
        with pytest.raises(OTPUsedException):
            verify_otp(code, context, now=NOW)
        revoke_otp(context, now=NOW)
        with pytest.raises(OTPRevokedException):
            verify_otp(code, context, now=NOW)


# --- Contexts that are none


@pytest.mark.parametrize("context", [None, ""])
@pytest.mark.parametrize("call", [lambda c: verify_otp("123456", c), increment_retry_count, revoke_otp])
def test_missing_context_is_missing_fields(call, context):
    with pytest.raises(MissingFieldsException):
        call(context)


NO_CONTEXTS = [
    "garbage",
    "gAAAAA",
    "x" * 8192,
    "\0",
    "lone \ud800",
    "\N{FULLWIDTH LATIN SMALL LETTER G}AAAAA",
    " ",
    "=" * 100,
    5,
    1.5,
    True,
    b"gAAAAA",
    [],
    {},
    object(),
]


@pytest.mark.parametrize("context", NO_CONTEXTS, ids=lambda value: repr(value)[:20])
def test_what_is_no_context_at_all_is_otp_error(context):
    for call in (lambda c: verify_otp("123456", c), increment_retry_count, revoke_otp, decrypt_context):
        with pytest.raises(OTPException, match="Failed to decrypt context") as caught:
            call(context)
        assert type(caught.value) is OTPException


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c[:-4],
        lambda c: c[:-1],
        lambda c: c.rstrip("="),
        lambda c: c[4:],
        lambda c: c + "AAAA",
        lambda c: c + "=",
        lambda c: c + "\n",
        lambda c: " " + c,
        lambda c: c[:40] + " " + c[40:],
        lambda c: c[:40] + "\r\n" + c[40:],
        lambda c: c[:-4] + "+/==",
        lambda c: c[:-3] + chr(ord(c[-3]) + 1) + "==",  # Bits that canonical base64 leaves zero.
        lambda c: "h" + c[1:],
        lambda c: c.swapcase(),
        lambda c: c[:-40] + ("A" if c[-40] != "A" else "B") + c[-39:],
        lambda c: c[:30] + ("A" if c[30] != "A" else "B") + c[31:],
        lambda c: c.encode(),
    ],
)
def test_changed_context_is_refused(change):
    # An identifier of a length for which the token ends in "==", so that every change is one.
    code, context = next(issued for n in range(64) if (issued := generate_otp("x" * n, now=NOW))[1].endswith("=="))
    with pytest.raises(OTPException, match="Failed to decrypt context"):
        verify_otp(code, change(context), now=NOW)
    assert verify_otp(code, context, now=NOW)


def payload_text(**changes):
    _, context = generate_otp("ada", {"a": 1}, now=NOW)
    return json.dumps(decrypt_context(context) | changes)


def test_payload_sealed_by_another_fernet_is_accepted(fernet):
    """The base line of the next test: white space and another order are fine."""
    code, context = generate_otp("ada", {"a": 1}, now=NOW)
    fields = dict(reversed(decrypt_context(context).items()))
    sealed = fernet.encrypt(json.dumps(fields, indent=2).encode()).decode()
    assert verify_otp(code, sealed, now=NOW) == fields


@pytest.mark.parametrize(
    "payload",
    [
        lambda: b"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",  # A TOTP secret.
        lambda: b"",
        lambda: b"\xff\xfe\x00",
        lambda: b"null",
        lambda: b"[]",
        lambda: b"{}",
        lambda: b'{"user": 1}',
        lambda: b"NaN",
        lambda: b"[" * 4000,
        lambda: b'{"a":' * 1000 + b"1" + b"}" * 1000,
        lambda: payload_text(extra=1),
        lambda: payload_text().replace('"v": 2, ', ""),
        lambda: payload_text().replace('"retry_count": 0, ', ""),
        lambda: payload_text().replace('"v": 2', '"v": 2, "v": 2'),
        lambda: payload_text().replace('"a": 1', '"a": 1, "a": 2'),
        lambda: payload_text().replace('"a": 1', '"a": NaN'),
        lambda: payload_text(metadata=[[[[[[[[[1]]]]]]]]]),
        lambda: payload_text(metadata="x" * 4095),
        lambda: payload_text(v=1),
        lambda: payload_text(v=3),
        lambda: payload_text(v="2"),
        lambda: payload_text(v=True),
        lambda: payload_text(v=2.0),
        lambda: payload_text(jti="00"),
        lambda: payload_text(jti=None),
        lambda: payload_text(jti="G" * 32),
        lambda: payload_text(otp_hash="A" * 64),
        lambda: payload_text(otp_hash="0" * 63),
        lambda: payload_text(identifier=1.5),
        lambda: payload_text(identifier=True),
        lambda: payload_text(identifier=["ada"]),
        lambda: payload_text(identifier="x" * 1025),
        lambda: payload_text(purpose=None),
        lambda: payload_text(purpose="x" * 129),
        lambda: payload_text(retry_count=-1),
        lambda: payload_text(retry_count=True),
        lambda: payload_text(max_retries=10**7),
        lambda: payload_text(max_retries=2**64),
        lambda: payload_text(max_retries="3"),
        lambda: payload_text(otp_expiry=NOW + 0.5),
        lambda: payload_text(otp_expiry=-1),
        lambda: payload_text(session_expiry=2**70),
        lambda: payload_text().replace(str(NOW + 300), "1e99"),
        lambda: payload_text() + " x",
        lambda: payload_text() + payload_text(),
        lambda: "\ufeff" + payload_text(),
        lambda: payload_text().replace('"ada"', '"\\ud800"'),
        lambda: payload_text().replace('"ada"', "'ada'"),
        lambda: payload_text().encode("utf-16"),
        lambda: payload_text().replace("ada", "ad\u00e9").encode("latin-1"),
    ],
)
def test_foreign_payload_under_our_key_is_never_a_challenge(fernet, payload, comparisons):
    payload = payload()
    sealed = fernet.encrypt(payload if isinstance(payload, bytes) else payload.encode()).decode()
    for call in (lambda c: verify_otp("123456", c, now=NOW), increment_retry_count, revoke_otp):
        with pytest.raises(OTPException, match="Failed to decrypt context") as caught:
            call(sealed)
        assert type(caught.value) is OTPException
    assert comparisons.count == 0


def test_data_sealed_with_encrypt_context_is_no_challenge():
    with pytest.raises(OTPException, match="Failed to decrypt context"):
        verify_otp("123456", encrypt_context({"identifier": "ada", "otp": "123456"}))


@pytest.mark.parametrize("attempt", [lambda context: verify_otp("000000", context, now=NOW), increment_retry_count])
def test_context_that_is_too_big_to_be_answered_is_one_of_our_errors(attempt):
    """Another holder of the key may write a line break in two characters; we need six."""
    fields = decrypt_context(generate_otp("x", max_retries=9, now=NOW)[1])
    context = encrypt_context({**fields, "identifier": "\n" * 1000, "metadata": "m" * 3500})
    with pytest.raises(OTPException) as caught:
        attempt(context)
    assert caught.value.code == "OTP_ERROR"
