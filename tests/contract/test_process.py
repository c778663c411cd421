"""``OTP_LEDGER = "process"``."""

import random

import pytest

from contract.ledger import NOW, TTL, LedgerContract, key
from otp_actions.exceptions import OTPUnavailableException
from otp_actions.ledgers import ProcessLedger
from otp_actions.ledgers.base import Denied, Taken


class TestProcessLedger(LedgerContract):
    @pytest.fixture
    def make_ledger(self):
        return lambda: ProcessLedger(2**10)

    def test_does_not_block(self, ledger):
        assert ledger.blocking is False


@pytest.fixture
def ledger():
    return ProcessLedger(16)


def fill(ledger, *, now=NOW):
    for whom in range(16):
        assert isinstance(ledger.take(((key(whom=whom << 120), 3, TTL),), now=now), Taken)


def test_full_ledger_refuses_new_entries_says_so_in_the_log_and_drops_no_live_one(ledger, caplog):
    fill(ledger)
    for _ in range(3):
        with pytest.raises(OTPUnavailableException):
            ledger.take(((key(whom=99 << 120), 3, TTL),), now=NOW)
        with pytest.raises(OTPUnavailableException):
            ledger.advance(key("m"), 1, ttl=TTL, now=NOW)
    lines = {(record.levelname, record.getMessage()) for record in caplog.records}
    assert len(caplog.records) == 6
    assert lines == {
        (
            "ERROR",
            "The process ledger is full: nothing is accepted. Raise OTP_PROCESS_LEDGER_SIZE or share a ledger.",
        )
    }
    for whom in range(16):
        assert ledger.take(((key(whom=whom << 120), 3, TTL),), now=NOW).counts == (2,)


def test_full_ledger_takes_nothing_of_a_claim_that_has_no_room(ledger):
    fill(ledger)
    old = key(whom=5 << 120)
    with pytest.raises(OTPUnavailableException):
        ledger.take(((old, 3, TTL), (key("new"[:1]), 3, TTL)), now=NOW)
    assert ledger.take(((old, 3, TTL),), now=NOW).counts == (2,)


def test_full_ledger_still_says_why_it_denies(ledger):
    fill(ledger)
    old = key(whom=5 << 120)
    assert ledger.take(((old, 1, TTL),), now=NOW) == Denied((old, 1, TTL), TTL)


def test_full_ledger_has_room_again_once_entries_expire(ledger):
    fill(ledger)
    fill(ledger, now=NOW + TTL)
    assert ledger.core.size <= 16


def test_memory_stays_below_64_bytes_an_entry_and_is_used_again():
    ledger = ProcessLedger(2**18)
    draw = random.Random(1).getrandbits
    sizes = []
    for age in range(2):
        for _ in range(40_000):
            ledger.take(((key(whom=draw(128)), 3, TTL),), now=NOW + age * TTL)
        sizes.append(ledger.core.memory)
    # Each of the 16 shards may hold one block of 256 entries that is not full yet.
    assert sizes[0] < 64 * (40_000 + 16 * 256)
    assert sizes[1] < 1.2 * sizes[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger: ledger.take(((b"short", 1, 1),), now=NOW),
        lambda ledger: ledger.take((("text of 17 chars!", 1, 1),), now=NOW),
        lambda ledger: ledger.take(((key(), 1, 0),), now=NOW),
        lambda ledger: ledger.take(((key(), 1, 1), (key(), 1, 1)), now=NOW),
        lambda ledger: ledger.take(tuple((key(whom=n), 1, 1) for n in range(9)), now=NOW),
        lambda ledger: ledger.take((key(),), now=NOW),
        lambda ledger: ledger.take((), unless=((key(),),), now=NOW),
        lambda ledger: ledger.advance(key(), 1, ttl=0, now=NOW),
        lambda ledger: ledger.advance(b"", 1, ttl=1, now=NOW),
        lambda _: ProcessLedger(0),
        lambda _: ProcessLedger(2**30 + 1),
    ],
)
def test_misuse_is_a_value_error_and_counts_nothing(ledger, call):
    with pytest.raises(ValueError, match=r"."):
        call(ledger)
    assert ledger.core.size == 0


@pytest.mark.parametrize(
    ("claims", "unless"),
    [
        (((key(), 3),), ()),
        ((key(),), ()),
        ((), ((key(), 1, 1),)),
        (((key(), 1, TTL),) * 9, ()),
        (((b"short", 1, TTL),), ()),
        (((key(), "1", TTL),), ()),
    ],
)
def test_what_is_no_claim_is_an_error_and_counts_nothing(ledger, claims, unless):
    with pytest.raises((TypeError, ValueError)):
        ledger.take(claims, unless=unless, now=NOW)
    assert ledger._table.size == 0


@pytest.mark.parametrize("release", [((key(), 1),), (((key(), 3), 1),), (((key(), 3, TTL),),)])
def test_what_is_no_release_is_an_error_and_moves_no_mark(ledger, release):
    with pytest.raises(ValueError, match=r"a (claim|release)"):
        ledger.advance(key("m"), 1, ttl=TTL, now=NOW, release=release)
    assert ledger._table.size == 0
