"""What is an attempt: which answers are compared, which are put right first, and which are none."""

import itertools
import time
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_actions import services
from otp_actions.exceptions import InvalidOTPException, MissingFieldsException, OTPException
from otp_actions.services import generate_otp, verify_otp


def issued(first_digit=None):
    """Return a code, one that starts with *first_digit* perhaps, and its context."""
    for _ in itertools.count():
        code, context = generate_otp(max_retries=1)
        if first_digit is None or (code[0] == "0") == (first_digit == "0"):
            return code, context
    raise AssertionError


def in_digits_from(zero):
    return lambda code: "".join(chr(ord(zero) + int(digit)) for digit in code)


@pytest.mark.parametrize(
    "write",
    [
        lambda code: f"{code[:3]} {code[3:]}",
        lambda code: f"{code[:3]}-{code[3:]}",
        lambda code: f"  {code}\t\r\n",
        lambda code: "-".join(code),
        lambda code: " - ".join(code),
        lambda code: "\N{NO-BREAK SPACE}".join(code),
        lambda code: "\N{EM SPACE}".join(code),
        lambda code: "\N{NARROW NO-BREAK SPACE}".join(code),
        lambda code: "\N{IDEOGRAPHIC SPACE}".join(code),
        lambda code: "\N{HYPHEN}".join(code),
        lambda code: "\N{NON-BREAKING HYPHEN}".join(code),
        lambda code: "\N{FULLWIDTH HYPHEN-MINUS}".join(code),
        lambda code: "\N{SMALL HYPHEN-MINUS}".join(code),
        lambda code: code + " " * (64 - len(code)),
        in_digits_from("\N{FULLWIDTH DIGIT ZERO}"),
        in_digits_from("\N{MATHEMATICAL BOLD DIGIT ZERO}"),
        in_digits_from("\N{SEGMENTED DIGIT ZERO}"),
        lambda code: code.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")),
        type("Sub", (str,), {}),
    ],
)
def test_spaces_hyphens_and_compatible_digits_are_put_right(write):
    code, context = issued()
    assert verify_otp(write(code), context)


def test_int_is_the_code_if_no_zero_leads():
    code, context = issued("1")
    assert verify_otp(int(code), context)


def test_int_is_not_padded_with_zeros(comparisons):
    code, context = issued("0")
    with pytest.raises(InvalidOTPException):
        verify_otp(int(code), context)
    assert comparisons.count == 1


