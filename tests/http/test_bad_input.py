"""Garbage in every field of every door: 4xx in the error table's shape, never 5xx, and only an attempt is counted."""

import json
import unicodedata
from itertools import count

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otp_actions.services import encrypt_context, generate_otp
from otp_actions.testing import wrong_code

from .exchange import Kind, assert_accepted, assert_refused
from .views import ASYNC_KINDS, DRF_KINDS, KINDS

MAX = 1000
#: One kind of view for each way in.
WAYS_IN = ["drf_above", "drf_below", "drf_mixin", "plain_function", "async_function"]
MEGABYTE = 2**20

#: What is an attempt: a text or int of at most 64 characters that is not empty once spaces and hyphens are gone.
COUNTED = [
    "0", "abc", "-1.5", "\0", "1\0", "\ud800", "\udfff\ud800", "x" * 64, "<script>", "%(attempts_remaining)d", "{0}",
    "٠١٢٣٤٥", "०१२३४५", "²³¹", "½", "\u202e123456", "😀" * 64, "\ufdfa" * 64, "null", "true",
    0, -1, 10**64 - 1, 1 - 10**63,
]  # fmt: skip
UNCOUNTED = [
    True, False, 0.0, 1.5, 1e308, [], {}, [["123456"]], {"$ne": ""}, {"otp": "123456"}, 10**64, -(10**63), 10**4000,
    "1" * 65, "\u200b" * 65, " " * 65, "x" * MEGABYTE, "\ufdfa" * 100_000,
]  # fmt: skip
EMPTY = [None, "", " ", "\t\n", "-", " - \u2010 ", "\u3000\xa0", "\uff0d"]


@pytest.fixture(autouse=True)
def _no_budget(settings):
    """Many wrong codes for one identifier are what is tested here."""
    settings.OTP_IDENTIFIER_BUDGET = None


@pytest.fixture
def challenge():
    """A code of digits that are not all the same, with a context that allows many attempts."""
    for size in count():
        code, context = generate_otp(identifier="a" * (size % 40), max_retries=MAX)
        # Contexts whose text has the characters that a second base64 alphabet spells differently.
        if len(set(code)) > 1 and {"-", "_"} <= set(context) and context.endswith("="):
            return code, context
    return None


def assert_counted(kind, code, context, attempts):
    """Check that *attempts* were counted so far, and that the right code is still accepted."""
    answer = assert_refused(kind.send("verify", {"otp": wrong_code(code), "context": context}), "INVALID_OTP")
    assert MAX - answer["attempts_remaining"] - 1 == attempts
    assert_accepted(kind.send("verify", {"otp": code, "context": context}))


def test_codes(kind, challenge):
    code, context = challenge
    for otp in COUNTED:
        assert_refused(kind.send("verify", {"otp": otp, "context": context}), "INVALID_OTP")
    for otp in (code + "0", "0" + code, code + "\0", code[:-1], code[::-1] + "x", "\u202e" + code):
        assert_refused(kind.send("verify", {"otp": otp, "context": context}), "INVALID_OTP")
    for otp in (*UNCOUNTED, [code], {code: code}):
        assert assert_refused(kind.send("verify", {"otp": otp, "context": context}), "OTP_ERROR"), str(otp)[:80]
    for otp in EMPTY:
        assert_refused(kind.send("verify", {"otp": otp, "context": context}), "MISSING_FIELDS")
    assert_counted(kind, code, context, len(COUNTED) + 6)


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(lambda code: f" {code[:3]}-{code[3:]}\n", id="spaces and hyphens"),
        pytest.param(lambda code: "\u2010".join(code), id="typographic hyphens"),
        pytest.param(lambda code: "".join(chr(ord(digit) - 0x30 + 0xFF10) for digit in code), id="full-width"),
        pytest.param(lambda code: "".join(chr(ord(digit) - 0x30 + 0x1D7CE) for digit in code), id="mathematical bold"),
        pytest.param(lambda code: int(code), id="int"),
    ],
)
def test_right_code_is_accepted_however_it_is_typed(kind, typed):
    code = "0"
    while code.startswith("0"):  # An int is not padded with zeros.
        code, context = generate_otp(identifier="ada")
    assert_accepted(kind.send("verify", {"otp": typed(code), "context": context}))


