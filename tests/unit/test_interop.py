"""A context is a plain Fernet token: ours opens with cryptography's Fernet, and theirs with ours."""

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.test import override_settings
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otp_actions import _core
from otp_actions.exceptions import InvalidOTPException
from otp_actions.services import decrypt_context, encrypt_context, generate_otp, increment_retry_count, verify_otp
from unit.vectors import read_vectors

KEYS = st.binary(min_size=32, max_size=32)
TIMES = st.integers(0, 2**63 - 1)
DATA = st.binary(max_size=200)


def theirs(key):
    return Fernet(base64.urlsafe_b64encode(key))


# --- Random tokens


@given(KEYS, DATA, TIMES)
def test_ours_opens_with_theirs_and_theirs_with_ours(key, data, now):
    ring = _core.Keyring([key])
    token = ring.seal(data, now)
    assert theirs(key).decrypt(token) == data
    assert theirs(key).extract_timestamp(token) == now
    assert ring.open(theirs(key).encrypt_at_time(data, now).decode()) == data


@given(KEYS, KEYS, DATA)
def test_token_of_another_key_opens_nowhere(key, other, data):
    assume(key != other)
    with pytest.raises(InvalidToken):
        theirs(other).decrypt(_core.Keyring([key]).seal(data, 0))
    with pytest.raises(_core.InvalidToken):
        _core.Keyring([other]).open(theirs(key).encrypt(data).decode())


@given(st.lists(KEYS, min_size=1, max_size=8, unique=True), DATA, st.data())
def test_ring_seals_with_the_first_and_opens_with_each_as_multifernet_does(keys, data, draw):
    ring, multi = _core.Keyring(keys), MultiFernet([theirs(key) for key in keys])
    assert theirs(keys[0]).decrypt(ring.seal(data, 0)) == data
    assert multi.decrypt(ring.seal(data, 0)) == data
    assert ring.open(theirs(draw.draw(st.sampled_from(keys))).encrypt(data).decode()) == data


KEY = bytes(range(32))
RING, FERNET = _core.Keyring([KEY]), theirs(KEY)
ALPHABET = "ABCabc019-_+/= \n\r\t.~\0é"


@st.composite
def mutated_tokens(draw):
    token = FERNET.encrypt_at_time(draw(st.binary(max_size=40)), 1_800_000_000).decode()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(token)))
        piece = draw(st.text(st.sampled_from(ALPHABET), max_size=4))
        token = token[:at] + piece + token[at + draw(st.integers(0, 4)) :]
    return token


@given(mutated_tokens())
@hypothesis_settings(max_examples=max(400, hypothesis_settings().max_examples))
def test_of_mutated_tokens_ours_accepts_a_subset_with_the_same_content(token):
    try:
        opened = RING.open(token)
    except _core.InvalidToken:
        return
    assert FERNET.decrypt(token) == opened


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32])
def test_no_bit_of_a_token_can_change(size):
    """Every bit of the bytes, and every other character at every place of the text: also where theirs is lenient."""
    token = RING.seal(b"x" * size, 1_800_000_000)
    raw = base64.urlsafe_b64decode(token)
    spellings = set()
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        spellings.add(base64.urlsafe_b64encode(changed).decode())
    for at in range(len(token)):
        spellings |= {token[:at] + c + token[end:] for c in ALPHABET for end in (at, at + 1)}
        spellings |= {token[:at], token[at + 1 :], token[:at] + token[at + 1 :]}
    spellings.discard(token)
    for spelling in spellings:
        with pytest.raises(_core.InvalidToken):
            RING.open(spelling)
    assert RING.open(token) == b"x" * size


def sign(raw):
    """Return the token of *raw*, with a sound MAC whatever is in it."""
    return base64.urlsafe_b64encode(raw + hmac.digest(KEY[:16], raw, "sha256")).decode()


@pytest.mark.parametrize(
    "body",
    [
        b"\x81" + bytes(8 + 16 + 16),  # Another version.
        b"\x00" + bytes(8 + 16 + 16),
        b"\x80" + bytes(8 + 16),  # No ciphertext.
        b"\x80" + bytes(8 + 16 + 15),  # No whole block.
        b"\x80" + bytes(8 + 16 + 17),
        b"\x80" + bytes(8 + 16 + 16),  # Decrypts to a wrong padding.
    ],
)
def test_sound_mac_does_not_save_an_unsound_body(body):
    with pytest.raises(_core.InvalidToken):
        RING.open(sign(body))


