"""The core's own JSON reader beside Python's: what it accepts, ``json`` accepts too, and both read the same values."""

import base64
import json
import math
from decimal import Decimal

import pytest
from cryptography.fernet import Fernet
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otp_actions import _core
from otp_actions.exceptions import MaxRetriesExceededException, OTPException
from otp_actions.services import increment_retry_count

KEY = bytes(range(32))
RING, FERNET = _core.Keyring([KEY]), Fernet(base64.urlsafe_b64encode(KEY))
NOW = 1_800_000_000
TIMES = ("timestamp", "otp_expiry", "session_expiry")

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)
INTS = st.integers(-(2**63), 2**63 - 1)
METADATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
WHOLE = st.integers(0, 2**53 - 1)


@st.composite
def payloads(draw):
    """A payload of version 2, or of the older release with its fractions of seconds."""
    fields = {
        "v": 2,
        "jti": draw(st.binary(min_size=16, max_size=16)).hex(),
        "purpose": draw(TEXT),
        "identifier": draw(TEXT | INTS | st.none()),
        "otp_hash": draw(st.binary(min_size=32, max_size=32)).hex(),
        "metadata": draw(METADATA),
        **{name: draw(WHOLE) for name in TIMES},
        "retry_count": draw(st.integers(0, 1000)),
        "max_retries": draw(st.integers(0, 10**6)),
    }
    if draw(st.booleans()):
        for name in ("v", "jti", "purpose"):
            del fields[name]
        fields.update({name: NOW + draw(st.floats(0, 1000)) for name in TIMES})
    return dict(draw(st.permutations(list(fields.items()))))


@st.composite
def texts(draw):
    """A payload as any JSON writer may write it."""
    return json.dumps(
        draw(payloads()),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 0, "\t"])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\r", "\n:\t")])),
    ).encode()


PIECES = [
    *'"\\{}[],:-01.e \n\0\x1f\x7fé',
    *("-0", ".5", "e0", "E+1", '""', "{}", "[]", "null", "true", "NaN", "Infinity", "", "[" * 9 + "]" * 9),
    *(r"\n", r"\/", r"\x", r"\u0061", r"\ud800", r"\ud83d\ude00", "9223372036854775808", "1e999"),
    *('"a":1,', '"a":{"b":1,"b":1}', '"v":2,', '"retry_count":0,'),
]
BROKEN = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3"]


@st.composite
def mutated_texts(draw):
    text = draw(texts())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from([*(piece.encode() for piece in PIECES), *BROKEN]))
        text = text[:at] + piece + text[at + draw(st.integers(0, 3)) :]
    return text


def written(pairs):
    return "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"


def spelt(draw, name):
    """*name* as JSON, any of its characters by number."""
    escaped = "".join(f"\\u{unit:04x}" for unit in memoryview(name.encode("utf-16-le", "surrogatepass")).cast("H"))
    return draw(st.sampled_from([json.dumps(name), json.dumps(name, ensure_ascii=False), f'"{escaped}"']))


@st.composite
def doubled(draw, pairs):
    """*pairs*, names and JSON, with one of the names twice, perhaps spelt otherwise, perhaps with another value."""
    name, value = draw(st.sampled_from(pairs))
    again = (spelt(draw, name), draw(st.sampled_from([value, "null", "0", '""'])))
    first = [(spelt(draw, name), value) for name, value in pairs]
    at = draw(st.integers(0, len(first)))
    return written([*first[:at], again, *first[at:]])


@st.composite
def texts_with_a_name_twice(draw):
    """A payload that could be read in two ways, and the same without what makes it so."""
    fields = draw(payloads())
    inner = draw(st.dictionaries(TEXT, METADATA, min_size=1, max_size=3))
    values = {name: json.dumps(value) for name, value in {**fields, "metadata": inner}.items()}
    sound = written((json.dumps(name), value) for name, value in values.items())
    if draw(st.booleans()):
        return draw(doubled(list(values.items()))), sound
    twice = draw(doubled([(name, json.dumps(value)) for name, value in inner.items()]))
    depth = draw(st.integers(0, 3))
    values["metadata"] = "[" * depth + twice + "]" * depth
    return written((json.dumps(name), value) for name, value in values.items()), sound


