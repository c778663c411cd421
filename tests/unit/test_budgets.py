"""Budgets of wrong codes: for one identifier across its challenges, and for one address across everything."""

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from otp_actions import conf
from otp_actions.exceptions import InvalidOTPException, OTPException, OTPThrottledException
from otp_actions.ledgers import ledger_for
from otp_actions.services import canonical_identifier, generate_decoy, generate_otp, increment_retry_count, verify_otp
from otp_actions.testing import wrong_code

NOW = 1_800_000_000


def canonical(identifier):
    """Return *identifier* with its case: a project's own idea of who is who."""
    return identifier.strip()


def careless(identifier):
    """Return something else than text."""
    return len(identifier)


def guess(identifier="ada@example.com", *, now=NOW, purpose="", request=None):
    """Answer a fresh challenge for *identifier* with a wrong code."""
    code, context = generate_otp(identifier, purpose=purpose, now=now)
    with pytest.raises(InvalidOTPException):
        verify_otp(wrong_code(code), context, purpose=purpose, now=now, request=request)


def refused(identifier="ada@example.com", *, now=NOW, purpose="", request=None):
    """Return the refusal of a right code for *identifier*."""
    code, context = generate_otp(identifier, purpose=purpose, now=now)
    with pytest.raises(OTPThrottledException) as caught:
        verify_otp(code, context, purpose=purpose, now=now, request=request)
    return caught.value


def accepted(identifier="ada@example.com", *, now=NOW, purpose="", request=None):
    code, context = generate_otp(identifier, purpose=purpose, now=now)
    return verify_otp(code, context, purpose=purpose, now=now, request=request)


@pytest.fixture(autouse=True)
def _small(otp_settings):
    otp_settings(OTP_IDENTIFIER_BUDGET="4/h")


def test_default_budget_is_thirty_an_hour(otp_settings, settings, comparisons):
    del settings.OTP_IDENTIFIER_BUDGET
    comparisons.reset()
    for _ in range(30):
        guess()
    refused()
    assert comparisons.count == 30


def test_wrong_codes_of_many_challenges_are_bounded_together(comparisons):
    for _ in range(4):
        guess()
    for _ in range(10):
        refused()
    assert comparisons.count == 4


def test_refusal_says_when_there_is_room_again_and_costs_no_attempt():
    for second in range(4):
        guess(now=NOW + second)
    late = NOW + 3500
    code, context = generate_otp("ada@example.com", now=late)
    for _ in range(5):
        with pytest.raises(OTPThrottledException) as caught:
            verify_otp(code, context, now=late)
        assert caught.value.retry_after == 100
    with pytest.raises(OTPThrottledException) as caught:
        verify_otp(code, context, now=late + 99)
    assert caught.value.retry_after == 1
    with pytest.raises(InvalidOTPException) as wrong:
        verify_otp(wrong_code(code), context, now=late + 100)
    assert wrong.value.attempts_remaining == 2


def test_window_begins_with_the_first_wrong_code_and_ends():
    for minute in range(4):
        guess(now=NOW + minute * 60)
    refused(now=NOW + 3599)
    guess(now=NOW + 3600)
    assert accepted(now=NOW + 3600)


def test_right_code_starts_the_budget_afresh_for_its_own_subject_only():
    for whom in ("ada@example.com", "bob@example.com"):
        for _ in range(3):
            guess(whom)
    for _ in range(3):
        guess(purpose="reset")
    accepted()
    for _ in range(4):
        guess()
    refused()
    guess("bob@example.com")
    refused("bob@example.com")
    guess(purpose="reset")
    refused(purpose="reset")


def test_right_codes_cost_nothing():
    for _ in range(20):
        accepted()
    for _ in range(4):
        guess()
    refused()


def test_without_single_use_a_right_code_starts_the_budget_afresh_too(settings):
    settings.OTP_SINGLE_USE = False
    for _ in range(3):
        guess()
    accepted()
    for _ in range(4):
        guess()
    refused()


def test_purposes_have_budgets_of_their_own():
    for _ in range(4):
        guess(purpose="login")
    refused(purpose="login")
    accepted(purpose="reset")


def test_without_an_identifier_there_is_no_budget():
    for _ in range(10):
        guess(None)
    assert accepted(None)["identifier"] is None