@given(
    st.sampled_from(b"\x80\x80\x80\x81\x00").map(lambda version: bytes([version])),
    st.binary(min_size=24, max_size=24),
    st.binary(max_size=64),
    st.integers(0, 18),
    st.integers(0, 18),
)
@hypothesis_settings(max_examples=max(400, hypothesis_settings().max_examples))
def test_of_bodies_with_a_sound_mac_ours_accepts_the_same_as_theirs(version, time_and_iv, data, count, value):
    """What lies behind the MAC: whole blocks of anything, with any padding, and bytes that are no whole block."""
    padded = data + bytes([value]) * count
    whole = len(padded) // 16 * 16
    encryptor = Cipher(AES(KEY[16:]), CBC(time_and_iv[8:])).encryptor()
    token = sign(version + time_and_iv + encryptor.update(padded[:whole]) + padded[whole:])
    try:
        expected = FERNET.decrypt(token)
    except InvalidToken:
        expected = None
    try:
        opened = RING.open(token)
    except _core.InvalidToken:
        opened = None
    assert opened == expected


# --- Contexts


def test_our_contexts_open_with_theirs(fernet):
    _, context = generate_otp("ada", {"a": 1}, purpose="login")
    for token in (context, increment_retry_count(context), encrypt_context({"a": 1})):
        assert json.loads(fernet.decrypt(token)) == decrypt_context(token)
        assert decrypt_context(fernet.encrypt(fernet.decrypt(token)).decode()) == decrypt_context(token)


# --- Vectors


@pytest.mark.parametrize("vector", read_vectors("fernet.txt"), ids=lambda v: v.get("name") or v["kind"])
def test_fernet_vector(vector):
    key = base64.urlsafe_b64decode(vector["secret"])
    ring = _core.Keyring([key])
    if vector["kind"] == "invalid":
        with pytest.raises(_core.InvalidToken):
            ring.open(vector["token"])
        return
    assert ring.open(vector["token"]).decode() == vector["src"]
    assert Fernet(vector["secret"]).decrypt(vector["token"]).decode() == vector["src"]
    if vector["kind"] == "generate":
        # The IV is random here; the rest of what we seal has the vector's version, time and length.
        sealed = ring.seal(vector["src"].encode(), int(vector["now"]))
        assert len(sealed) == len(vector["token"])
        assert base64.urlsafe_b64decode(sealed)[:9] == base64.urlsafe_b64decode(vector["token"])[:9]


@pytest.mark.parametrize("vector", read_vectors("code_digest.txt"), ids=lambda v: v["name"])
def test_frozen_code_digest_still_verifies(vector):
    """Codes in flight survive an upgrade."""
    key = base64.urlsafe_b64encode(bytes.fromhex(vector["key"])).decode()
    payload = {
        "v": 2,
        "jti": vector["jti"],
        "purpose": vector["purpose"],
        "identifier": json.loads(vector["identifier"]),
        "otp_hash": vector["digest"],
        "metadata": None,
        "timestamp": 0,
        "otp_expiry": 300,
        "session_expiry": 900,
        "retry_count": 0,
        "max_retries": 3,
    }
    context = Fernet(key).encrypt(json.dumps(payload).encode()).decode()
    with override_settings(OTP_SIGNING_KEY=key, OTP_LEDGER=None):
        assert verify_otp(vector["code"], context, purpose=vector["purpose"], now=0) == payload
        with pytest.raises(InvalidOTPException):
            verify_otp(vector["code"] + "0", context, purpose=vector["purpose"], now=0)


@pytest.mark.parametrize("vector", read_vectors("rfc4231.txt"), ids=lambda v: v["name"])
def test_hmac_vector_agrees_with_python(vector):
    tag = hmac.new(bytes.fromhex(vector["key"]), bytes.fromhex(vector["data"]), hashlib.sha256).hexdigest()
    assert tag.startswith(vector["tag"])
    assert len(vector["tag"]) >= 32


@pytest.mark.parametrize("vector", read_vectors("rfc5869.txt"), ids=lambda v: v["name"])
def test_hkdf_vector_agrees_with_cryptography(vector):
    ikm, salt, info, okm = (bytes.fromhex(vector[field]) for field in ("ikm", "salt", "info", "okm"))
    assert HKDF(SHA256(), len(okm), salt, info).derive(ikm) == okm


@pytest.mark.parametrize("vector", read_vectors("rfc4648.txt"), ids=lambda v: v["text"] or "empty")
def test_encoding_vector_agrees_with_python(vector):
    assert base64.urlsafe_b64encode(vector["text"].encode()).decode() == vector["base64"]
    assert base64.b32encode(vector["text"].encode()).decode() == vector["base32"]