LEGACY = {"otp_hash": "0" * 64, "metadata": None, **dict.fromkeys(TIMES, NOW), "retry_count": 0, "max_retries": 3}


def unique(pairs):
    assert len(dict(pairs)) == len(pairs), "a name twice"
    return dict(pairs)


def no_number(name):
    raise ValueError(name)


def read_by_json(text):
    """The fields as Python reads them, numbers exactly; what ``json`` takes beyond RFC 8259 is refused."""
    return json.loads(text.decode(), object_pairs_hook=unique, parse_constant=no_number, parse_float=Decimal)


def read_by_us(text):
    """The fields as the core has read them and written them again; without an attempt left, those it tells of."""
    token = FERNET.encrypt(text).decode()
    with override_settings(OTP_SIGNING_KEY=base64.urlsafe_b64encode(KEY).decode(), OTP_LEDGER=None):
        try:
            return read_by_json(FERNET.decrypt(increment_retry_count(token, now=NOW)))
        except MaxRetriesExceededException:
            jti, identifier, purpose = RING.describe(token)
            return {"jti": jti, "identifier": identifier, "purpose": purpose}
        except OTPException:
            return None


def same(fields):
    """*fields* for comparison: 1, 1.0 and True differ."""
    return json.dumps(fields, sort_keys=True, default=repr)


def check_same(text, read):
    expected = read_by_json(text)
    if "v" not in expected:
        # A code of the older release lives no shorter than it was told to.
        expected.update({name: math.ceil(expected[name]) for name in TIMES}, timestamp=int(expected["timestamp"]))
    if expected["retry_count"] < expected["max_retries"]:
        expected["retry_count"] += 1
    elif "v" in expected:
        expected = {name: expected[name] for name in ("jti", "identifier", "purpose")}
    else:
        expected = {"jti": read["jti"], "identifier": expected["identifier"], "purpose": ""}
    assert same(read) == same(expected)


@given(texts())
def test_payload_is_read_as_json_reads_it_however_it_is_written(text):
    read = read_by_us(text)
    assert read is not None
    check_same(text, read)


@given(mutated_texts())
@hypothesis_settings(max_examples=max(400, hypothesis_settings().max_examples))
def test_of_mutated_payloads_ours_accepts_a_subset_with_the_same_values(text):
    read = read_by_us(text)
    if read is not None:
        check_same(text, read)


@given(texts_with_a_name_twice())
@hypothesis_settings(max_examples=max(400, hypothesis_settings().max_examples))
def test_name_twice_is_refused_wherever_it_stands(texts):
    twice, sound = (text.encode() for text in texts)
    assert read_by_us(sound) is not None
    assert read_by_us(twice) is None


@pytest.mark.parametrize("text", [b'{"v":2}', b"", b"null", b'{"v":NaN}'])
def test_what_is_no_payload_is_refused(text):
    assert read_by_us(text) is None


@given(
    st.binary(max_size=12)
    | st.text(alphabet=st.characters(codec=None), max_size=6).map(lambda s: s.encode("utf-8", "surrogatepass"))
)
@hypothesis_settings(max_examples=max(400, hypothesis_settings().max_examples))
def test_utf_8_is_what_python_takes_for_it(identifier):
    escaped = b"".join(b"\\u%04x" % byte if byte < 0x20 or byte in b'"\\' else bytes([byte]) for byte in identifier)
    text = json.dumps({**LEGACY, "identifier": "?"}).encode().replace(b"?", escaped)
    read = read_by_us(text)
    try:
        expected = identifier.decode()
    except UnicodeDecodeError:
        assert read is None
    else:
        assert read["identifier"] == expected