def test_none_switches_it_off(settings):
    settings.OTP_IDENTIFIER_BUDGET = None
    for _ in range(10):
        guess()
    accepted()


def test_number_is_somebody_else_than_its_digits():
    for _ in range(4):
        guess(42)
    refused(42)
    accepted("42")
    accepted(-42)


@pytest.mark.parametrize(
    "spelling",
    [
        " ada@example.com",
        "ada@example.com\t\n",
        "\x1cada@example.com",
        "\uff41\uff44\uff41@example.com",
        "\u3000ada@example.com\xa0",
        "ADA@EXAMPLE.COM",
        "ada@ex\xadample.com",
        "a\u200bda@example.com\ufe0f",
        "ada@example.com\U000e0001",
        "ada@example\u3002com",
        "ada@example\uff61com",
    ],
)
def test_spelling_that_looks_alike_is_the_same_subject(spelling):
    for _ in range(4):
        guess(spelling)
    refused()


def test_first_attempt_takes_an_entry_for_the_challenge_and_one_for_the_budget():
    guess()
    assert ledger_for(conf.current()).core.size == 2


def test_case_is_no_part_of_an_identifier_unless_the_project_says_otherwise(settings):
    for _ in range(4):
        guess("ADA@example.com")
    refused("ada@example.com")
    settings.OTP_CANONICAL_IDENTIFIER = "unit.test_budgets.canonical"
    for _ in range(4):
        guess("Eve@example.com")
    accepted("eve@example.com")
    refused("Eve@example.com ")
    accepted(7)


def test_canonical_function_that_does_not_return_text_is_a_bug_and_accepts_nothing(settings, comparisons):
    settings.OTP_CANONICAL_IDENTIFIER = "unit.test_budgets.careless"
    with pytest.raises(TypeError, match="OTP_CANONICAL_IDENTIFIER must return a str"):
        accepted()
    assert comparisons.count == 0


def test_decoy_counts_like_a_real_one():
    for _ in range(4):
        with pytest.raises(InvalidOTPException):
            verify_otp("000000", generate_decoy("ada@example.com", now=NOW), now=NOW)
    refused()


def test_increment_counts_for_the_budget_too():
    for _ in range(4):
        increment_retry_count(generate_otp("ada@example.com", now=NOW)[1], now=NOW)
    with pytest.raises(OTPThrottledException):
        increment_retry_count(generate_otp("ada@example.com", now=NOW)[1], now=NOW)


def test_attempts_come_before_the_budget():
    code, context = generate_otp("ada@example.com", max_retries=4, now=NOW)
    for _ in range(4):
        with pytest.raises(InvalidOTPException):
            verify_otp(wrong_code(code), context, now=NOW)
    with pytest.raises(Exception, match="Maximum retry attempts"):
        verify_otp(code, context, now=NOW)
    refused()


# --- By address


def request_from(address="192.0.2.1", **headers):
    return RequestFactory().post("/", REMOTE_ADDR=address, **headers)


@pytest.fixture
def by_address(settings):
    settings.OTP_IDENTIFIER_BUDGET = None
    settings.OTP_IP_BUDGET = "4/h"


@pytest.mark.usefixtures("by_address")
def test_one_address_is_bounded_across_identifiers_and_purposes(comparisons):
    for number in range(4):
        guess(number, purpose=str(number), request=request_from())
    refused("somebody else", request=request_from())
    assert comparisons.count == 4
    accepted(request=request_from("192.0.2.2"))


@pytest.mark.usefixtures("by_address")
def test_right_code_does_not_cost_an_address_but_does_not_clear_it():
    for number in range(3):
        guess(number, request=request_from())
        accepted(number, request=request_from())
    guess(9, request=request_from())
    refused(9, request=request_from())


@pytest.mark.usefixtures("by_address")
def test_increment_counts_for_the_address_too():
    for number in range(4):
        increment_retry_count(generate_otp(number, now=NOW)[1], request=request_from(), now=NOW)
    context = generate_otp(9, now=NOW)[1]
    with pytest.raises(OTPThrottledException) as caught:
        increment_retry_count(context, request=request_from(), now=NOW + 60)
    assert caught.value.retry_after == 3540
    assert increment_retry_count(context, request=request_from("192.0.2.2"), now=NOW)


