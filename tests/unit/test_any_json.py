"""``encrypt_context`` and ``decrypt_context``: any JSON object under our key, and nothing else."""

import json
import math
from collections import OrderedDict
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_actions.exceptions import OTPException
from otp_actions.services import decrypt_context, encrypt_context

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_any_json_object_comes_back(context):
    assert json.dumps(decrypt_context(encrypt_context(context))) == json.dumps(context)


@pytest.mark.parametrize("mapping", [{}, OrderedDict(b=1, a=2), MappingProxyType({"a": 1})])
def test_any_mapping_will_do(mapping):
    assert decrypt_context(encrypt_context(mapping)) == dict(mapping)


def test_token_is_stamped_with_now(fernet):
    assert fernet.extract_timestamp(encrypt_context({}, now=1_800_000_000)) == 1_800_000_000


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_depth_at_its_limit_and_one_over():
    assert decrypt_context(encrypt_context(nested(9))) == nested(9)
    for depth in (10, 100_000):
        with pytest.raises(OTPException, match="deeper than 9 levels"):
            encrypt_context(nested(depth))


def test_token_of_another_holder_of_the_key_may_not_be_deeper(fernet):
    for depth in (10, 11):
        token = fernet.encrypt(json.dumps(nested(depth)).encode()).decode()
        with pytest.raises(OTPException, match="Failed to decrypt"):
            decrypt_context(token)
    assert decrypt_context(fernet.encrypt(json.dumps(nested(9)).encode()).decode()) == nested(9)


def test_size_at_its_limit_and_one_over():
    largest = {"a": "x" * (6079 - len('{"a":""}'))}
    assert decrypt_context(encrypt_context(largest)) == largest
    assert len(encrypt_context(largest)) <= 8192
    with pytest.raises(OTPException, match="8192"):
        encrypt_context({"a": largest["a"] + "x"})


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (None, "a context is a dict, not NoneType"),
        ([("a", 1)], "a context is a dict, not list"),
        ("{}", "a context is a dict, not str"),
        ({"a": math.nan}, "not JSON"),
        ({"a": [math.inf]}, "not JSON"),
        ({"a": "lone \ud800"}, "not JSON"),
        ({"a": object()}, "it holds object"),
        ({"a": b""}, "it holds bytes"),
        ({1: 1}, "it holds a key of type int"),
        ({"a": {None: 1}}, "it holds a key of type NoneType"),
    ],
)
def test_what_is_no_json_object_is_refused(context, message):
    with pytest.raises(OTPException, match=f"Encryption failed.*{message}"):
        encrypt_context(context)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"[{}]",
        b"{",
        b"{}{}",
        b"{} x",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": [{"b": 1, "b": 2}]}',
        b'{"a": NaN}',
        b'{"a": [Infinity]}',
        b'{"a": -Infinity}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"a": "\xff"}',
        b"JBSWY3DPEHPK3PXP",
    ],
    ids=lambda payload: payload[:20].decode("latin-1"),
)
def test_foreign_payload_under_our_key_is_refused(fernet, payload):
    with pytest.raises(OTPException, match="Failed to decrypt context"):
        decrypt_context(fernet.encrypt(payload).decode())


@pytest.mark.parametrize("token", [None, "", "garbage", b"gAAAAA", 5, ["gAAAAA"]])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(OTPException, match="Failed to decrypt context"):
        decrypt_context(token)
