"""Issuing: the calls, what comes back, and what is refused before anything is sealed."""

import inspect
import json
import math
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from otp_actions import services
from otp_actions.exceptions import InvalidOTPException, MaxRetriesExceededException, OTPException
from otp_actions.services import decrypt_context, generate_decoy, generate_otp, verify_otp

NOW = 1_800_000_000
SEED_FIELDS = {
    "identifier",
    "otp_hash",
    "metadata",
    "timestamp",
    "otp_expiry",
    "session_expiry",
    "retry_count",
    "max_retries",
}


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        (
            "generate_otp",
            (
                "(identifier=None, metadata=None, max_retries=None, length=None, "
                "*, purpose='', supersede=False, request=None, now=None)"
            ),
        ),
        (
            "generate_decoy",
            (
                "(identifier=None, metadata=None, max_retries=None, "
                "*, purpose='', supersede=False, request=None, now=None)"
            ),
        ),
        ("verify_otp", "(otp, encrypted_context, *, purpose='', request=None, now=None)"),
        ("validate_otp", "(otp, encrypted_context, *, purpose='', request=None, now=None)"),
        ("increment_retry_count", "(encrypted_context, *, request=None, now=None)"),
        ("revoke_otp", "(encrypted_context, *, request=None, now=None)"),
        ("revoke_identifier", "(identifier, *, purpose='', request=None, now=None)"),
    ],
)
def test_calls_and_their_async_twins_have_the_documented_signature(name, signature):
    for twin in (name, f"a{name}"):
        call = inspect.signature(getattr(services, twin))
        bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in call.parameters.values()]
        assert str(inspect.Signature(bare)) == signature
    assert not inspect.iscoroutinefunction(getattr(services, name))
    assert inspect.iscoroutinefunction(getattr(services, f"a{name}"))


# --- The code


@pytest.mark.parametrize("length", range(4, 13))
def test_code_is_text_of_that_many_ascii_digits_and_verifies(length):
    code, context = generate_otp(length=length)
    assert type(code) is str
    assert len(code) == length
    assert code.isascii()
    assert code.isdigit()
    assert verify_otp(code, context)


def test_default_length_is_six_and_a_setting(settings):
    assert len(generate_otp()[0]) == 6
    settings.OTP_DEFAULT_LENGTH = 9
    assert len(generate_otp()[0]) == 9
    assert len(generate_otp(length=4)[0]) == 4


def test_every_digit_comes_up_at_every_place():
    codes = [generate_otp(length=4)[0] for _ in range(1000)]
    assert [len(set(digits)) for digits in zip(*codes, strict=True)] == [10] * 4
    assert len(set(codes)) > 900  # 1000 draws of 10000 meet about 48 times.


@pytest.mark.parametrize("length", [3, 13, 0, -6, True, "6", 6.0, 2**70])
def test_length_out_of_range_is_refused(length):
    with pytest.raises(OTPException, match="A code has 4 to 12 digits"):
        generate_otp(length=length)


# --- The context


def test_context_is_a_fernet_token_that_differs_each_time_and_holds_no_code(fernet):
    code, context = generate_otp("ada", length=12, now=NOW)
    assert context.startswith("gAAAAA")
    assert context != generate_otp("ada", now=NOW)[1]
    assert code not in fernet.decrypt(context).decode()
    assert fernet.extract_timestamp(context) == NOW


def test_payload_has_the_eight_fields_of_the_seed_and_ours():
    _, context = generate_otp("ada", {"a": 1}, 5, purpose="login", now=NOW)
    payload = decrypt_context(context)
    assert payload.keys() == SEED_FIELDS | {"v", "jti", "purpose"}
    assert len(payload.pop("otp_hash")) == 64
    assert len(payload.pop("jti")) == 32
    assert payload == {
        "v": 2,
        "purpose": "login",
        "identifier": "ada",
        "metadata": {"a": 1},
        "timestamp": NOW,
        "otp_expiry": NOW + 300,
        "session_expiry": NOW + 900,
        "retry_count": 0,
        "max_retries": 5,
    }


def test_verified_dict_is_the_payload():
    code, context = generate_otp("ada", {"a": 1}, purpose="login", now=NOW)
    assert verify_otp(code, context, purpose="login", now=NOW) == decrypt_context(context)


def test_windows_and_retries_are_settings(settings):
    settings.OTP_EXPIRY_SECONDS = 60
    settings.OTP_SESSION_EXPIRY_SECONDS = 120
    settings.OTP_DEFAULT_MAX_RETRIES = 7
    payload = decrypt_context(generate_otp(now=NOW)[1])
    assert (payload["otp_expiry"], payload["session_expiry"], payload["max_retries"]) == (NOW + 60, NOW + 120, 7)
    assert decrypt_context(generate_otp(max_retries=2)[1])["max_retries"] == 2


