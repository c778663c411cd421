"""``OTP_LEDGER = None`` promises nothing, and says so."""

import pytest

from contract.ledger import NOW, TTL, key
from otp_actions.ledgers import NoLedger
from otp_actions.ledgers.base import Denied, Taken


@pytest.fixture
def ledger():
    return NoLedger()


def test_says_that_it_neither_remembers_nor_blocks(ledger):
    assert (ledger.remembers, ledger.blocking) == (False, False)


def test_takes_for_ever_and_counts_nothing(ledger):
    for _ in range(10):
        taken = ledger.take(((key("a"), 1, TTL), (key("b"), 2, TTL)), unless=((key("m"), -1),), now=NOW)
        assert isinstance(taken, Taken)
        assert taken.counts == (0, 0)
        ledger.give_back(taken, taken.claims[0], now=NOW)


def test_only_a_limit_below_one_denies(ledger):
    assert ledger.take(((key("a"), 1, TTL), (key("b"), 0, TTL)), now=NOW) == Denied((key("b"), 0, TTL), 0)


def test_advance_is_always_true(ledger):
    assert all(ledger.advance(key("m"), value, ttl=TTL, now=NOW) for value in (5, 5, 1))