def test_int_is_not_padded_with_zeros(kind):
    code = "1"
    while not code.startswith("0"):
        code, context = generate_otp(identifier="ada", length=4)
    assert_refused(kind.send("verify", {"otp": int(code), "context": context}), "INVALID_OTP")


def spellings(context):
    """Other texts that a lenient decoder reads as *context*, and texts that are nearly it."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    body = context.rstrip("=")
    stray = body[:-1] + alphabet[alphabet.index(body[-1]) ^ 1] + context[len(body) :]  # A bit that nothing encodes.
    return [
        stray,
        body,
        context + "=",
        context + "A",
        context + "\n",
        " " + context,
        context[:40] + "\n" + context[40:],
        context[:40] + " " + context[40:],
        context[:40] + "\0" + context[40:],
        context + "\0",
        context.replace("-", "+").replace("_", "/"),
        context.replace("-", "%2D", 1),
        context.replace("A", "А"),  # noqa: RUF001 -- Cyrillic
        "\ufeff" + context,
        context * 2,
        context[:-5],
        context[: len(context) // 2],
        context[:1],
        context[:10] + ("B" if context[10] == "A" else "A") + context[11:],
        "hAAAAA" + context[6:],
        context.swapcase(),
    ]


def test_contexts(kind, challenge):
    code, context = challenge
    with override_settings(OTP_SIGNING_KEY="A" * 43 + "="):
        _, elsewhere = generate_otp(identifier="ada")
    garbage = [
        "x", "gAAAAA", "null", "\0", "\ud800", "\U0001f600", "A" * 8192, "A" * 8193, "A" * MEGABYTE,
        "gAAAAA" + "A" * 8187, "😀" * 5000, encrypt_context({"otp": code}), elsewhere, *spellings(context),
    ]  # fmt: skip
    for bad in (*garbage, *(s for s in UNCOUNTED if not isinstance(s, str)), 0, 1, [context], {"context": context}):
        assert_refused(kind.send("verify", {"otp": code, "context": bad}), "OTP_ERROR")
    assert_refused(kind.send("verify", {"otp": code, "context": ""}), "MISSING_FIELDS")
    assert_counted(kind, code, context, 0)


JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=B"
DEEP = 100_000
PART = '--B\r\nContent-Disposition: form-data; name="{}"\r\n\r\n1\r\n'

#: Bodies with nothing in them that could be counted; ``$FIELDS`` is a wrong code with its context, in JSON.
BODIES = [
    (JSON, b""),
    (JSON, b" "),
    (JSON, b"null"),
    (JSON, b"true"),
    (JSON, b"1"),
    (JSON, b'"otp"'),
    (JSON, b"[]"),
    (JSON, b"[$FIELDS]"),
    (JSON, b"$FIELDS]"),
    (JSON, b"$FIELDS $FIELDS"),
    (JSON, b"{" + b"$FIELDS"),
    (JSON, b"otp=1&context=1"),
    (JSON, b"\xff\xfe\x00"),
    (JSON, b'{"otp": "\xed\xa0\x80", "context": "x"}'),
    (JSON, b'{"otp": NaN, "context": -Infinity}'),
    (JSON, b'{"otp": ' + b"9" * 5000 + b"}"),
    (JSON, b"[" * DEEP),
    (JSON, b'{"otp":' * DEEP),
    (JSON, b"[" * DEEP + b"]" * DEEP),
    (JSON, b'{"context": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    (JSON, b"x" * 3 * MEGABYTE),  # Over DATA_UPLOAD_MAX_MEMORY_SIZE.
    ("", b"$FIELDS"),
    ("json", b"$FIELDS"),
    ("text/plain", b"$FIELDS"),
    ("application/xml", b"$FIELDS"),
    ("application/octet-stream", b"$FIELDS"),
    ("application/json/x", b"$FIELDS"),
    ("\xff\xfe", b"$FIELDS"),
    (URLENCODED, b"$FIELDS"),
    (URLENCODED, b"&".join(b"f%d=1" % i for i in range(21))),
    (URLENCODED, b"%ff%fe=%00&otp=%"),
    (URLENCODED, b"x" * 3 * MEGABYTE),
    ("multipart/form-data", b"$FIELDS"),
    ("multipart/form-data; boundary=", b"$FIELDS"),
    ("multipart/form-data; boundary=" + "B" * 500, b"$FIELDS"),
    ("multipart/form-data; boundary=\xe9", b"$FIELDS"),
    (MULTIPART, b"$FIELDS"),
    (MULTIPART, b"--B"),
    (MULTIPART, b"--B\r\n\r\n--B--\r\n"),
    (MULTIPART, PART.format("otp")[:-20].encode()),
    (MULTIPART, (PART.format("f") * 21 + "--B--\r\n").encode()),
    (MULTIPART, (PART.replace('"\r\n', '"; filename="a"\r\n', 1).format("f") * 11 + "--B--\r\n").encode()),
    (
        MULTIPART,
        PART.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1).format("otp").encode() + b"--B--",
    ),
]
CHARSETS = ["nonsense", "utf-16", "utf-7", "idna", "punycode", "undefined", "rot13", "zlib", "bz2", "hex", "uu"]


@pytest.mark.parametrize(
    ("name", "method"), [*((name, "POST") for name in KINDS), *((name, "PUT") for name in WAYS_IN)]
)
def test_bodies(name, method, challenge):
    kind = Kind(name)
    code, context = challenge
    wrong = json.dumps({"otp": wrong_code(code), "context": context}).encode()
    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=20, DATA_UPLOAD_MAX_NUMBER_FILES=10):
        for content_type, body in BODIES:
            if kind.name in ASYNC_KINDS and not content_type.isascii():
                continue  # Django's AsyncClient cannot send it.
            answer = kind.send_body("verify", body.replace(b"$FIELDS", wrong), content_type, method=method)
            assert_refused(answer, "OTP_ERROR", "MISSING_FIELDS")
    assert_counted(kind, code, context, 0)


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "us-ascii", "iso-8859-1", "latin1"])
def test_charset_that_people_send_is_read(kind, challenge, charset):
    code, context = challenge
    if charset == "utf-8" or kind.name in DRF_KINDS:  # Django itself reads no other form.
        body = f"otp={wrong_code(code)}&context={context}"
        assert_refused(kind.send_body("verify", body, f"{URLENCODED}; charset={charset}"), "INVALID_OTP")
    body = json.dumps({"otp": code, "context": context})
    assert_accepted(kind.send_body("verify", body, f"{JSON}; charset={charset}"))


@pytest.mark.parametrize("content_type", [JSON, URLENCODED, MULTIPART_CONTENT])
def test_charsets(kind, content_type):
    """A charset may be ignored, or it makes a body unreadable. Codecs that are no charsets are charsets to Python."""
    for charset in CHARSETS:
        code, context = generate_otp()
        fields = {"otp": code, "context": context}
        body = {
            JSON: json.dumps(fields),
            URLENCODED: f"otp={code}&context={context}",
            MULTIPART_CONTENT: encode_multipart(BOUNDARY, fields),
        }[content_type]
        answer = kind.send_body("verify", body, f"{content_type}; charset={charset}")
        if answer.status_code == 200:
            assert_accepted(answer)
        else:
            assert_refused(answer, "OTP_ERROR", "MISSING_FIELDS")
            assert_accepted(kind.send("verify", fields))


@pytest.mark.parametrize("length", ["x", "-1", ""])
def test_content_length_that_lies(kind, challenge, length):
    code, context = challenge
    answer = kind.send("verify", {"otp": wrong_code(code), "context": context}, CONTENT_LENGTH=length)
    assert_refused(answer, "OTP_ERROR", "MISSING_FIELDS", "INVALID_OTP")


def test_file_in_place_of_a_field(kind, challenge):
    code, context = challenge
    for fields in (
        {"otp": SimpleUploadedFile("a", code.encode()), "context": context},
        {"otp": code, "context": SimpleUploadedFile("a", context.encode())},
    ):
        answer = kind.send_body("verify", encode_multipart(BOUNDARY, fields), MULTIPART_CONTENT)
        assert_refused(answer, "OTP_ERROR", "MISSING_FIELDS")
    assert_counted(kind, code, context, 0)


def test_identifiers_from_the_request(kind, otp_outbox):
    """What the issuing view passes on unseen."""
    for email in ({}, {"a": 1}, [], ["ada@example.com"], True, 1.5, 2**70, "x" * 10_240, "\ud800", "\udc00@x"):
        assert_refused(kind.send("issue", {"email": email}), "OTP_ERROR")
        assert_refused(kind.send("decoy", {"email": email}), "OTP_ERROR")
    assert not otp_outbox
    for email in (None, "", "\0", 42, "😀"):
        assert kind.send("issue", {"email": email}).status_code == 200


@pytest.mark.parametrize("name", [kind for kind in DRF_KINDS if kind != "drf_dispatch"])
@pytest.mark.parametrize(
    "body", [b"{", b'{"email":' * DEEP, b"[" * DEEP + b"]" * DEEP, b"\xff", b"[]", b"null", b'"x"']
)
def test_unreadable_body_of_an_issuing_drf_view(name, body):
    assert Kind(name).send_body("issue", body, JSON).status_code == 400


def test_nothing_sent_is_quoted(kind, challenge):
    code, context = challenge
    for fields in (
        {"otp": "canary", "context": context},
        {"otp": ["canary"], "context": context},
        {"otp": "canary" * 20, "context": context},
        {"otp": code, "context": "canary"},
        {"otp": code, "context": {"canary": 1}},
    ):
        text = kind.send("verify", fields).content.decode()
        assert "canary" not in text
        assert code not in text.replace(json.loads(text).get("context", ""), "")
        assert "Traceback" not in text


# --- The same by Hypothesis, for one kind of each way in ------------------------------------------------------------


some_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)
texts = st.text(st.characters(codec=None, exclude_categories=())) | st.text(st.sampled_from(" -‐٠0０１２\0\ud800"))  # noqa: RUF001
bounded = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def is_attempt(otp):
    if isinstance(otp, str):
        bare = [c for c in unicodedata.normalize("NFKC", otp) if not c.isspace() and c not in "-\N{HYPHEN}"]
        return len(otp) <= 64 and bool(bare)
    return isinstance(otp, int) and not isinstance(otp, bool) and len(str(otp)) <= 64


@pytest.fixture
def held(request):
    """A challenge whose attempts Hypothesis's examples share."""
    return [*generate_otp(identifier="ada", max_retries=MAX), 0]