@pytest.mark.parametrize("max_retries", [-1, 1_000_001, True, "3", 3.0, 2**70])
def test_max_retries_out_of_range_is_refused(max_retries):
    for issue in (generate_otp, generate_decoy):
        with pytest.raises(OTPException, match="max_retries must be a whole number from 0 to 1000000"):
            issue(max_retries=max_retries)


@pytest.mark.parametrize(("max_retries", "length"), [(0, 4), (1_000_000, 12)])
def test_reason_is_the_argument_that_is_wrong_though_others_are_at_their_limits(max_retries, length):
    with pytest.raises(OTPException, match="The identifier"):
        generate_otp("x" * 1025, max_retries=max_retries, length=length)


def test_max_retries_at_its_limit_is_accepted():
    code, context = generate_otp(max_retries=1_000_000)
    assert verify_otp(code, context)["max_retries"] == 1_000_000


# --- Identifier and purpose


@pytest.mark.parametrize(
    "identifier",
    [
        None,
        "",
        "ada@example.com",
        "Ünïcødé 🔑",
        'quo"te\\back\nline\0nul',
        "x" * 1024,
        "é" * 512,
        0,
        42,
        "42",
        2**63 - 1,
        -(2**63),
    ],
    ids=repr,
)
def test_identifier_comes_back_as_it_was(identifier):
    code, context = generate_otp(identifier)
    verified = verify_otp(code, context)["identifier"]
    assert verified == identifier
    assert type(verified) is type(identifier)


@pytest.mark.parametrize(
    "identifier",
    ["x" * 1025, "é" * 513, "lone \ud800", 2**63, -(2**63) - 1, True, 1.5, b"ada", ["ada"], {"id": 1}, object()],
    ids=lambda value: type(value).__name__,
)
def test_identifier_that_cannot_be_stored_is_refused(identifier):
    for issue in (generate_otp, generate_decoy):
        with pytest.raises(OTPException, match="identifier"):
            issue(identifier)


@pytest.mark.parametrize("identifier", [True, False, 1.5, b"ada", ["ada"], {"id": 1}], ids=repr)
def test_identifier_that_is_neither_text_nor_number_is_told_so(identifier):
    for issue in (generate_otp, generate_decoy):
        with pytest.raises(OTPException, match=r"The identifier must be text, a whole number or None\."):
            issue(identifier)


def test_identifier_type_is_part_of_the_digest(fernet):
    """42 is not "42", and nothing is not "": a context whose identifier was swapped does not verify."""
    for issued, swapped in ((42, "42"), ("42", 42), (None, ""), ("", None), ("ada", "eve")):
        code, context = generate_otp(issued)
        payload = decrypt_context(context)
        same = fernet.encrypt(json.dumps(payload).encode()).decode()
        other = fernet.encrypt(json.dumps(payload | {"identifier": swapped}).encode()).decode()
        with pytest.raises(InvalidOTPException):
            verify_otp(code, other)
        assert verify_otp(code, same)["identifier"] == issued


@pytest.mark.parametrize("field", ["jti", "purpose", "otp_hash"])
def test_digest_belongs_to_one_challenge_only(fernet, field):
    """What is sealed cannot be recombined, not even by somebody who holds the key of the tokens."""
    code, context = generate_otp(purpose="login")
    _, other = generate_otp(purpose="reset")
    mixed = decrypt_context(context) | {field: decrypt_context(other)[field]}
    with pytest.raises(InvalidOTPException):
        verify_otp(code, fernet.encrypt(json.dumps(mixed).encode()).decode(), purpose=mixed["purpose"])


@pytest.mark.parametrize("purpose", ["x" * 129, "é" * 65, "lone \ud800", None, 5, b"login", ["login"]])
def test_purpose_that_cannot_be_stored_is_refused(purpose):
    for issue in (generate_otp, generate_decoy):
        with pytest.raises(OTPException, match="purpose"):
            issue(purpose=purpose)


def test_purpose_at_its_limit_is_accepted():
    code, context = generate_otp(purpose="x" * 128)
    assert verify_otp(code, context, purpose="x" * 128)


def test_identifier_and_metadata_that_do_not_fit_together_are_refused():
    for issue in (generate_otp, generate_decoy):
        with pytest.raises(OTPException, match="do not fit into a context of 8192 characters"):
            issue("\0" * 1024, "x" * 4094)


# --- Metadata


def nested(depth):
    value = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def text_encodes(value):
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False


