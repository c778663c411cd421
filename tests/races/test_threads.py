"""Many requests at once: a barrier, then everything the threads of one process can do to one challenge."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from otp_actions import conf
from otp_actions.exceptions import InvalidOTPException, OTPException
from otp_actions.ledgers import ledger_for
from otp_actions.services import generate_otp, increment_retry_count, revoke_otp, verify_otp
from otp_actions.testing import fresh_ledger, wrong_code

THREADS = 64


def reasons(outcomes):
    return Counter(getattr(outcome, "code", type(outcome).__name__) for outcome in outcomes)


@pytest.fixture
def meet(settings):
    """``meet(n)``: nobody is compared before *n* threads have been counted.

    The time between counting and marking is the worst one to be interrupted in; left to itself, a thread rarely is.
    """
    settings.OTP_LEDGER = "races.meeting.MeetingLedger"
    settings.OTP_IDENTIFIER_BUDGET = None

    def meet(count):
        ledger_for(conf.current()).place = threading.Barrier(count)

    with fresh_ledger():
        yield meet


@pytest.mark.parametrize("max_retries", [1, 3, 10])
def test_wrong_codes_at_once_are_compared_exactly_max_retries_times(max_retries, at_once, meet, comparisons):
    meet(max_retries)
    code, context = generate_otp(max_retries=max_retries)
    outcomes = at_once(THREADS, lambda: verify_otp(wrong_code(code), context))
    assert comparisons.count == max_retries
    assert reasons(outcomes) == {"INVALID_OTP": max_retries, "MAX_RETRIES_EXCEEDED": THREADS - max_retries}
    remaining = [error.attempts_remaining for error in outcomes if isinstance(error, InvalidOTPException)]
    assert sorted(remaining) == list(range(max_retries))


@pytest.mark.parametrize("max_retries", [1, 3, 100])
def test_right_code_at_once_succeeds_exactly_once(max_retries, at_once, meet, comparisons):
    compared = min(max_retries, THREADS)
    meet(compared)
    code, context = generate_otp("ada", max_retries=max_retries)
    found = reasons(at_once(THREADS, lambda: verify_otp(code, context)))
    assert found["dict"] == 1
    assert found.keys() <= {"dict", "OTP_USED", "MAX_RETRIES_EXCEEDED"}
    assert found["OTP_USED"] >= compared - 1
    assert sum(found.values()) == THREADS
    assert comparisons.count == compared


@pytest.mark.parametrize("max_retries", [3, 100])
def test_right_code_at_once_without_meeting_succeeds_exactly_once(max_retries, at_once):
    for _ in range(10):
        code, context = generate_otp(max_retries=max_retries)
        found = reasons(at_once(16, lambda code=code, context=context: verify_otp(code, context)))
        assert found["dict"] == 1
        assert found.keys() <= {"dict", "OTP_USED", "MAX_RETRIES_EXCEEDED"}


def test_revocation_between_counting_and_marking_wins(meet):
    code, context = generate_otp()
    meet(2)
    place = ledger_for(conf.current()).place
    with ThreadPoolExecutor(1) as pool:
        verification = pool.submit(verify_otp, code, context)
        while not place.n_waiting and not verification.done():
            pass
        revoke_otp(context)
        place.wait(timeout=20)
        with pytest.raises(OTPException):
            verification.result()


def test_right_and_wrong_codes_at_once_stay_within_max_retries(at_once, comparisons):
    code, context = generate_otp(max_retries=5)
    answers = iter([wrong_code(code)] * (THREADS // 2) + [code] * (THREADS // 2))
    outcomes = at_once(THREADS, lambda: verify_otp(next(answers), context))
    assert comparisons.count <= 5
    assert reasons(outcomes)["dict"] <= 1


def test_increments_and_wrong_codes_share_one_count(at_once, comparisons):
    code, context = generate_otp(max_retries=10)
    two_ways = [lambda: verify_otp(wrong_code(code), context), lambda: increment_retry_count(context)]
    calls = iter(two_ways * (THREADS // 2))
    outcomes = at_once(THREADS, lambda: next(calls)())
    found = reasons(outcomes)
    assert found["INVALID_OTP"] + found["str"] == 10
    assert comparisons.count == found["INVALID_OTP"]


def test_nothing_is_accepted_once_somebody_has_revoked(at_once):
    code, context = generate_otp(max_retries=1000)

    def revoke_and_verify():
        revoke_otp(context)
        return verify_otp(code, context)

    assert reasons(at_once(THREADS, revoke_and_verify)) == {"OTP_REVOKED": THREADS}


def test_without_single_use_right_codes_at_once_cost_nothing_in_the_end(settings, at_once):
    settings.OTP_SINGLE_USE = False
    code, context = generate_otp(max_retries=THREADS)
    assert reasons(at_once(THREADS, lambda: verify_otp(code, context))) == {"dict": THREADS}
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp(wrong_code(code), context)
    assert caught.value.attempts_remaining == THREADS - 1


def test_codes_issued_at_once_are_all_different_challenges(at_once):
    issued = at_once(THREADS, lambda: [generate_otp() for _ in range(20)])
    contexts = {context for batch in issued for _, context in batch}
    assert len(contexts) == THREADS * 20
    assert all(verify_otp(code, context) for batch in issued for code, context in batch)