@pytest.mark.parametrize(
    "otp",
    [
        "0",
        "abc",
        "x" * 64,
        "\0",
        "123456\0",
        "lone \ud800",
        "\ud83d\udd11",
        "🔑" * 64,
        "١٢٣٤٥٦",  # Digits to NFKC, but not the ones of a code.
        "۱۲۳۴۵۶",
        "½",
        "12.456",
        "+123456",
        "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 64,  # Eighteen times as long after NFKC.
        "-" * 63 + "1",
        0,
        -1,
        -(10**62),
        10**63,
        10**64 - 1,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_wrong_answer_of_up_to_64_characters_is_compared_and_counted(otp, comparisons):
    _, context = generate_otp(max_retries=1, length=12)
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp(otp, context)
    assert caught.value.attempts_remaining == 0
    assert comparisons.count == 1


@pytest.mark.parametrize("otp", [None, "", " ", "\t\n", "-", " - - ", "\N{EM SPACE}\N{HYPHEN}", " " * 64])
def test_nothing_is_missing_fields_and_not_counted(otp):
    code, context = issued()
    for _ in range(3):
        with pytest.raises(MissingFieldsException) as caught:
            verify_otp(otp, context)
        assert (caught.value.code, str(caught.value)) == ("MISSING_FIELDS", "OTP and context are required")
    assert verify_otp(code, context)


@pytest.mark.parametrize(
    ("otp", "message"),
    [
        ("1" * 65, "longer than 64 characters"),
        (" " * 65, "longer than 64 characters"),
        ("123456" + " " * 59, "longer than 64 characters"),
        ("x" * 10**6, "longer than 64 characters"),
        (10**64, "longer than 64 characters"),
        (2**214, "longer than 64 characters"),
        (10**5000, "longer than 64 characters"),  # Python itself would not print it.
        (True, "must be text or a whole number"),
        (False, "must be text or a whole number"),
        (1.0, "must be text or a whole number"),
        (float("nan"), "must be text or a whole number"),
        (Decimal(1), "must be text or a whole number"),
        (b"123456", "must be text or a whole number"),
        ([], "must be text or a whole number"),
        (["123456"], "must be text or a whole number"),
        ({}, "must be text or a whole number"),
        ({"otp": "123456"}, "must be text or a whole number"),
        (object(), "must be text or a whole number"),
    ],
    ids=lambda value: "" if isinstance(value, str) and value[:1] in "lm" else type(value).__name__,
)
def test_what_is_no_answer_by_its_form_is_refused_and_not_counted(otp, message):
    code, context = issued()
    for _ in range(3):
        with pytest.raises(OTPException, match=message) as caught:
            verify_otp(otp, context)
        assert (type(caught.value), caught.value.code) == (OTPException, "OTP_ERROR")
    assert verify_otp(code, context)


def test_length_is_capped_before_normalising(monkeypatch):
    _, context = issued()

    normalised = []

    class Spy:
        @staticmethod
        def normalize(form, text):
            normalised.append((form, len(text)))
            return unicodedata.normalize(form, text)

    monkeypatch.setattr(services, "unicodedata", Spy)
    for length in (65, 64):
        with pytest.raises(OTPException):
            verify_otp("é" * length, context)
    assert normalised == [("NFKC", 64)]


NOW = 1_800_000_000
CODE, CONTEXT = generate_otp(max_retries=1_000_000, now=NOW)


@given(
    st.text(alphabet=st.characters(codec=None), max_size=80)
    | st.integers()
    | st.floats()
    | st.binary()
    | st.none()
    | st.booleans()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text())
)
def test_any_answer_at_all_is_refused_with_one_of_our_reasons(otp):
    with pytest.raises(OTPException) as caught:
        verify_otp(otp, CONTEXT, now=NOW)
    assert caught.value.code in {"INVALID_OTP", "OTP_ERROR", "MISSING_FIELDS"}


@given(st.text(alphabet=st.characters(codec=None)) | st.binary() | st.integers() | st.none() | st.lists(st.text()))
def test_any_context_at_all_is_refused_with_one_of_our_reasons(context):
    with pytest.raises(OTPException) as caught:
        verify_otp(CODE, context)
    assert caught.value.code in {"OTP_ERROR", "MISSING_FIELDS"}


def fastest(call):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        with pytest.raises(OTPException):
            call()
        times.append(time.perf_counter() - start)
    return min(times)


def test_context_over_its_limit_is_refused_without_decoding(settings):
    """The token itself is sound, so only its length can be the reason; and length is looked at first."""
    keyring = services.conf.current().keyring
    longest = keyring.seal(b"x" * 6079, 0)
    assert len(longest) == 8184
    assert keyring.open(longest) == b"x" * 6079
    with pytest.raises(services._core.ContextTooBig):
        keyring.seal(b"x" * 6080, 0)
    huge = longest * 5000  # Forty megabytes: decoding them would take many milliseconds.
    assert fastest(lambda: verify_otp("123456", huge)) < 0.005


def test_sound_token_over_the_limit_is_refused(fernet):
    token = fernet.encrypt(b'{"a":"' + b"x" * 6072 + b'"}').decode()
    assert len(token) == 8204
    for call in (lambda c: verify_otp("123456", c), services.decrypt_context):
        with pytest.raises(OTPException, match="Failed to decrypt context"):
            call(token)
    assert services.decrypt_context(fernet.encrypt(b'{"a":"' + b"x" * 6071 + b'"}').decode())