@given(JSON.filter(lambda value: text_encodes(value)))
def test_metadata_of_any_json_comes_back_equal(metadata):
    code, context = generate_otp(metadata=metadata)
    verified = verify_otp(code, context)["metadata"]
    assert verified == metadata
    assert json.dumps(verified) == json.dumps(metadata)  # Also 1 and 1.0, True and 1, 0.0 and -0.0.


def test_metadata_tuples_become_lists():
    code, context = generate_otp(metadata={"a": (1, ("b",))})
    assert verify_otp(code, context)["metadata"] == {"a": [1, ["b"]]}


@pytest.mark.parametrize("metadata", [{"a": "x" * 4088}, "x" * 4094, "é" * 2047, "\n" * 2047, nested(8)])
def test_metadata_at_the_limit_comes_back(metadata):
    assert len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) <= 4096
    code, context = generate_otp(metadata=metadata)
    assert verify_otp(code, context)["metadata"] == metadata
    assert decrypt_context(generate_decoy(metadata=metadata))["metadata"] == metadata


CIRCLE = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": "x" * 4089}, "larger than 4096 bytes"),
        ("x" * 4095, "larger than 4096 bytes"),
        ("é" * 2048, "larger than 4096 bytes"),
        ("\n" * 2048, "larger than 4096 bytes"),
        ("x" * 10**6, "larger than 4096 bytes"),
        (nested(9), "deeper than 8 levels"),
        (nested(100_000), "deeper than 8 levels"),
        (CIRCLE, "deeper than 8 levels"),
        ([[[[[[[[()]]]]]]]], "deeper than 8 levels"),
        (math.nan, "not JSON"),
        ([math.inf], "not JSON"),
        ({"a": -math.inf}, "not JSON"),
        ("lone \ud800", "not JSON"),
        ({"lone \udfff": 1}, "not JSON"),
        (object(), "not JSON: it holds object"),
        (b"bytes", "not JSON: it holds bytes"),
        ({1, 2}, "not JSON: it holds set"),
        ([Decimal(1)], "not JSON: it holds Decimal"),
        ({"at": datetime.now(timezone.utc)}, "not JSON: it holds datetime"),
        ({1: 2}, "not JSON: it holds a key of type int"),
        ({"a": [{None: 2}]}, "not JSON: it holds a key of type NoneType"),
    ],
    ids=lambda value: repr(value)[:16] if not isinstance(value, list | dict) else type(value).__name__,
)
def test_metadata_that_is_not_bounded_json_is_refused_and_says_so(metadata, message):
    for issue in (generate_otp, generate_decoy):
        with pytest.raises(OTPException, match=message) as caught:
            issue(metadata=metadata)
        assert caught.value.code == "OTP_ERROR"


# --- Decoys


@pytest.mark.parametrize(
    "arguments", [{}, {"identifier": "ada", "metadata": {"a": 1}, "max_retries": 10, "purpose": "login"}]
)
def test_decoy_looks_like_a_real_context(arguments):
    decoy, (_, real) = generate_decoy(**arguments, now=NOW), generate_otp(**arguments, now=NOW)
    assert type(decoy) is str
    assert len(decoy) == len(real)
    shapes = [decrypt_context(context) for context in (decoy, real)]
    for shape in shapes:
        assert len(shape.pop("otp_hash")) == 64
        assert len(shape.pop("jti")) == 32
    assert shapes[0] == shapes[1]
    assert generate_decoy(**arguments, now=NOW) != decoy


def test_decoy_counts_like_a_real_one_and_never_verifies(comparisons):
    """Whatever is typed, the answers are those of a wrong code."""
    decoy = generate_decoy("eve@example.com", now=NOW)
    _, real = generate_otp("ada@example.com", now=NOW)
    for remaining in (2, 1, 0):
        answers = []  # The text, and the length of the next context.
        for context in (decoy, real):
            with pytest.raises(InvalidOTPException) as caught:
                verify_otp("no code", context, now=NOW)
            answers.append((str(caught.value), len(caught.value.new_context)))
            assert caught.value.attempts_remaining == remaining
        assert answers[0] == answers[1]
    with pytest.raises(MaxRetriesExceededException):
        verify_otp("no code", decoy, now=NOW)
    assert comparisons.count == 6


def test_no_code_at_all_verifies_a_decoy(settings, comparisons):
    settings.OTP_LEDGER = None
    decoy = generate_decoy(max_retries=10_000, now=NOW)
    for code in range(10_000):
        try:
            verify_otp(f"{code:04}", decoy, now=NOW)
        except InvalidOTPException:
            continue
        pytest.fail("a decoy was verified")
    assert comparisons.count == 10_000


def test_context_of_another_installation_does_not_open():
    foreign = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    with pytest.raises(OTPException, match="Failed to decrypt context"):
        verify_otp("123456", foreign)