@pytest.mark.parametrize("name", WAYS_IN)
@bounded
@given(otp=texts | some_json)
def test_any_code(name, held, otp):
    _, context, before = held
    answer = assert_refused(
        Kind(name).send("verify", {"otp": otp, "context": context}), "INVALID_OTP", "OTP_ERROR", "MISSING_FIELDS"
    )
    assert (answer["error_code"] == "INVALID_OTP") == is_attempt(otp)
    held[2] = before + is_attempt(otp)
    if is_attempt(otp):
        assert answer["attempts_remaining"] == MAX - held[2]


@pytest.mark.parametrize("name", WAYS_IN)
@bounded
@given(data=st.data())
def test_any_context(name, held, data):
    code, context, _ = held
    edited = st.builds(
        lambda at, cut, text: context[:at] + text + context[at + cut :],
        st.integers(0, len(context)),
        st.integers(0, 20),
        texts,
    ).filter(lambda text: text != context)
    bad = data.draw(texts | some_json | edited)
    assert_refused(Kind(name).send("verify", {"otp": code, "context": bad}), "OTP_ERROR", "MISSING_FIELDS")
    answer = assert_refused(Kind(name).send("verify", {"otp": wrong_code(code), "context": context}), "INVALID_OTP")
    held[2] += 1
    assert answer["attempts_remaining"] == MAX - held[2]


@pytest.mark.parametrize("name", WAYS_IN)
@bounded
@given(
    body=st.binary() | some_json.map(lambda value: json.dumps(value).encode()),
    content_type=st.sampled_from([JSON, URLENCODED, MULTIPART, "text/plain"]) | st.text(st.characters(codec="ascii")),
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
)
def test_any_body(name, body, content_type, method):
    assert_refused(
        Kind(name).send_body("verify", body, content_type, method=method), "OTP_ERROR", "MISSING_FIELDS", "INVALID_OTP"
    )
