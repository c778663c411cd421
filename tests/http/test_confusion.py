"""Full cross product: purpose x door x user x kind of token. Only the diagonal passes."""

import hashlib
import time

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.test import override_settings

from otp_actions.services import encrypt_context, generate_decoy, generate_otp

from .exchange import assert_accepted, assert_refused

DOORS = {"": "verify", "login": "verify-login", "reset": "verify-reset"}
USERS = ("ada", "bob")


def of_the_older_release(code, **changes):
    """Seal what the release before this one sealed: no version, no id, no purpose, times with fractions."""
    now = time.time()
    fields = {
        "identifier": "ada",
        "otp_hash": hashlib.sha256(code.encode()).hexdigest(),
        "metadata": None,
        "timestamp": now,
        "otp_expiry": now + 300,
        "session_expiry": now + 900,
        "retry_count": 0,
        "max_retries": 3,
    }
    return encrypt_context({**fields, **changes})


def challenges():
    """Issue one challenge for each purpose and user, no code twice."""
    while True:
        issued = {(p, u): generate_otp(identifier=u, purpose=p, max_retries=1000) for p in DOORS for u in USERS}
        if len({code for code, _ in issued.values()}) == len(issued):
            return issued


def test_only_the_code_of_this_user_and_purpose_opens_a_door(kind):
    issued = challenges()
    for door, scenario in DOORS.items():
        for (purpose, user), (own, context) in issued.items():
            for other, (code, _) in issued.items():
                # Of the other challenges, those that share the user or the purpose.
                if code != own and (other[0] == purpose or other[1] == user):
                    answer = kind.send(scenario, {"otp": code, "context": context})
                    assert_refused(answer, "INVALID_OTP" if door == purpose else "OTP_ERROR")
            answer = kind.send(scenario, {"otp": own, "context": context})
            if door == purpose:
                assert assert_accepted(answer)["identifier"] == user
            else:
                assert_refused(answer, "OTP_ERROR")


def test_purpose_of_the_issuing_door_is_that_of_its_codes_and_decoys(kind, otp_outbox):
    for purpose in ("login", "reset"):
        context = kind.send(f"issue-{purpose}", {"email": "ada"}).json()["context"]
        decoy = kind.send(f"decoy-{purpose}", {"email": "eve"}).json()["context"]
        code = otp_outbox[-1].code
        for door, scenario in DOORS.items():
            answer = kind.send(scenario, {"otp": "wrong", "context": decoy})
            assert_refused(answer, "INVALID_OTP" if door == purpose else "OTP_ERROR")
            answer = kind.send(scenario, {"otp": code, "context": context})
            assert_accepted(answer) if door == purpose else assert_refused(answer, "OTP_ERROR")


def test_other_kinds_of_token_open_no_door(kind):
    code, context = generate_otp(identifier="ada", length=6)
    fernet = Fernet(settings.OTP_SIGNING_KEY)
    with override_settings(OTP_SIGNING_KEY=Fernet.generate_key()):
        elsewhere = {purpose: generate_otp(identifier="ada", purpose=purpose) for purpose in DOORS}
    digest = hashlib.sha256(code.encode()).hexdigest()
    now = int(time.time())
    for door, scenario in DOORS.items():
        for purpose in DOORS:
            answer = kind.send(scenario, {"otp": code, "context": generate_decoy(identifier="ada", purpose=purpose)})
            assert_refused(answer, "INVALID_OTP" if purpose == door else "OTP_ERROR")
            foreign_code, foreign = elsewhere[purpose]
            assert_refused(kind.send(scenario, {"otp": foreign_code, "context": foreign}), "OTP_ERROR")
        # What a project seals for itself, or another application under the same key, is no challenge.
        for token in (
            encrypt_context({}),
            encrypt_context({"identifier": "ada", "otp": code}),
            of_the_older_release(code, purpose=door),
            of_the_older_release(code, v=2, purpose=door),
            fernet.encrypt(b"JBSWY3DPEHPK3PXP").decode(),
            fernet.encrypt(b'{"retry_count": NaN}').decode(),
            fernet.encrypt(b'{"identifier":"ada",' + fernet.decrypt(context)[1:]).decode(),
            fernet.encrypt(b"[" * 4000 + b"]" * 4000).decode(),
        ):
            assert_refused(kind.send(scenario, {"otp": code, "context": token}), "OTP_ERROR")
        # Our own form with the older release's digest: whoever could seal one still could not make a code fit.
        forged = of_the_older_release(
            code, v=2, jti="00" * 16, purpose=door, otp_hash=digest, timestamp=now, otp_expiry=now + 300,
            session_expiry=now + 900,
        )  # fmt: skip
        assert_refused(kind.send(scenario, {"otp": code, "context": forged}), "INVALID_OTP")


def test_context_of_the_older_release_opens_the_door_without_purpose_only(kind):
    legacy = of_the_older_release("123456")
    for scenario in ("verify-login", "verify-reset"):
        assert_refused(kind.send(scenario, {"otp": "123456", "context": legacy}), "OTP_ERROR")
    for remaining in (2, 1):
        refusal = assert_refused(kind.send("verify", {"otp": "000000", "context": legacy}), "INVALID_OTP")
        assert refusal["attempts_remaining"] == remaining
    with override_settings(OTP_ACCEPT_LEGACY_CONTEXTS=False):
        assert_refused(kind.send("verify", {"otp": "123456", "context": legacy}), "OTP_ERROR")
    assert assert_accepted(kind.send("verify", {"otp": "123456", "context": legacy}))["identifier"] == "ada"
    for held in (legacy, refusal["context"]):
        assert_refused(kind.send("verify", {"otp": "123456", "context": held}), "OTP_USED")


@pytest.mark.parametrize("retired", [False, True])
def test_code_in_flight_survives_a_key_rotation_until_the_old_key_is_retired(kind, retired):
    old = settings.OTP_SIGNING_KEY
    code, context = generate_otp(identifier="ada")
    fallbacks = [] if retired else [old]
    with override_settings(OTP_SIGNING_KEY=Fernet.generate_key(), OTP_SIGNING_KEY_FALLBACKS=fallbacks):
        answer = kind.send("verify", {"otp": code, "context": context})
    assert_refused(answer, "OTP_ERROR") if retired else assert_accepted(answer)
