"""Key rotation: codes in flight survive a promotion, and nothing survives a retirement."""

import pytest
from cryptography.fernet import Fernet, InvalidToken

from otp_actions import conf
from otp_actions.__main__ import generate_key
from otp_actions.exceptions import InvalidOTPException, MaxRetriesExceededException, OTPException, OTPUsedException
from otp_actions.services import (
    decrypt_context,
    encrypt_context,
    generate_decoy,
    generate_otp,
    increment_retry_count,
    revoke_otp,
    verify_otp,
)
from otp_actions.testing import wrong_code

OLD, NEW = generate_key(), generate_key()


@pytest.fixture
def use(settings):
    def use(primary, *fallbacks):
        settings.OTP_SIGNING_KEY = primary
        settings.OTP_SIGNING_KEY_FALLBACKS = list(fallbacks)

    return use


def test_code_in_flight_verifies_after_promotion(use):
    use(OLD)
    code, context = generate_otp("ada", {"a": 1}, purpose="login")
    sealed = encrypt_context({"a": 1})
    use(NEW, OLD)
    assert decrypt_context(sealed) == {"a": 1}
    assert verify_otp(code, context, purpose="login")["metadata"] == {"a": 1}
    with pytest.raises(OTPUsedException):
        verify_otp(code, context, purpose="login")


def test_wrong_answer_under_a_fallback_gives_a_context_that_still_verifies(use):
    use(OLD)
    code, first = generate_otp(max_retries=5)
    use(NEW, OLD)
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp(wrong_code(code), first)
    renewed = increment_retry_count(caught.value.new_context)
    assert verify_otp(code, renewed)["retry_count"] == 2
    with pytest.raises(OTPUsedException):
        verify_otp(code, first)


def test_count_goes_on_across_a_promotion(use, comparisons):
    use(OLD)
    code, context = generate_otp(max_retries=2)
    with pytest.raises(InvalidOTPException):
        verify_otp(wrong_code(code), context)
    use(NEW, OLD)
    with pytest.raises(InvalidOTPException):
        verify_otp(wrong_code(code), context)
    with pytest.raises(MaxRetriesExceededException):
        verify_otp(code, context)
    assert comparisons.count == 2


def test_new_tokens_are_sealed_with_the_primary(use):
    use(NEW, OLD)
    for token in (generate_otp()[1], generate_decoy(), encrypt_context({})):
        assert Fernet(NEW).decrypt(token)
        with pytest.raises(InvalidToken):
            Fernet(OLD).decrypt(token)


def test_nothing_of_a_retired_key_is_accepted(use, comparisons):
    use(OLD)
    issued = [generate_otp() for _ in range(20)]
    use(NEW, OLD)
    code, context = generate_otp()
    with pytest.raises(InvalidOTPException) as caught:
        verify_otp(wrong_code(issued[0][0]), issued[0][1])
    issued.append((issued[0][0], caught.value.new_context))
    comparisons.reset()
    use(NEW)
    for old_code, old_context in issued:
        for call in (lambda c, code=old_code: verify_otp(code, c), increment_retry_count, revoke_otp, decrypt_context):
            with pytest.raises(OTPException, match="Failed to decrypt context"):
                call(old_context)
    assert comparisons.count == 0
    assert verify_otp(code, context)


def test_rotation_after_rotation_rejects_nothing_before_its_key_is_retired(use):
    keys = [generate_key() for _ in range(12)]
    issued = []
    for n in range(12):
        use(*reversed(keys[max(0, n - 7) : n + 1]))  # The newest first, eight in all.
        issued.append(generate_otp())
        if n >= 7:
            assert verify_otp(*issued[n - 7])  # The oldest that is still to be accepted.
    for code, context in issued[:4]:
        with pytest.raises(OTPException, match="Failed to decrypt context"):
            verify_otp(code, context)
    assert all(verify_otp(code, context) for code, context in issued[5:])


def test_code_of_each_of_eight_keys_verifies(use):
    keys = [generate_key() for _ in range(8)]
    issued = []
    for key in keys:
        use(key)
        issued.append(generate_otp())
    use(*keys)
    assert all(verify_otp(code, context) for code, context in issued)


def test_nine_keys_are_refused(use):
    use(*(generate_key() for _ in range(9)))
    with pytest.raises(conf.SettingError, match="at most 7 are tried") as caught:
        generate_otp()
    assert caught.value.check_id == "otp_actions.E004"


@pytest.mark.parametrize("ring", [(OLD, OLD), (NEW, OLD, OLD), (OLD, OLD.encode())])
def test_same_key_twice_is_refused(use, ring):
    use(*ring)
    with pytest.raises(conf.SettingError, match="same key twice") as caught:
        generate_otp()
    assert caught.value.check_id == "otp_actions.E004"
