"""``OTP_LEDGER = "package.module.Class"``: a ledger of the project's own."""

import pytest
from django.test import override_settings

from contract.dict_ledger import DictLedger
from contract.ledger import LedgerContract
from otp_actions import conf, ledgers
from otp_actions.exceptions import MaxRetriesExceededException, OTPUnavailableException, OTPUsedException
from otp_actions.ledgers import Ledger, ProcessLedger
from otp_actions.services import generate_otp, increment_retry_count, revoke_otp, verify_otp
from otp_actions.testing import fresh_ledger

HERE = "contract.test_dotted_path"


class TestDictLedger(LedgerContract):
    """The contract can be met by a ledger that is not ours."""

    @pytest.fixture
    def make_ledger(self):
        return DictLedger

    @pytest.fixture
    def at_once(self):
        pytest.skip("written for one thread")


class Abstract(Ledger):
    """Lacks its methods."""


def not_a_class():
    """Return nothing."""


an_instance = DictLedger()


@pytest.fixture(autouse=True)
def _fresh():
    with fresh_ledger():
        yield


class Unreachable(DictLedger):
    """Cannot tell: always, or when it is asked to mark."""

    takes = False

    def take(self, claims, *, unless=(), now):
        if not self.takes:
            raise OTPUnavailableException(retry_after=7)
        return super().take(claims, unless=unless, now=now)

    def advance(self, mark, value, *, ttl, now, release=(), event=None):
        raise OTPUnavailableException(retry_after=8)


class Broken(DictLedger):
    """Cannot be made."""

    def __init__(self):
        raise ConnectionError("redis://:a password@localhost")


class Takes(Unreachable):
    """Can count, but not mark."""

    takes = True


class Closed(ProcessLedger):
    """One of ours with an addition."""

    def __init__(self):
        super().__init__(2**10)

    def take(self, claims, *, unless=(), now):
        raise OTPUnavailableException(retry_after=9)


@override_settings(OTP_LEDGER=f"{HERE}.DictLedger")
def test_dotted_path_ledger_counts_and_remembers():
    code, context = generate_otp()
    assert verify_otp(code, context)
    with pytest.raises(OTPUsedException):
        verify_otp(code, context)
    _, other = generate_otp(max_retries=1)
    increment_retry_count(other)
    with pytest.raises(MaxRetriesExceededException):
        increment_retry_count(other)
    made = ledgers.ledger_for(conf.current())
    assert type(made).__name__ == "DictLedger"
    assert made is ledgers.ledger_for(conf.current())


@pytest.mark.parametrize(("name", "retry_after", "compared"), [("Unreachable", 7, 0), ("Takes", 8, 1)])
def test_nothing_is_accepted_while_a_ledger_cannot_tell(name, retry_after, compared, comparisons):
    with override_settings(OTP_LEDGER=f"{HERE}.{name}"):
        code, context = generate_otp()
        with pytest.raises(OTPUnavailableException) as caught:
            verify_otp(code, context)
        assert caught.value.retry_after == retry_after
        assert comparisons.count == compared
        with pytest.raises(OTPUnavailableException):
            revoke_otp(context)


@override_settings(OTP_LEDGER=f"{HERE}.Closed")
def test_what_a_subclass_of_our_ledger_overrides_is_heeded(comparisons):
    code, context = generate_otp()
    with pytest.raises(OTPUnavailableException):
        verify_otp(code, context)
    assert comparisons.count == 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("no_such_package.Ledger", "cannot be imported and called"),
        (f"{HERE}.NoSuchClass", "cannot be imported and called"),
        ("builtins.dict", "not a subclass of otp_actions.ledgers.Ledger"),
        ("os.path", "cannot be imported and called"),
        ("os.path.join", "cannot be imported and called"),
        ("math.pi", "cannot be imported and called"),
        (f"{HERE}.not_a_class", "not a subclass of otp_actions.ledgers.Ledger"),
        (f"{HERE}.an_instance", "cannot be imported and called"),
        (f"{HERE}.Broken", "cannot be imported and called: ConnectionError"),
        (f"{HERE}.Abstract", f"OTP_LEDGER = '{HERE}.Abstract'"),
    ],
)
def test_dotted_path_that_is_no_ledger_is_a_setting_error(path, reason):
    with override_settings(OTP_LEDGER=path):
        code, context = generate_otp()  # Issuing needs no ledger.
        with pytest.raises(conf.SettingError) as caught:
            verify_otp(code, context)
    assert caught.value.check_id == "otp_actions.E008"
    assert reason in str(caught.value)
    assert repr(path) in str(caught.value)
    assert "a password" not in str(caught.value)