@pytest.mark.usefixtures("by_address")
def test_without_a_request_no_address_is_counted():
    for _ in range(10):
        guess()
    accepted()


@pytest.mark.usefixtures("by_address")
def test_forwarded_for_moves_nothing_unless_proxies_are_trusted():
    for number in range(4):
        guess(number, request=request_from(HTTP_X_FORWARDED_FOR=f"198.51.100.{number}"))
    refused(9, request=request_from(HTTP_X_FORWARDED_FOR="198.51.100.9"))


@pytest.mark.usefixtures("by_address")
def test_entries_to_the_left_of_a_trusted_proxy_move_nothing(settings):
    settings.OTP_TRUSTED_PROXY_COUNT = 1
    for number in range(4):
        guess(number, request=request_from(HTTP_X_FORWARDED_FOR=f"198.51.100.{number}, 203.0.113.7"))
    refused(9, request=request_from(HTTP_X_FORWARDED_FOR="1.1.1.1,  203.0.113.7 "))
    accepted(9, request=request_from(HTTP_X_FORWARDED_FOR="203.0.113.7, 203.0.113.8"))


@pytest.mark.usefixtures("by_address")
def test_ipv6_is_counted_by_its_first_64_bits():
    for number in range(4):
        guess(number, request=request_from(f"2001:db8:1:2::{number}"))
    refused(9, request=request_from("2001:db8:1:2:ffff::1"))
    accepted(9, request=request_from("2001:db8:1:3::1"))


@pytest.mark.usefixtures("by_address")
def test_what_has_no_address_shares_one_budget():
    for number, address in enumerate(["", "", "not an address", ""]):
        guess(number, request=request_from(address))
    refused(9, request=request_from(""))


def test_both_budgets_at_once_take_from_both_or_from_neither(settings):
    settings.OTP_IP_BUDGET = "6/h"
    for _ in range(4):
        guess("ada", request=request_from())
    for _ in range(5):
        refused("ada", request=request_from())  # Costs the address nothing.
    for _ in range(2):
        guess("bob", request=request_from())
    refused("bob", request=request_from())


@pytest.mark.parametrize("text", ["", " ", "Ada", "A\x1c", "~Z{@[`", "\tMixed Case \n", "a\0B", "ÄÖß", "ǅ", "ﬁ", "İ"])
def test_the_core_folds_ascii_as_python_does(text):
    assert conf.current().rules.canonical(text) == conf.fold(text)
    assert conf.fold(conf.fold(text)) == conf.fold(text)


def test_ascii_is_folded_alike_character_by_character():
    for number in range(128):
        text = f"a{chr(number)}b{chr(number)}"
        assert conf.current().rules.canonical(text) == conf.fold(text)


@pytest.mark.parametrize(
    ("spelling", "same"),
    [
        ("rene\u200d\u0301", "ren\u00e9"),
        ("RENE\u200b\u0301", "ren\u00e9"),
        ("a\u2065da", "ada"),
        ("\ufff0ada\ufff8", "ada"),
        ("a\uffa0da", "ada"),
        ("\uff41d\u00ada", "ada"),
    ],
)
def test_what_shows_nothing_makes_nobody_another(spelling, same):
    assert canonical_identifier(spelling) == canonical_identifier(same) == conf.fold(same)


def test_letters_that_only_a_database_takes_for_the_same_are_others():
    """So views compare what the database finds, as the quickstart does."""
    assert len({canonical_identifier(name) for name in ("vicinity", "v\u0131cinity", "v\u00edcinity")}) == 3


def test_canonical_form_is_that_of_the_setting(settings):
    settings.OTP_CANONICAL_IDENTIFIER = "unit.test_budgets.canonical"
    assert canonical_identifier(" Ada@Example.com ") == "Ada@Example.com"


def test_identifier_without_utf8_has_no_canonical_form():
    with pytest.raises(OTPException, match="cannot be stored"):
        canonical_identifier("\ud800")


@given(st.text())
def test_folding_twice_is_folding_once(text):
    assert conf.fold(conf.fold(text)) == conf.fold(text)
