"""What every ledger must pass. A backend's test module makes a subclass with a ``make_ledger`` fixture.

    class TestRedis(LedgerContract):
        @pytest.fixture
        def make_ledger(self):
            return lambda: RedisLedger(...)

``make_ledger()`` returns an empty ledger. Time is an argument, so nothing here waits.
"""

import pytest

from otp_actions.ledgers.base import Denied, Ledger, Taken

NOW = 1_800_000_000
TTL = 900
THREADS = 64


def key(kind="a", whom=1):
    """Return a ledger key: one byte for the kind, 16 for whom."""
    return kind.encode() + whom.to_bytes(16, "big")


def claim(bucket, limit=3, ttl=TTL):
    """Return a claim of one unit of *bucket*."""
    return (bucket, limit, ttl)


class LedgerContract:
    """Subclass as ``Test...`` and provide ``make_ledger``."""

    @pytest.fixture
    def make_ledger(self):
        raise NotImplementedError("a fixture that returns a function that returns an empty ledger")

    @pytest.fixture
    def ledger(self, make_ledger):
        return make_ledger()

    def take(self, ledger, *buckets, limit=3, ttl=TTL, unless=(), now=NOW):
        return ledger.take(tuple(claim(bucket, limit, ttl) for bucket in buckets), unless=unless, now=now)

    def give_back(self, ledger, taken, bucket, *, now=NOW, **units):
        """Give back what *taken* took of *bucket*, or try to, if that is nothing."""
        which = next((one for one in taken.claims if one[0] == bucket), claim(bucket))
        ledger.give_back(taken, which, now=now, **units)

    def count(self, ledger, bucket, *, now=NOW):
        """Return what *bucket* holds, seen through one more unit that is given back at once."""
        taken = self.take(ledger, bucket, limit=10**6, now=now)
        self.give_back(ledger, taken, bucket, now=now)
        return taken.counts[0] - 1

    def test_is_a_ledger_that_remembers(self, ledger):
        assert isinstance(ledger, Ledger)
        assert ledger.remembers
        assert isinstance(ledger.blocking, bool)

    # --- take: limits

    @pytest.mark.parametrize("limit", [1, 3, 10])
    def test_counts_up_to_the_limit_and_never_above(self, ledger, limit):
        bucket = key()
        counts = [self.take(ledger, bucket, limit=limit).counts for _ in range(limit)]
        assert counts == [(n,) for n in range(1, limit + 1)]
        for _ in range(5):
            assert self.take(ledger, bucket, limit=limit) == Denied(claim(bucket, limit), TTL)
        assert self.count(ledger, bucket) == limit

    @pytest.mark.parametrize("limit", [0, -1])
    def test_limit_below_one_denies_a_bucket_that_does_not_exist(self, ledger, limit):
        assert self.take(ledger, key(), limit=limit) == Denied(claim(key(), limit), 0)
        assert self.count(ledger, key()) == 0

    def test_limit_is_the_claims_and_may_change(self, ledger):
        for _ in range(3):
            self.take(ledger, key(), limit=3)
        assert isinstance(self.take(ledger, key(), limit=2), Denied)
        assert self.take(ledger, key(), limit=4).counts == (4,)

    def test_taken_names_its_claims(self, ledger):
        claims = ((key("a"), 3, TTL), (key("b"), 5, TTL + 1))
        taken = ledger.take(claims, now=NOW)
        assert isinstance(taken, Taken)
        assert tuple(taken.claims) == claims
        assert tuple(taken.counts) == (1, 1)

    # --- take: all or none

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_takes_all_claims_or_none(self, ledger, position):
        buckets = [key(whom=n) for n in range(3)]
        full = buckets[position]
        self.take(ledger, full, limit=1)
        claims = tuple(claim(bucket, 1 if bucket == full else 9) for bucket in buckets)
        assert ledger.take(claims, now=NOW) == Denied(claims[position], TTL)
        assert [self.count(ledger, bucket) for bucket in buckets] == [int(bucket == full) for bucket in buckets]

    def test_counts_come_in_the_order_of_the_claims(self, ledger):
        one, two = key("a"), key("b")
        self.take(ledger, two)
        assert tuple(self.take(ledger, one, two).counts) == (1, 2)
        assert tuple(self.take(ledger, two, one).counts) == (3, 2)

    def test_first_full_bucket_is_named(self, ledger):
        one, two = key(whom=1), key(whom=2)
        self.take(ledger, one, limit=1, ttl=10)
        self.take(ledger, two, limit=1, ttl=20)
        assert self.take(ledger, two, one, limit=1) == Denied(claim(two, 1), 20)
        assert self.take(ledger, one, two, limit=1) == Denied(claim(one, 1), 10)

    # --- take: barriers

    def test_barrier_denies_while_its_mark_is_above(self, ledger):
        mark, bucket = key("m"), key("a")
        ledger.advance(mark, 5, ttl=60, now=NOW)
        assert self.take(ledger, bucket, unless=((mark, 4),)) == Denied((mark, 4), 60)
        assert self.count(ledger, bucket) == 0
        assert isinstance(self.take(ledger, bucket, unless=((mark, 5),)), Taken)
        assert isinstance(self.take(ledger, bucket, unless=((mark, 6),)), Taken)

    def test_barrier_whose_mark_was_never_set_does_not_deny(self, ledger):
        assert isinstance(self.take(ledger, key("a"), unless=((key("m"), 0),)), Taken)

    def test_barrier_below_zero_denies_while_there_is_any_entry(self, ledger):
        mark, bucket = key("m"), key("a")
        assert isinstance(self.take(ledger, bucket, unless=((mark, -1),)), Taken)
        self.give_back(ledger, self.take(ledger, mark), mark)  # It holds 0.
        assert self.take(ledger, bucket, unless=((mark, -1),)) == Denied((mark, -1), TTL)
        assert isinstance(self.take(ledger, bucket, unless=((mark, -1),), now=NOW + TTL), Taken)

    def test_barriers_come_before_claims(self, ledger):
        mark, bucket = key("m"), key("a")
        self.take(ledger, bucket, limit=1)
        ledger.advance(mark, 1, ttl=60, now=NOW)
        assert self.take(ledger, bucket, limit=1, unless=((mark, 0),)) == Denied((mark, 0), 60)

    def test_first_barrier_is_named(self, ledger):
        one, two = key("m", 1), key("n", 1)
        for mark, ttl in ((one, 10), (two, 20)):
            ledger.advance(mark, 1, ttl=ttl, now=NOW)
        assert self.take(ledger, key("a"), unless=((two, 0), (one, 0))) == Denied((two, 0), 20)
        assert self.take(ledger, key("a"), unless=((one, 0), (two, 0))) == Denied((one, 0), 10)

    def test_eight_keys_fit_into_one_take(self, ledger):
        marks = tuple((key("m", n), 0) for n in range(4))
        assert self.take(ledger, *(key("a", n) for n in range(4)), unless=marks).counts == (1, 1, 1, 1)

    # --- time

    def test_bucket_lives_from_its_first_unit_and_is_not_extended(self, ledger):
        bucket = key()
        for at in (NOW, NOW + 1, NOW + TTL - 1):
            self.take(ledger, bucket, limit=3, now=at)
        assert self.take(ledger, bucket, limit=3, now=NOW + TTL - 1) == Denied(claim(bucket, 3), 1)
        assert self.take(ledger, bucket, limit=3, now=NOW + TTL).counts == (1,)

    def test_mark_expires_when_now_reaches_its_expiry(self, ledger):
        mark = key("m")
        assert ledger.advance(mark, 1, ttl=TTL, now=NOW)
        assert self.take(ledger, key("a"), unless=((mark, 0),), now=NOW + TTL - 1) == Denied((mark, 0), 1)
        assert not ledger.advance(mark, 1, ttl=TTL, now=NOW + TTL - 1)
        assert isinstance(self.take(ledger, key("a"), unless=((mark, 0),), now=NOW + TTL), Taken)
        assert ledger.advance(mark, 1, ttl=TTL, now=NOW + TTL)

    def test_mark_that_moves_forward_lives_for_the_new_ttl(self, ledger):
        mark = key("m")
        ledger.advance(mark, 1, ttl=10, now=NOW)
        assert ledger.advance(mark, 2, ttl=100, now=NOW + 5)
        assert not ledger.advance(mark, 2, ttl=100, now=NOW + 104)

    def test_clock_that_goes_backwards_forgets_nothing(self, ledger):
        bucket, mark = key("a"), key("m")
        self.take(ledger, bucket, limit=1)
        ledger.advance(mark, 1, ttl=TTL, now=NOW)
        for earlier in (NOW - 1, NOW - 3600, 1):
            denied = self.take(ledger, bucket, limit=1, now=earlier)
            assert denied == Denied(claim(bucket, 1), NOW + TTL - earlier)
            assert not ledger.advance(mark, 1, ttl=1, now=earlier)
        assert isinstance(self.take(ledger, bucket, limit=1, now=NOW + TTL - 1), Denied)

    def test_shorter_ttl_seen_later_does_not_shorten_a_life(self, ledger):
        bucket = key()
        self.take(ledger, bucket, limit=2, ttl=TTL)
        self.take(ledger, bucket, limit=2, ttl=1, now=NOW + 1)
        assert self.take(ledger, bucket, limit=2, now=NOW + TTL - 1) == Denied(claim(bucket, 2), 1)

    # --- advance

    def test_advance_is_true_only_for_a_greater_value(self, ledger):
        values = [5, 5, 4, 6, 6, 7, 1, 2**53]
        answers = [ledger.advance(key("m"), value, ttl=TTL, now=NOW) for value in values]
        assert answers == [True, False, False, True, False, True, False, True]

    def test_first_value_of_a_mark_may_be_zero(self, ledger):
        assert [ledger.advance(key("m"), 0, ttl=TTL, now=at) for at in (NOW, NOW, NOW + TTL)] == [True, False, True]

    def test_advance_refused_leaves_value_and_life_as_they_were(self, ledger):
        mark = key("m")
        ledger.advance(mark, 5, ttl=10, now=NOW)
        assert not ledger.advance(mark, 3, ttl=TTL, now=NOW)
        assert self.take(ledger, key("a"), unless=((mark, 4),)) == Denied((mark, 4), 10)
        assert ledger.advance(mark, 3, ttl=TTL, now=NOW + 10)

    # --- give back

    def test_give_back_returns_one_unit_once_for_each_take(self, ledger):
        bucket = key()
        first, second = self.take(ledger, bucket), self.take(ledger, bucket)
        for _ in range(3):
            self.give_back(ledger, second, bucket)
        assert self.count(ledger, bucket) == 1
        self.give_back(ledger, first, bucket)
        assert self.count(ledger, bucket) == 0

    def test_give_back_returns_only_the_bucket_that_is_named(self, ledger):
        one, two = key("a"), key("b")
        taken = self.take(ledger, one, two)
        self.give_back(ledger, taken, two)
        assert (self.count(ledger, one), self.count(ledger, two)) == (1, 0)
        self.give_back(ledger, taken, one)
        assert self.count(ledger, one) == 0

    def test_give_back_ignores_a_bucket_that_was_not_claimed(self, ledger):
        other = key(whom=2)
        self.take(ledger, other)
        self.give_back(ledger, self.take(ledger, key(whom=1)), other)
        assert self.count(ledger, other) == 1

    def test_give_back_never_goes_below_zero(self, ledger):
        bucket = key()
        old = self.take(ledger, bucket)
        self.give_back(ledger, self.take(ledger, bucket, limit=9), bucket)
        for late in (old, self.take(ledger, bucket, now=NOW + TTL)):  # The second starts the bucket afresh.
            self.give_back(ledger, late, bucket, now=NOW + TTL)
        assert self.count(ledger, bucket, now=NOW + TTL) == 0
        assert self.take(ledger, bucket, limit=1, now=NOW + TTL).counts == (1,)
        assert isinstance(self.take(ledger, bucket, limit=1, now=NOW + TTL), Denied)

    def test_give_back_of_an_expired_bucket_does_nothing(self, ledger):
        bucket = key()
        taken = self.take(ledger, bucket)
        self.give_back(ledger, taken, bucket, now=NOW + TTL)
        assert self.take(ledger, bucket, now=NOW + TTL).counts == (1,)

    def test_unit_given_back_can_be_taken_again_but_no_more(self, ledger):
        bucket = key()
        taken = self.take(ledger, bucket, limit=1)
        self.give_back(ledger, taken, bucket)
        assert isinstance(self.take(ledger, bucket, limit=1), Taken)
        self.give_back(ledger, taken, bucket)
        assert isinstance(self.take(ledger, bucket, limit=1), Denied)

    @pytest.mark.parametrize(("units", "left"), [(1, 3), (2, 2), (4, 0), (5, 0), (2**40, 0)])
    def test_give_back_takes_its_units_from_the_bucket_down_to_zero(self, ledger, units, left):
        bucket = key()
        taken = [self.take(ledger, bucket, limit=5) for _ in range(4)]
        self.give_back(ledger, taken[0], bucket, units=units)
        assert self.count(ledger, bucket) == left
        self.give_back(ledger, taken[0], bucket, units=units)  # The same take, so nothing more.
        assert self.count(ledger, bucket) == left

    def test_give_back_leaves_the_life_of_a_bucket_as_it_was(self, ledger):
        bucket = key()
        taken = self.take(ledger, bucket, limit=1)
        self.give_back(ledger, taken, bucket, now=NOW + 5, units=1)
        self.take(ledger, bucket, limit=1, now=NOW + TTL - 1)  # The bucket is empty, but lives still.
        assert self.take(ledger, bucket, limit=1, now=NOW + TTL - 1) == Denied(claim(bucket, 1), 1)
        assert self.take(ledger, bucket, limit=1, now=NOW + TTL).counts == (1,)

    # --- release: given back in the step that sets a mark

    def test_release_happens_if_the_mark_moves_and_only_then(self, ledger):
        mark, bucket = key("m"), key("a")
        for _ in range(6):
            self.take(ledger, bucket, limit=9)
        one = ((claim(bucket, 9), 1),)
        answers = [ledger.advance(mark, value, ttl=TTL, now=NOW, release=one) for value in (5, 5, 4, 6)]
        assert answers == [True, False, False, True]
        assert self.count(ledger, bucket) == 4

    @pytest.mark.parametrize(("units", "left"), [(1, 3), (3, 1), (4, 0), (9, 0)])
    def test_release_takes_its_units_from_the_bucket_down_to_zero(self, ledger, units, left):
        mark, bucket = key("m"), key("a")
        for _ in range(4):
            self.take(ledger, bucket, limit=9)
        assert ledger.advance(mark, 1, ttl=TTL, now=NOW, release=((claim(bucket, 9), units),))
        assert self.count(ledger, bucket) == left

    def test_release_gives_back_each_of_its_claims_and_nothing_else(self, ledger):
        mark, emptied, eased, other = key("m"), key("i"), key("p"), key("o")
        for _ in range(3):
            self.take(ledger, emptied, eased, other, limit=30)
        release = ((claim(emptied, 30), 30), (claim(eased, 30), 1))
        assert ledger.advance(mark, 1, ttl=TTL, now=NOW, release=release)
        assert [self.count(ledger, bucket) for bucket in (emptied, eased, other)] == [0, 2, 3]

    def test_release_leaves_the_life_of_a_bucket_as_it_was(self, ledger):
        mark, bucket = key("m"), key("a")
        self.take(ledger, bucket, limit=1, ttl=60)
        ledger.advance(mark, 1, ttl=TTL, now=NOW + 30, release=((claim(bucket, 1, 60), 1),))
        assert self.take(ledger, bucket, limit=1, ttl=60, now=NOW + 59).counts == (1,)
        assert self.take(ledger, bucket, limit=1, ttl=60, now=NOW + 59) == Denied(claim(bucket, 1, 60), 1)
        assert self.take(ledger, bucket, limit=1, ttl=60, now=NOW + 60).counts == (1,)

    def test_release_leaves_a_bucket_that_holds_more_than_the_limit(self, ledger):
        mark, bucket = key("m"), key("a")
        ledger.advance(bucket, 2**41, ttl=TTL, now=NOW)
        assert ledger.advance(mark, 1, ttl=TTL, now=NOW, release=((claim(bucket, 30), 30),))
        assert self.take(ledger, key("o"), unless=((bucket, 2**41 - 1),)) == Denied((bucket, 2**41 - 1), TTL)

    def test_release_leaves_the_mark_that_it_comes_with(self, ledger):
        entry = key()
        self.take(ledger, entry)
        assert ledger.advance(entry, 2**40, ttl=TTL, now=NOW, release=((claim(entry), 3),))
        assert self.take(ledger, entry, unless=((entry, 2**40 - 1),)) == Denied((entry, 2**40 - 1), TTL)

    def test_release_of_a_bucket_that_is_not_there_or_expired_makes_none(self, ledger):
        mark, missing, expired = key("m"), key("a", 1), key("a", 2)
        self.take(ledger, expired)
        release = ((claim(missing), 3), (claim(expired), 3))
        assert ledger.advance(mark, 1, ttl=TTL, now=NOW + TTL, release=release)
        later = NOW + 2 * TTL - 1  # A bucket made by the release would be near its end.
        for bucket in (missing, expired):
            assert self.take(ledger, bucket, limit=1, now=later).counts == (1,)
            assert self.take(ledger, bucket, limit=1, now=later) == Denied(claim(bucket, 1), TTL)

    # --- one entry that is a bucket first and a mark in the end, as a challenge's is

    def test_barrier_looks_at_what_was_counted_too(self, ledger):
        entry = key()
        for _ in range(2):
            self.take(ledger, entry)
        assert self.take(ledger, entry, unless=((entry, 1),)) == Denied((entry, 1), TTL)
        assert self.take(ledger, entry, unless=((entry, 2),)).counts == (3,)

    def test_advance_of_a_bucket_must_exceed_its_count(self, ledger):
        entry = key()
        for _ in range(2):
            self.take(ledger, entry)
        assert not ledger.advance(entry, 2, ttl=TTL, now=NOW)
        assert ledger.advance(entry, 2**40, ttl=TTL, now=NOW)
        assert not ledger.advance(entry, 2**40, ttl=TTL, now=NOW)

    def test_bucket_that_was_advanced_is_full_and_its_barrier_speaks_first(self, ledger):
        entry = key()
        self.take(ledger, entry)
        ledger.advance(entry, 2**40, ttl=TTL, now=NOW)
        assert self.take(ledger, entry) == Denied(claim(entry), TTL)
        assert self.take(ledger, entry, unless=((entry, 2**41), (entry, 2**40 - 1))) == Denied((entry, 2**40 - 1), TTL)

    def test_give_back_leaves_a_mark_that_was_set_since(self, ledger):
        entry = key()
        taken = [self.take(ledger, entry) for _ in range(2)]
        ledger.advance(entry, 2**40, ttl=TTL, now=NOW)
        for one in taken:
            self.give_back(ledger, one, entry)
        assert self.take(ledger, entry, unless=((entry, 2**40 - 1),)) == Denied((entry, 2**40 - 1), TTL)
        assert not ledger.advance(entry, 2**40, ttl=TTL, now=NOW)

    def test_verification_from_the_first_wrong_code_to_the_one_that_comes_too_late(self, ledger):
        """The calls that the rule makes, as it makes them."""
        challenge, identifier, ip, epoch = key("c"), key("i"), key("p"), key("e")
        claims = ((challenge, 3, 900), (identifier, 30, 3600), (ip, 100, 60))
        revoked, newer, used = (challenge, 2**41 - 1), (epoch, NOW * 2**22), (challenge, 2**40 - 1)
        unless = (revoked, newer, used)
        release = ((claims[1], 30), (claims[2], 1))
        assert ledger.take(claims, unless=unless, now=NOW).counts == (1, 1, 1)
        assert ledger.take(claims, unless=unless, now=NOW + 1).counts == (2, 2, 2)
        assert ledger.advance(challenge, 2**40, ttl=900, now=NOW + 1, release=release)
        assert not ledger.advance(challenge, 2**40, ttl=900, now=NOW + 2, release=release)
        assert ledger.take(claims, unless=unless, now=NOW + 2) == Denied(used, 899)
        assert [self.count(ledger, bucket, now=NOW + 2) for bucket in (identifier, ip)] == [0, 1]
        assert ledger.advance(challenge, 2**41, ttl=900, now=NOW + 2)
        assert ledger.take(claims, unless=unless, now=NOW + 2) == Denied(revoked, 900)
        other = ((key("c", 2), 3, 900), *claims[1:])
        unless = ((key("c", 2), 2**41 - 1), newer, (key("c", 2), 2**40 - 1))
        assert ledger.advance(epoch, NOW * 2**22 + 1, ttl=7200, now=NOW + 2)
        assert ledger.take(other, unless=unless, now=NOW + 2) == Denied(newer, 7200)

    # --- numbers

    def test_answers_are_whole_numbers(self, ledger):
        taken = self.take(ledger, key("a"), key("b"))
        assert [type(count) for count in taken.counts] == [int, int]
        assert type(self.take(ledger, key("a"), limit=1).retry_after) is int
        assert ledger.advance(key("m"), 1, ttl=TTL, now=NOW) is True
        assert ledger.advance(key("m"), 1, ttl=TTL, now=NOW) is False

    def test_values_up_to_2_to_the_53_are_told_apart(self, ledger):
        mark, top = key("m"), 2**53
        for value in (10**14, 10**15 + 1, top - 2, top - 1, top):
            assert ledger.advance(mark, value, ttl=TTL, now=NOW)
            assert not ledger.advance(mark, value, ttl=TTL, now=NOW)
            assert not ledger.advance(mark, value - 1, ttl=TTL, now=NOW)
            assert isinstance(self.take(ledger, key("a"), limit=99, unless=((mark, value),)), Taken)
            assert self.take(ledger, key("a"), unless=((mark, value - 1),)) == Denied((mark, value - 1), TTL)

    def test_large_counts_go_up_and_down_by_one(self, ledger):
        bucket, high = key(), 2**53 - 3
        ledger.advance(bucket, high, ttl=TTL, now=NOW)
        taken = self.take(ledger, bucket, limit=2**53)
        assert taken.counts == (high + 1,)
        self.give_back(ledger, taken, bucket)
        assert [self.take(ledger, bucket, limit=high + 2).counts for _ in range(2)] == [(high + 1,), (high + 2,)]
        assert self.take(ledger, bucket, limit=high + 2) == Denied(claim(bucket, high + 2), TTL)

    @pytest.mark.parametrize("ttl", [1, 10**6, 2**31 + 300, 2**40])
    def test_lives_are_as_long_as_they_were_asked_for(self, ledger, ttl):
        bucket, mark = key("a"), key("m")
        self.take(ledger, bucket, limit=1, ttl=ttl)
        assert ledger.advance(mark, 1, ttl=ttl, now=NOW)
        last = NOW + ttl - 1
        assert self.take(ledger, bucket, limit=1, ttl=ttl, now=last) == Denied(claim(bucket, 1, ttl), 1)
        assert self.take(ledger, key("b"), unless=((mark, 0),), now=last) == Denied((mark, 0), 1)
        assert self.take(ledger, bucket, limit=1, ttl=ttl, now=NOW + ttl).counts == (1,)
        assert ledger.advance(mark, 1, ttl=ttl, now=NOW + ttl)

    @pytest.mark.parametrize("start", [0, 1, 2**31 - 1, 2**32, 2**40])
    def test_time_may_be_any(self, ledger, start):
        bucket = key()
        assert self.take(ledger, bucket, limit=1, now=start).counts == (1,)
        assert self.take(ledger, bucket, limit=1, now=start) == Denied(claim(bucket, 1), TTL)
        assert self.take(ledger, bucket, limit=1, now=start + TTL).counts == (1,)

    # --- keys

    def test_keys_may_hold_any_byte(self, ledger):
        """Also those that text, patterns, padding or letter case would change."""
        buckets = [b"a" + bytes([byte]) * 16 for byte in range(256)]
        buckets += [b"a" + end.rjust(16, b"x") for end in (b"\0", b" ", b"\r\n", b"", b"X", b"\xc3\xa4", b"a\xcc\x88")]
        buckets += [bytes([kind]) + bytes(16) for kind in range(256)]
        for bucket in set(buckets):
            assert isinstance(self.take(ledger, bucket, limit=1), Taken)
        for bucket in buckets:
            assert self.take(ledger, bucket, limit=1) == Denied(claim(bucket, 1), TTL)

    def test_keys_of_different_kinds_or_ids_are_different(self, ledger):
        same_but_for_one_bit = [key("a", 1), key("b", 1), key("a", 2), key("a", 1 << 127), key("a", 1 << 64)]
        for bucket in same_but_for_one_bit:
            assert self.take(ledger, bucket, limit=1).counts == (1,)
        for mark in same_but_for_one_bit:
            assert isinstance(self.take(ledger, mark, limit=1), Denied)

    def test_mark_of_another_kind_does_not_deny(self, ledger):
        ledger.advance(key("u"), 1, ttl=TTL, now=NOW)
        assert isinstance(self.take(ledger, key("a"), unless=((key("r"), 0),)), Taken)

    def test_two_ledgers_made_empty_share_nothing_from_before(self, make_ledger):
        first = make_ledger()
        assert isinstance(self.take(first, key(), limit=1), Taken)
        assert isinstance(self.take(make_ledger(), key(), limit=1), Taken)

    # --- many at once

    @pytest.mark.parametrize("limit", [1, 3, 40])
    def test_many_threads_on_one_bucket_take_exactly_the_limit(self, ledger, at_once, limit):
        results = at_once(THREADS, lambda: self.take(ledger, key(), limit=limit))
        counts = sorted(result.counts[0] for result in results if isinstance(result, Taken))
        assert counts == list(range(1, limit + 1))
        assert results.count(Denied(claim(key(), limit), TTL)) == THREADS - limit

    def test_many_threads_on_two_buckets_take_as_often_as_the_smaller_one_allows(self, ledger, at_once):
        large, small = key("a"), key("b")
        claims = [((large, 50, TTL), (small, 5, TTL)), ((small, 5, TTL), (large, 50, TTL))]
        results = at_once(THREADS, lambda: [ledger.take(claim, now=NOW) for claim in claims])
        taken = [result for pair in results for result in pair if isinstance(result, Taken)]
        assert len(taken) == 5
        assert (self.count(ledger, large), self.count(ledger, small)) == (5, 5)

    def test_many_threads_that_advance_one_mark_hear_true_once(self, ledger, at_once):
        results = at_once(THREADS, lambda: ledger.advance(key("m"), 1, ttl=TTL, now=NOW))
        assert sorted(results) == [False] * (THREADS - 1) + [True]

    def test_take_and_mark_at_once_never_take_after_the_mark(self, ledger, at_once):
        """Once somebody has heard that the mark is set, no take passes it."""
        mark = key("m")

        def race():
            set_by_me = ledger.advance(mark, 1, ttl=TTL, now=NOW)
            return set_by_me, self.take(ledger, key("a"), limit=10**6, unless=((mark, 0),))

        results = at_once(THREADS, race)
        assert [result for _, result in results] == [Denied((mark, 0), TTL)] * THREADS

    def test_many_threads_that_give_back_the_same_takes_return_each_once(self, ledger, at_once):
        for bucket in (key(whom=n) for n in range(8)):
            taken = [self.take(ledger, bucket, limit=1000) for _ in range(300)]

            def give_nearly_all_back(bucket=bucket, taken=taken):
                for one in taken[:200]:
                    self.give_back(ledger, one, bucket)

            at_once(4, give_nearly_all_back)
            assert self.count(ledger, bucket) == 100

    def test_many_threads_that_advance_one_mark_release_once(self, ledger, at_once):
        mark, bucket = key("m"), key("a")
        for _ in range(THREADS):
            self.take(ledger, bucket, limit=THREADS)
        release = ((claim(bucket, THREADS), 1),)
        results = at_once(THREADS, lambda: ledger.advance(mark, 1, ttl=TTL, now=NOW, release=release))
        assert sorted(results) == [False] * (THREADS - 1) + [True]
        assert self.count(ledger, bucket) == THREADS - 1

    def test_many_threads_that_take_and_release_lose_no_unit(self, ledger, at_once):
        """Each takes two units and gives one back as it marks: a unit lost or gained shows in the end."""
        bucket, challenges = key("i"), iter([key("c", whom) for whom in range(THREADS)])
        release = ((claim(bucket, 10**6), 1),)

        def verify():
            challenge = next(challenges)
            for _ in range(2):
                self.take(ledger, challenge, bucket, limit=10**6)
            return ledger.advance(challenge, 2**40, ttl=TTL, now=NOW, release=release)

        assert at_once(THREADS, verify) == [True] * THREADS
        assert self.count(ledger, bucket) == THREADS

    def test_threads_that_name_the_same_keys_in_any_order_all_get_an_answer(self, ledger, at_once):
        """None waits for another for ever, none is refused for having met one."""
        keys = [key(kind) for kind in "abcd"]
        turns = iter(range(10**9))

        def churn():
            for _ in range(5):
                turn = next(turns) % len(keys)
                mark, *buckets = keys[turn:] + keys[:turn]
                ledger.take(tuple(claim(bucket, 10**6) for bucket in buckets), unless=((mark, 2**52),), now=NOW)
                release = tuple((claim(bucket, 10**6), 1) for bucket in reversed(buckets))
                ledger.advance(mark, next(turns), ttl=TTL, now=NOW, release=release)

        assert at_once(16, churn) == [None] * 16
