#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "expect.h"
#include "otp_actions/process_ledger.h"
#include "threads.h"

#if defined(__SANITIZE_ADDRESS__)
#define OTP_TEST_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OTP_TEST_HAS_ASAN 1
#endif
#endif
#ifndef OTP_TEST_HAS_ASAN
#define OTP_TEST_HAS_ASAN 0
#endif

namespace otp_actions {
namespace {

using testing::Alarm;
using testing::RunTogether;
using testing::ThrowsError;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMany = 1'000'000'000;

// Key spreads `n` over the 128 bits as a digest would, the same for every run.
LedgerKey Key(std::uint64_t n, std::uint8_t kind = 1) {
  LedgerKey key{.kind = kind};
  for (std::size_t half = 0; half < 2; ++half) {
    // splitmix64.
    std::uint64_t x = (2 * n + half + 1) * 0x9e37'79b9'7f4a'7c15U;
    x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9U;
    x = (x ^ x >> 27) * 0x94d0'49bb'1331'11ebU;
    x ^= x >> 31;
    std::memcpy(key.id.data() + 8 * half, &x, sizeof x);
  }
  return key;
}

using Result = std::variant<Taken, Denied>;

Result Take(ProcessLedger& ledger, std::initializer_list<Claim> claims, UnixTime now,
            std::initializer_list<Barrier> barriers = {}) {
  return ledger.Take({claims.begin(), claims.size()}, {barriers.begin(), barriers.size()}, now);
}

::testing::AssertionResult IsTaken(const Result& result, const std::vector<std::int64_t>& counts) {
  const Taken* const taken = std::get_if<Taken>(&result);
  if (taken == nullptr) return ::testing::AssertionFailure() << "denied";
  if (taken->counts == counts) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "counts are " << ::testing::PrintToString(taken->counts);
}

::testing::AssertionResult IsDenied(const Result& result, std::size_t index, std::int64_t retry_after) {
  const Denied* const denied = std::get_if<Denied>(&result);
  if (denied == nullptr) return ::testing::AssertionFailure() << "taken";
  if (denied->index == index && denied->retry_after == retry_after) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "index is " << denied->index << ", retry_after " << denied->retry_after;
}

void GiveBack(ProcessLedger& ledger, const LedgerKey& bucket, UnixTime now) {
  ledger.GiveBack({.claim = {bucket, kMax, 1}}, now);
}

bool Advance(ProcessLedger& ledger, const LedgerKey& mark, std::int64_t value, UnixTime now,
             std::initializer_list<Release> releases) {
  return ledger.Advance(mark, value, 60, now, {releases.begin(), releases.size()});
}

// CountOf says how much of a bucket is taken, by taking one more and giving it back.
std::int64_t CountOf(ProcessLedger& ledger, const LedgerKey& bucket, UnixTime now) {
  const std::int64_t count = std::get<Taken>(Take(ledger, {{bucket, kMax, 1}}, now)).counts.at(0) - 1;
  GiveBack(ledger, bucket, now);
  return count;
}

// Fill takes new buckets until the ledger refuses, and returns how many it held.
std::size_t Fill(ProcessLedger& ledger, std::int64_t ttl, UnixTime now, std::uint64_t first = 1'000'000) {
  for (std::size_t n = 0;; ++n) {
    try {
      (void)Take(ledger, {{Key(first + n), 1, ttl}}, now);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kLedgerFull);
      return n;
    }
  }
}

// ---- Take ----

TEST(ProcessLedgerTest, TakesUpToTheLimitAndNeverAbove) {
  ProcessLedger ledger(100);
  for (std::int64_t count = 1; count <= 5; ++count) EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 5, 60}}, 100), {count}));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 5, 60}}, 100), 0, 60));
  EXPECT_EQ(CountOf(ledger, Key(1), 100), 5);
}

TEST(ProcessLedgerTest, LimitIsTheCallers) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 60}}, 100), {1}));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 60}}, 100), {2}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 60}}, 100), 0, 60)) << "above the limit already";
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 3, 60}}, 100), {3}));
}

TEST(ProcessLedgerTest, LimitOfZeroDeniesAtOnce) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 0, 60}}, 100), 0, 0));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), -1, 60}}, 100), 0, 0));
  EXPECT_EQ(ledger.size(), 0U);
}

TEST(ProcessLedgerTest, TakesAllOrNone) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(2), 1, 30}}, 100), {1}));
  // The second is spent: neither the one before it nor the one after it is taken.
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 5, 60}, {Key(2), 1, 60}, {Key(3), 5, 60}}, 110), 1, 20));
  EXPECT_EQ(CountOf(ledger, Key(1), 110), 0);
  EXPECT_EQ(CountOf(ledger, Key(3), 110), 0);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 5, 60}, {Key(2), 2, 60}, {Key(3), 5, 60}}, 110), {1, 2, 1}));
}

TEST(ProcessLedgerTest, CountsComeInTheOrderOfTheClaims) {
  ProcessLedger ledger(100);
  for (std::uint64_t n = 0; n < 8; ++n) {
    for (std::uint64_t i = 0; i < n; ++i) (void)Take(ledger, {{Key(n), kMany, 60}}, 0);
  }
  EXPECT_TRUE(
      IsTaken(Take(ledger, {{Key(5), kMany, 60}, {Key(0), kMany, 60}, {Key(7), kMany, 60}, {Key(2), kMany, 60}}, 0),
              {6, 1, 8, 3}));
}

TEST(ProcessLedgerTest, DeniedNamesTheFirstClaimThatStoodInTheWay) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 1, 10}, {Key(2), 1, 20}}, 100);
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 60}, {Key(2), 1, 60}}, 105), 0, 5));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(2), 1, 60}, {Key(1), 1, 60}}, 105), 0, 15));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(3), 1, 60}, {Key(2), 1, 60}}, 105), 1, 15));
}

TEST(ProcessLedgerTest, BucketLivesFromItsFirstUnit) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 10}}, 100), {1}));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 10}}, 108), {2}));  // Does not move the end.
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 2, 10}}, 109), 0, 1));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 10}}, 110), {1}));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 10}}, 119), {2}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 2, 10}}, 119), 0, 1));
}

TEST(ProcessLedgerTest, ClockGoingBackwardsFreesNothing) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, 10}}, 100), {1}));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(2), 1, 10}}, 105), {1}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 10}}, 50), 0, 60));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 10}}, 0), 0, 110));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 10}}, -1000), 0, 1110));
  for (std::uint64_t n = 10; n < 50; ++n) (void)Take(ledger, {{Key(n), 1, 10}}, 50);
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 10}}, 109), 0, 1));
}

TEST(ProcessLedgerTest, TimeToTheEndOfTimeIsForever) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, kMax}}, 1'700'000'000), {1}));
  EXPECT_FALSE(std::holds_alternative<Taken>(Take(ledger, {{Key(1), 1, kMax}}, 1'700'000'001)));
  EXPECT_FALSE(std::holds_alternative<Taken>(Take(ledger, {{Key(1), 1, kMax}}, kMax - 1)));
}

TEST(ProcessLedgerTest, RetryAfterIsNeverNegative) {
  // The farthest expiry and a clock before 1970: their difference is more than an int64 holds.
  ProcessLedger ledger(100);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, kMax}}, 10), {1}));
  EXPECT_TRUE(ledger.Advance(Key(2), 1, kMax, 10));
  for (const UnixTime now : {UnixTime{-1}, UnixTime{-1000}, std::numeric_limits<UnixTime>::min()}) {
    const Result claim = Take(ledger, {{Key(1), 1, 10}}, now);
    ASSERT_TRUE(std::holds_alternative<Denied>(claim));
    EXPECT_GT(std::get<Denied>(claim).retry_after, 0) << now;
    const Result barrier = Take(ledger, {}, now, {{Key(2), 0}});
    ASSERT_TRUE(std::holds_alternative<Denied>(barrier));
    EXPECT_GT(std::get<Denied>(barrier).retry_after, 0) << now;
  }
}

TEST(ProcessLedgerTest, KeysDifferByEveryBitAndByKind) {
  ProcessLedger ledger(1000);
  const LedgerKey key = Key(1);
  (void)Take(ledger, {{key, 1, 60}}, 0);
  for (std::size_t bit = 0; bit < 8 * kIdSize; ++bit) {
    LedgerKey other = key;
    other.id[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_TRUE(IsTaken(Take(ledger, {{other, 1, 60}}, 0), {1})) << bit;
  }
  for (int kind = 0; kind < 256; ++kind) {
    if (kind == key.kind) continue;
    EXPECT_TRUE(IsTaken(Take(ledger, {{{static_cast<std::uint8_t>(kind), key.id}, 1, 60}}, 0), {1})) << kind;
  }
  EXPECT_TRUE(IsDenied(Take(ledger, {{key, 1, 60}}, 0), 0, 60));
}

TEST(ProcessLedgerTest, IdsThatLookAlikeAreKeptApart) {
  // Nobody promises random ids: a project's own may differ in one corner only.
  ProcessLedger ledger(10'000);
  for (const std::size_t corner : {0U, 1U, 8U, 15U}) {
    for (int i = 0; i < 256; ++i) {
      LedgerKey key{.kind = static_cast<std::uint8_t>(corner)};
      key.id[corner] = static_cast<std::uint8_t>(i);
      EXPECT_TRUE(IsTaken(Take(ledger, {{key, 1, 60}}, 0), {1}));
      EXPECT_TRUE(IsDenied(Take(ledger, {{key, 1, 60}}, 0), 0, 60));
    }
  }
}

TEST(ProcessLedgerTest, TakeOfNothingIsTaken) {
  ProcessLedger ledger(1);
  EXPECT_TRUE(IsTaken(Take(ledger, {}, 0), {}));
  EXPECT_EQ(ledger.size(), 0U);
}

TEST(ProcessLedgerTest, RefusesMoreThanEightKeys) {
  ProcessLedger ledger(100);
  std::vector<Claim> claims;
  std::vector<Barrier> barriers;
  for (std::uint64_t n = 0; n < 9; ++n) {
    claims.push_back({Key(n), 5, 60});
    barriers.push_back({Key(100 + n), 0});
  }
  const auto take = [&](std::size_t c, std::size_t b) {
    return ledger.Take(std::span(claims).first(c), std::span(barriers).first(b), 0);
  };
  for (std::size_t c = 0; c <= 9; ++c) {
    for (std::size_t b = 0; b <= 9; ++b) {
      if (c + b <= ProcessLedger::kMaxKeysPerTake) {
        EXPECT_TRUE(std::holds_alternative<Taken>(take(c, b)) || c > 0) << c << ", " << b;
      } else {
        EXPECT_THROW((void)take(c, b), std::invalid_argument) << c << ", " << b;
      }
    }
  }
}

TEST(ProcessLedgerTest, RefusesABucketTwiceInOneTake) {
  // Looked at one by one, each of two units would fit under a limit of one.
  ProcessLedger ledger(100);
  EXPECT_THROW((void)Take(ledger, {{Key(1), 1, 60}, {Key(1), 1, 60}}, 0), std::invalid_argument);
  EXPECT_THROW((void)Take(ledger, {{Key(1), 9, 60}, {Key(2), 1, 60}, {Key(1), 9, 60}}, 0), std::invalid_argument);
  EXPECT_EQ(ledger.size(), 0U);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, 60}, {Key(1, 2), 1, 60}}, 0), {1, 1}))
      << "another kind is another bucket";
}

TEST(ProcessLedgerTest, RefusesToCountForNoTime) {
  // A bucket that is gone the moment it is made would never deny anything.
  ProcessLedger ledger(100);
  for (const std::int64_t ttl : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    EXPECT_THROW((void)Take(ledger, {{Key(1), 1, ttl}}, 100), std::invalid_argument);
    EXPECT_THROW((void)ledger.Advance(Key(2), 1, ttl, 100), std::invalid_argument);
  }
  EXPECT_EQ(ledger.size(), 0U);
}

// ---- Barriers and Advance ----

TEST(ProcessLedgerTest, AdvanceStoresStrictlyGreaterValuesOnly) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(ledger.Advance(Key(1), 5, 60, 0));
  EXPECT_FALSE(ledger.Advance(Key(1), 5, 60, 0));
  EXPECT_FALSE(ledger.Advance(Key(1), 4, 60, 0));
  EXPECT_FALSE(ledger.Advance(Key(1), -1, 60, 0));
  EXPECT_TRUE(ledger.Advance(Key(1), 6, 60, 0));
  EXPECT_FALSE(ledger.Advance(Key(1), 6, 60, 0));
  EXPECT_TRUE(ledger.Advance(Key(1), kMax, 60, 0));
  EXPECT_FALSE(ledger.Advance(Key(1), kMax, 60, 0));
}

TEST(ProcessLedgerTest, AdvanceOfAnExpiredMarkStartsAnew) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(ledger.Advance(Key(1), 5, 10, 100));
  EXPECT_FALSE(ledger.Advance(Key(1), 5, 10, 109));
  EXPECT_TRUE(ledger.Advance(Key(1), 3, 10, 110));
  EXPECT_FALSE(ledger.Advance(Key(1), 3, 10, 110));
}

TEST(ProcessLedgerTest, FirstAdvanceIsTrueForAnyValue) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(ledger.Advance(Key(1), 0, 60, 0));
  EXPECT_TRUE(ledger.Advance(Key(2), std::numeric_limits<std::int64_t>::min(), 60, 0));
}

TEST(ProcessLedgerTest, AdvanceThatStoresMovesTheEnd) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(ledger.Advance(Key(1), 1, 10, 100));
  EXPECT_TRUE(ledger.Advance(Key(1), 2, 10, 105));
  EXPECT_FALSE(ledger.Advance(Key(1), 2, 1000, 106));  // Stores nothing, so it moves nothing.
  EXPECT_TRUE(IsDenied(Take(ledger, {}, 114, {{Key(1), 0}}), 0, 1));
  EXPECT_TRUE(IsTaken(Take(ledger, {}, 115, {{Key(1), 0}}), {}));
}

TEST(ProcessLedgerTest, BarrierForbidsWhatIsGreaterThanAbove) {
  ProcessLedger ledger(100);
  const auto take = [&](std::int64_t above) { return Take(ledger, {{Key(9), kMany, 60}}, 0, {{Key(1), above}}); };
  EXPECT_TRUE(std::holds_alternative<Taken>(take(-1))) << "there is no mark yet";
  ASSERT_TRUE(ledger.Advance(Key(1), 7, 60, 0));
  EXPECT_TRUE(IsDenied(take(-1), 0, 60));
  EXPECT_TRUE(IsDenied(take(6), 0, 60));
  EXPECT_TRUE(std::holds_alternative<Taken>(take(7)));
  EXPECT_TRUE(std::holds_alternative<Taken>(take(kMax)));
}

TEST(ProcessLedgerTest, BarrierAsWrittenForbidsAnyMark) {
  ProcessLedger ledger(100);
  ASSERT_TRUE(ledger.Advance(Key(1), 0, 60, 0));
  EXPECT_TRUE(IsDenied(Take(ledger, {}, 0, {Barrier{.mark = Key(1)}}), 0, 60));
}

TEST(ProcessLedgerTest, BarriersAreLookedAtFirst) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 1, 50}}, 0);
  ASSERT_TRUE(ledger.Advance(Key(2), 1, 60, 0));
  // The claim is spent and the second barrier stands: the barrier is named.
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 60}}, 0, {{Key(3), 0}, {Key(2), 0}}), 1, 60));
  // Claims are numbered after the barriers.
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(4), 1, 60}, {Key(1), 1, 60}}, 0, {{Key(3), 0}, {Key(2), 1}}), 3, 50));
}

TEST(ProcessLedgerTest, BarrierTakesNothing) {
  ProcessLedger ledger(100);
  ASSERT_TRUE(ledger.Advance(Key(2), 1, 60, 0));
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 5, 60}}, 0, {{Key(2), 0}}), 0, 60));
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 0);
}

TEST(ProcessLedgerTest, BarrierIsGoneWithItsMark) {
  ProcessLedger ledger(100);
  ASSERT_TRUE(ledger.Advance(Key(1), 1, 10, 100));
  EXPECT_TRUE(IsDenied(Take(ledger, {}, 109, {{Key(1), 0}}), 0, 1));
  EXPECT_TRUE(IsTaken(Take(ledger, {}, 110, {{Key(1), 0}}), {}));
}

TEST(ProcessLedgerTest, BarrierIsLookedAtThoughTheLedgerIsFull) {
  ProcessLedger ledger(10);
  ASSERT_TRUE(ledger.Advance(Key(1), 1, 60, 0));
  EXPECT_EQ(Fill(ledger, 60, 0), 9U);
  // A used code is a used code, and no reason to say "later".
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(2), 5, 60}}, 0, {{Key(1), 0}}), 0, 60));
}

// ---- GiveBack ----

TEST(ProcessLedgerTest, GiveBackReturnsOneUnit) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 2, 60}}, 0);
  (void)Take(ledger, {{Key(1), 2, 60}}, 0);
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 2, 60}}, 0), 0, 60));
  GiveBack(ledger, Key(1), 0);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 60}}, 0), {2}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 2, 60}}, 0), 0, 60));
}

TEST(ProcessLedgerTest, GiveBackNeverGoesBelowZero) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 2, 60}}, 0);
  for (int i = 0; i < 10; ++i) GiveBack(ledger, Key(1), 0);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 60}}, 0), {1}));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 2, 60}}, 0), {2}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 2, 60}}, 0), 0, 60));
}

TEST(ProcessLedgerTest, GiveBackToABucketThatIsGoneDoesNothing) {
  ProcessLedger ledger(100);
  GiveBack(ledger, Key(1), 0);
  EXPECT_EQ(ledger.size(), 0U);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, 10}}, 0), {1}));
  GiveBack(ledger, Key(1), 10);
  GiveBack(ledger, Key(2), 0);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, 10}}, 10), {1}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 10}}, 10), 0, 10));
}

TEST(ProcessLedgerTest, GiveBackLeavesAMarkAlone) {
  // A count and a mark may share an entry: what is above the claim's limit is not a count any more.
  ProcessLedger ledger(100);
  const Claim claim{Key(1), 3, 60};
  for (int i = 0; i < 3; ++i) (void)Take(ledger, {claim}, 0);
  ledger.GiveBack({claim}, 0);  // At the limit it is still a count.
  EXPECT_TRUE(IsTaken(Take(ledger, {claim}, 0), {3}));
  ASSERT_TRUE(ledger.Advance(Key(1), 4, 60, 0));
  for (int i = 0; i < 5; ++i) ledger.GiveBack({claim}, 0);
  EXPECT_FALSE(ledger.Advance(Key(1), 4, 60, 0));
  EXPECT_TRUE(IsDenied(Take(ledger, {}, 0, {{Key(1), 3}}), 0, 60));
}

TEST(ProcessLedgerTest, GiveBackDoesNotMoveTheEnd) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 1, 10}}, 100);
  GiveBack(ledger, Key(1), 105);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, 10}}, 106), {1}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 1, 10}}, 109), 0, 1));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 1, 10}}, 110), {1}));
}

TEST(ProcessLedgerTest, GiveBackReturnsAsManyUnitsAsItNames) {
  ProcessLedger ledger(100);
  const Claim claim{Key(1), 9, 60};
  for (int i = 0; i < 9; ++i) (void)Take(ledger, {claim}, 0);
  ledger.GiveBack({claim, 2}, 0);
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 7);
  ledger.GiveBack({claim, 0}, 0);
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 7);
  ledger.GiveBack({claim, 6}, 0);
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 1);
  ledger.GiveBack({claim, 6}, 0);
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 0) << "not below";
}

TEST(ProcessLedgerTest, AsManyUnitsAsTheLimitEmptyTheBucket) {
  for (std::int64_t count = 1; count <= 4; ++count) {
    ProcessLedger ledger(100);
    const Claim claim{Key(1), 4, 60};
    for (std::int64_t i = 0; i < count; ++i) (void)Take(ledger, {claim}, 0);
    ledger.GiveBack({claim, claim.limit}, 0);
    EXPECT_EQ(CountOf(ledger, Key(1), 0), 0);
    for (std::int64_t i = 1; i <= 4; ++i) EXPECT_TRUE(IsTaken(Take(ledger, {claim}, 10), {i}));
    EXPECT_TRUE(IsDenied(Take(ledger, {claim}, 10), 0, 50)) << "and the window is the old one";
  }
}

TEST(ProcessLedgerTest, NoNumberOfUnitsReachesAMark) {
  ProcessLedger ledger(100);
  const Claim claim{Key(1), 3, 60};
  (void)Take(ledger, {claim}, 0);
  ASSERT_TRUE(ledger.Advance(Key(1), 4, 60, 0));
  for (const std::int64_t units : {std::int64_t{1}, std::int64_t{3}, std::int64_t{4}, kMax})
    ledger.GiveBack({claim, units}, 0);
  EXPECT_FALSE(ledger.Advance(Key(1), 4, 60, 0));
}

TEST(ProcessLedgerTest, GiveBackLeavesAMarkBelowZeroAlone) {
  ProcessLedger ledger(100);
  ASSERT_TRUE(ledger.Advance(Key(1), -5, 60, 0));
  ledger.GiveBack({{Key(1), 3, 60}, 3}, 0);
  EXPECT_TRUE(ledger.Advance(Key(1), -4, 60, 0));
}

// ---- Advance with releases ----

TEST(ProcessLedgerReleaseTest, GivesBackIfTheMarkMoved) {
  ProcessLedger ledger(100);
  const Claim few{Key(2), 5, 60};
  const Claim many{Key(3), 9, 60};
  for (int i = 0; i < 5; ++i) (void)Take(ledger, {few, many}, 0);
  EXPECT_TRUE(Advance(ledger, Key(1), 1, 0, {{few, few.limit}, {many, 1}})) << "of a new mark";
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 0);
  EXPECT_EQ(CountOf(ledger, Key(3), 0), 4);
  EXPECT_TRUE(Advance(ledger, Key(1), 2, 0, {{many, 3}})) << "of one that was there";
  EXPECT_EQ(CountOf(ledger, Key(3), 0), 1);
}

TEST(ProcessLedgerReleaseTest, GivesNothingBackIfTheMarkStayed) {
  ProcessLedger ledger(100);
  const Claim claim{Key(2), 5, 60};
  (void)Take(ledger, {claim}, 0);
  (void)Take(ledger, {claim}, 0);
  ASSERT_TRUE(ledger.Advance(Key(1), 7, 60, 0));
  for (const std::int64_t value : {-1, 0, 6, 7}) EXPECT_FALSE(Advance(ledger, Key(1), value, 0, {{claim, 1}}));
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 2);
}

TEST(ProcessLedgerReleaseTest, OfNothingIsAnAdvance) {
  ProcessLedger ledger(100);
  EXPECT_TRUE(Advance(ledger, Key(1), 1, 0, {}));
  EXPECT_FALSE(Advance(ledger, Key(1), 1, 0, {}));
}

TEST(ProcessLedgerReleaseTest, NeverGoesBelowZeroNorMovesTheEnd) {
  ProcessLedger ledger(100);
  const Claim claim{Key(2), 2, 10};
  (void)Take(ledger, {claim}, 100);
  EXPECT_TRUE(Advance(ledger, Key(1), 1, 105, {{claim, 2}}));
  EXPECT_TRUE(Advance(ledger, Key(1), 2, 105, {{claim, 2}}));
  EXPECT_TRUE(IsTaken(Take(ledger, {claim}, 106), {1}));
  EXPECT_TRUE(IsTaken(Take(ledger, {claim}, 106), {2}));
  EXPECT_TRUE(IsDenied(Take(ledger, {claim}, 106), 0, 4));
}

TEST(ProcessLedgerReleaseTest, MakesNoBucketAndWakesNoneThatHasEnded) {
  ProcessLedger ledger(100);
  const Claim claim{Key(2), 2, 10};
  EXPECT_TRUE(Advance(ledger, Key(1), 1, 100, {{claim, 1}}));
  EXPECT_EQ(ledger.size(), 1U) << "the mark alone";
  (void)Take(ledger, {claim}, 100);
  EXPECT_TRUE(Advance(ledger, Key(1), 2, 110, {{claim, 1}}));
  EXPECT_TRUE(IsTaken(Take(ledger, {claim}, 110), {1}));
}

TEST(ProcessLedgerReleaseTest, LeavesAMarkAlone) {
  // Its own mark too, where bucket and mark are one entry, as a challenge's are.
  ProcessLedger ledger(100);
  const Claim own{Key(1), 3, 60};
  const Claim other{Key(2), 3, 60};
  (void)Take(ledger, {own, other}, 0);
  ASSERT_TRUE(ledger.Advance(Key(2), 4, 60, 0));
  EXPECT_TRUE(Advance(ledger, Key(1), 4, 0, {{own, 1}, {own, 3}, {other, 1}, {other, 3}, {other, kMax}}));
  EXPECT_FALSE(ledger.Advance(Key(1), 4, 60, 0));
  EXPECT_FALSE(ledger.Advance(Key(2), 4, 60, 0));
}

TEST(ProcessLedgerReleaseTest, SameBucketTwiceIsGivenBackTwice) {
  ProcessLedger ledger(100);
  const Claim claim{Key(2), 9, 60};
  for (int i = 0; i < 5; ++i) (void)Take(ledger, {claim}, 0);
  EXPECT_TRUE(Advance(ledger, Key(1), 1, 0, {{claim, 1}, {claim, 3}}));
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 1);
}

TEST(ProcessLedgerReleaseTest, NothingIsGivenBackByWhatIsRefused) {
  ProcessLedger ledger(10);
  const Claim claim{Key(2), 5, 60};
  (void)Take(ledger, {claim}, 0);
  (void)Take(ledger, {claim}, 0);
  EXPECT_THROW((void)ledger.Advance(Key(1), 1, 0, 0, std::vector<Release>{{claim, 1}}), std::invalid_argument);
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 2);
  EXPECT_EQ(Fill(ledger, 60, 0), 9U);
  EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)Advance(ledger, Key(1), 1, 0, {{claim, 1}}); }));
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 2);
}

TEST(ProcessLedgerReleaseTest, FullLedgerStillEndsWhatItBegan) {
  ProcessLedger ledger(10);
  const Claim challenge{Key(1), 3, 60};
  const Claim budget{Key(2), 5, 60};
  (void)Take(ledger, {challenge, budget}, 0);
  EXPECT_EQ(Fill(ledger, 60, 0), 8U);
  EXPECT_TRUE(Advance(ledger, Key(1), 4, 0, {{budget, budget.limit}}));
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 0);
}

TEST(ProcessLedgerReleaseTest, FullUntilTimeMovesOnGivesBackOnce) {
  ProcessLedger ledger(10);
  const Claim claim{Key(2), 5, 1000};
  for (int i = 0; i < 4; ++i) (void)Take(ledger, {claim}, 0);
  EXPECT_EQ(Fill(ledger, 60, 0), 9U);
  EXPECT_TRUE(Advance(ledger, Key(1), 1, 60, {{claim, 1}}));  // The first try finds no room, the second does.
  EXPECT_EQ(CountOf(ledger, Key(2), 60), 3);
}

// ---- Room ----

TEST(ProcessLedgerTest, CapacityHasBounds) {
  EXPECT_THROW(ProcessLedger(0), std::invalid_argument);
  EXPECT_THROW(ProcessLedger((std::size_t{1} << 30) + 1), std::invalid_argument);
  EXPECT_THROW(ProcessLedger(std::numeric_limits<std::size_t>::max()), std::invalid_argument);
  EXPECT_EQ(ProcessLedger(1).capacity(), 1U);
}

TEST(ProcessLedgerTest, MemoryGrowsWithUse) {
  ProcessLedger ledger(std::size_t{1} << 30);
  EXPECT_LT(ledger.memory(), 1U << 20);
  for (std::uint64_t n = 0; n < 1000; ++n) (void)Take(ledger, {{Key(n), 1, 60}}, 0);
  EXPECT_EQ(ledger.size(), 1000U);
  EXPECT_GT(ledger.memory(), 1000U);
  EXPECT_LT(ledger.memory(), 1U << 20);
}

TEST(ProcessLedgerTest, HoldsExactlyItsCapacity) {
  for (const std::size_t capacity : {1U, 2U, 15U, 16U, 17U, 255U, 257U, 1000U, 5000U}) {
    ProcessLedger ledger(capacity);
    EXPECT_EQ(Fill(ledger, 60, 0), capacity);
    EXPECT_EQ(ledger.size(), capacity);
  }
}

TEST(ProcessLedgerTest, FullRefusesNewEntriesAndKeepsTheOld) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 3, 60}}, 0);
  ASSERT_TRUE(ledger.Advance(Key(2), 5, 60, 0));
  EXPECT_EQ(Fill(ledger, 60, 0), 98U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)Take(ledger, {{Key(3), 3, 60}}, 0); }));
    EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)ledger.Advance(Key(4), 1, 60, 0); }));
  }
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 3, 60}}, 0), {2}));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 3, 60}}, 0), {3}));
  EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1), 3, 60}}, 0), 0, 60));
  GiveBack(ledger, Key(1), 0);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 3, 60}}, 0), {3}));
  EXPECT_FALSE(ledger.Advance(Key(2), 5, 60, 0));
  EXPECT_TRUE(ledger.Advance(Key(2), 6, 60, 0));
  for (std::uint64_t n = 0; n < 98; ++n)
    EXPECT_TRUE(IsDenied(Take(ledger, {{Key(1'000'000 + n), 1, 60}}, 0), 0, 60)) << n;
}

TEST(ProcessLedgerTest, FullTakesNothingAtAll) {
  ProcessLedger ledger(10);
  (void)Take(ledger, {{Key(1), 5, 60}}, 0);
  EXPECT_EQ(Fill(ledger, 60, 0), 9U);
  EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)Take(ledger, {{Key(1), 5, 60}, {Key(2), 5, 60}}, 0); }));
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 5, 60}}, 0), {2}));
}

TEST(ProcessLedgerTest, RoomForOneIsNoRoomForTwo) {
  ProcessLedger ledger(10);
  for (std::uint64_t n = 1; n <= 9; ++n) (void)Take(ledger, {{Key(n), 5, 60}}, 0);
  EXPECT_TRUE(
      ThrowsError(ErrorCode::kLedgerFull, [&] { (void)Take(ledger, {{Key(20), 5, 60}, {Key(21), 5, 60}}, 0); }));
  EXPECT_EQ(ledger.size(), 9U);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 5, 60}, {Key(20), 5, 60}}, 0), {2, 1}));
  EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)Take(ledger, {{Key(21), 5, 60}}, 0); }));
}

TEST(ProcessLedgerTest, FullUntilTimeMovesOn) {
  ProcessLedger ledger(500);
  EXPECT_EQ(Fill(ledger, 60, 100), 500U);
  EXPECT_EQ(Fill(ledger, 60, 159, 2'000'000), 0U);
  EXPECT_EQ(Fill(ledger, 60, 160, 3'000'000), 500U);
  EXPECT_EQ(Fill(ledger, 60, 220, 4'000'000), 500U);
  // Marks as well as buckets.
  for (std::uint64_t n = 0; n < 500; ++n) EXPECT_TRUE(ledger.Advance(Key(n, 2), 1, 60, 300));
  EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)ledger.Advance(Key(500, 2), 1, 60, 359); }));
  EXPECT_TRUE(ledger.Advance(Key(500, 2), 1, 60, 360));
}

TEST(ProcessLedgerTest, FullOfEntriesOfWhichOneExpiresTakesOne) {
  ProcessLedger ledger(1000);
  for (std::uint64_t n = 0; n < 1000; ++n) (void)Take(ledger, {{Key(n), 1, n == 617 ? 10 : 1000}}, 100);
  EXPECT_EQ(Fill(ledger, 1000, 109), 0U);
  EXPECT_EQ(Fill(ledger, 1000, 110), 1U);
  for (std::uint64_t n = 0; n < 1000; ++n) {
    if (n == 617) continue;
    EXPECT_TRUE(IsDenied(Take(ledger, {{Key(n), 1, 10}}, 110), 0, 990)) << n;
  }
}

TEST(ProcessLedgerTest, FullAfterTheClockWentBackwardsStillFrees) {
  ProcessLedger ledger(100);
  EXPECT_EQ(Fill(ledger, 60, 100), 100U);
  EXPECT_EQ(Fill(ledger, 60, 150, 2'000'000), 0U);
  EXPECT_EQ(Fill(ledger, 60, 50, 3'000'000), 0U);
  EXPECT_EQ(Fill(ledger, 60, 160, 4'000'000), 100U);
}

TEST(ProcessLedgerTest, FullFreesByTheClockItIsGivenThoughItSawALaterOne) {
  ProcessLedger ledger(100);
  for (std::uint64_t n = 0; n < 100; ++n) (void)Take(ledger, {{Key(n), 1, n < 90 ? 10'000 : 50}}, 100);
  EXPECT_EQ(Fill(ledger, 60, 149, 2'000'000), 0U);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(200), 1, 10'000}}, 150), {1}));
  // The clock is set back: what is made and ends by the new time must be freed by it.
  EXPECT_EQ(Fill(ledger, 5, 50, 3'000'000), 9U);
  EXPECT_EQ(Fill(ledger, 5, 54, 4'000'000), 0U);
  EXPECT_EQ(Fill(ledger, 5, 55, 5'000'000), 9U);
}

TEST(ProcessLedgerTest, EntryTakesAtMostSixtyFourBytes) {
  constexpr std::size_t kCapacity = std::size_t{1} << 18;  // The default of a project.
  ProcessLedger ledger(kCapacity);
  EXPECT_EQ(Fill(ledger, 60, 0), kCapacity);
  EXPECT_EQ(ledger.size(), kCapacity);
  EXPECT_LE(ledger.memory(), 64 * kCapacity);
}

TEST(ProcessLedgerTest, MemoryStaysBoundedWhileTimeMovesOn) {
  // Some 1000 entries live at any moment; the ledger has room for far more and must not use it.
  ProcessLedger ledger(std::size_t{1} << 20);
  std::size_t most = 0;
  for (std::uint64_t n = 0; n < 1'000'000; ++n) {
    const Claim claim{Key(n), 1, 10};
    ASSERT_TRUE(std::holds_alternative<Taken>(ledger.Take({&claim, 1}, {}, static_cast<UnixTime>(n / 100))));
    if (n % 1000 == 0) most = std::max(most, ledger.memory());
  }
  EXPECT_LE(most, 1U << 20);
}

TEST(ProcessLedgerTest, NeverFullWhileWhatLivesFits) {
  ProcessLedger ledger(1200);
  for (std::uint64_t n = 0; n < 200'000; ++n) {
    const Claim claim{Key(n), 1, 10};
    ASSERT_NO_THROW((void)ledger.Take({&claim, 1}, {}, static_cast<UnixTime>(n / 100))) << n;
    ASSERT_LE(ledger.size(), 1200U);
  }
}

TEST(ProcessLedgerTest, ShortLivesStayExactWhileTheTableGrows) {
  // Buckets that end and begin again every second, among a growing number of others that stay. All in one corner of the
  // table, where a bucket that has ended could still lie in the way of the one that took its place.
  constexpr std::uint64_t kShort = 20;
  const auto same_corner = [](std::uint64_t n) {
    LedgerKey key = Key(n);
    key.id[0] = 0;
    return key;
  };
  ProcessLedger ledger(100'000);
  std::vector<UnixTime> taken_at(kShort, -1);
  for (std::uint64_t n = 0; n < 3000; ++n) {
    const auto now = static_cast<UnixTime>(n / 8);
    ASSERT_TRUE(IsTaken(Take(ledger, {{same_corner(kShort + n), 1, kMany}}, now), {1}));
    for (std::uint64_t i = 0; i < kShort; ++i) {
      const Result result = Take(ledger, {{same_corner(i), 1, 1}}, now);
      ASSERT_EQ(std::holds_alternative<Taken>(result), taken_at[i] != now) << "step " << n << ", bucket " << i;
      taken_at[i] = now;
    }
  }
  for (std::uint64_t n = 0; n < 3000; ++n)
    ASSERT_EQ(Take(ledger, {{same_corner(kShort + n), 1, 1}}, 400).index(), 1U) << n;
}

// ---- Against a model ----

// Model is the ledger as its header describes it, as plainly as can be.
class Model {
 public:
  explicit Model(std::size_t capacity) : capacity_(capacity) {}

  // The entry of `key`, null if there is none that lives.
  std::pair<std::int64_t, UnixTime>* Find(std::uint64_t key, UnixTime now) {
    const auto found = entries_.find(key);
    return found != entries_.end() && now < found->second.second ? &found->second : nullptr;
  }
  bool Fits(std::size_t wanted, UnixTime now) {
    std::erase_if(entries_, [&](const auto& entry) { return now >= entry.second.second; });
    return entries_.size() + wanted <= capacity_;
  }
  void Put(std::uint64_t key, std::int64_t value, UnixTime expiry) { entries_[key] = {value, expiry}; }
  void GiveBack(std::uint64_t key, const Release& release, UnixTime now) {
    auto* const bucket = Find(key, now);
    if (bucket == nullptr || bucket->first < 1 || bucket->first > release.claim.limit) return;
    bucket->first = std::max<std::int64_t>(0, bucket->first - release.units);
  }

 private:
  std::size_t capacity_;
  std::map<std::uint64_t, std::pair<std::int64_t, UnixTime>> entries_;
};

class ProcessLedgerModelTest : public ::testing::TestWithParam<std::size_t> {};

TEST_P(ProcessLedgerModelTest, AgreesOnRandomOperations) {
  constexpr std::uint64_t kKeys = 120;
  ProcessLedger ledger(GetParam());
  Model model(GetParam());
  std::mt19937_64 random(GetParam());
  const auto below = [&](std::uint64_t n) { return random() % n; };
  UnixTime now = 0;
  int full = 0;
  int denied = 0;
  for (int step = 0; step < 40'000; ++step) {
    if (below(10) == 0) now += static_cast<UnixTime>(below(4));
    const auto ttl = static_cast<std::int64_t>(1 + below(30));
    const std::uint64_t operation = below(10);
    if (operation < 6) {
      std::vector<std::uint64_t> keys(kKeys);
      std::iota(keys.begin(), keys.end(), 0U);
      const std::size_t claim_count = below(4);
      const std::size_t barrier_count = below(3);
      for (std::size_t i = 0; i < claim_count + barrier_count; ++i) std::swap(keys[i], keys[i + below(kKeys - i)]);
      std::vector<Claim> claims;
      std::vector<Barrier> barriers;
      std::optional<std::pair<std::size_t, std::int64_t>> expected_denial;
      std::vector<std::int64_t> expected_counts;
      std::size_t wanted = 0;
      for (std::size_t i = 0; i < barrier_count; ++i) {
        const std::uint64_t key = keys[claim_count + i];
        barriers.push_back({Key(key), static_cast<std::int64_t>(below(6)) - 1});
        const auto* const mark = model.Find(key, now);
        if (!expected_denial && mark != nullptr && mark->first > barriers.back().above)
          expected_denial = {i, mark->second - now};
      }
      for (std::size_t i = 0; i < claim_count; ++i) {
        claims.push_back({Key(keys[i]), static_cast<std::int64_t>(below(6)), ttl});
        const auto* const bucket = model.Find(keys[i], now);
        const std::int64_t count = bucket != nullptr ? bucket->first : 0;
        wanted += bucket == nullptr;
        expected_counts.push_back(count + 1);
        if (!expected_denial && count >= claims.back().limit)
          expected_denial = {barrier_count + i, bucket != nullptr ? bucket->second - now : 0};
      }
      const bool expected_full = !expected_denial && !model.Fits(wanted, now);
      try {
        const Result result = ledger.Take(claims, barriers, now);
        ASSERT_FALSE(expected_full) << step;
        if (expected_denial) {
          ASSERT_TRUE(IsDenied(result, expected_denial->first, expected_denial->second)) << step;
          ++denied;
        } else {
          ASSERT_TRUE(IsTaken(result, expected_counts)) << step;
          for (std::size_t i = 0; i < claim_count; ++i) {
            const auto* const bucket = model.Find(keys[i], now);
            model.Put(keys[i], expected_counts[i], bucket != nullptr ? bucket->second : now + ttl);
          }
        }
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ErrorCode::kLedgerFull);
        ASSERT_TRUE(expected_full) << step;
        ++full;
      }
    } else if (operation < 8) {
      const std::uint64_t key = below(kKeys);
      const auto value = static_cast<std::int64_t>(below(8));
      const auto* const mark = model.Find(key, now);
      const bool expected_full = mark == nullptr && !model.Fits(1, now);
      // Any keys: a bucket twice, the mark itself, one that is not there.
      std::vector<std::uint64_t> released;
      std::vector<Release> releases;
      for (std::uint64_t left = below(4); left > 0; --left) {
        released.push_back(below(4) == 0 ? key : below(kKeys));
        releases.push_back(
            {{Key(released.back()), static_cast<std::int64_t>(below(6)), ttl}, static_cast<std::int64_t>(below(4))});
      }
      try {
        const bool advanced = ledger.Advance(Key(key), value, ttl, now, releases);
        ASSERT_FALSE(expected_full) << step;
        ASSERT_EQ(advanced, mark == nullptr || value > mark->first) << step;
        if (advanced) {
          // A mark never ends earlier than it was going to.
          model.Put(key, value, std::max(mark != nullptr ? mark->second : 0, now + ttl));
          for (std::size_t i = 0; i < releases.size(); ++i) model.GiveBack(released[i], releases[i], now);
        }
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ErrorCode::kLedgerFull);
        ASSERT_TRUE(expected_full) << step;
        ++full;
      }
    } else {
      const std::uint64_t key = below(kKeys);
      const Release release = {{Key(key), static_cast<std::int64_t>(below(6)), ttl},
                               static_cast<std::int64_t>(below(4))};
      ledger.GiveBack(release, now);
      model.GiveBack(key, release, now);
    }
    ASSERT_LE(ledger.size(), ledger.capacity());
  }
  EXPECT_GT(denied, 100);
  if (GetParam() < kKeys / 2) {
    EXPECT_GT(full, 100);
  }
}

INSTANTIATE_TEST_SUITE_P(Capacities, ProcessLedgerModelTest, ::testing::Values(1, 7, 40, 1000));

// ---- Threads ----

TEST(ProcessLedgerThreadsTest, SixteenThreadsTakeExactlyTheLimit) {
  const Alarm alarm;
  for (int round = 0; round < 20; ++round) {
    constexpr std::int64_t kLimit = 500;
    ProcessLedger ledger(100);
    std::vector<std::vector<std::int64_t>> counts(16);
    RunTogether(16, [&](std::size_t i) {
      for (int n = 0; n < 100; ++n) {
        const Result result = Take(ledger, {{Key(1), kLimit, 60}}, 0);
        if (const Taken* const taken = std::get_if<Taken>(&result)) counts[i].push_back(taken->counts[0]);
      }
    });
    std::vector<std::int64_t> all;
    for (const auto& mine : counts) all.insert(all.end(), mine.begin(), mine.end());
    std::sort(all.begin(), all.end());
    std::vector<std::int64_t> expected(kLimit);
    std::iota(expected.begin(), expected.end(), 1);
    ASSERT_EQ(all, expected) << "each count from 1 to the limit belongs to exactly one take";
  }
}

TEST(ProcessLedgerThreadsTest, OneThreadOfSixteenAdvances) {
  const Alarm alarm;
  ProcessLedger ledger(10'000);
  std::atomic<int> advanced{0};
  constexpr int kMarks = 200;
  RunTogether(16, [&](std::size_t) {
    for (std::uint64_t n = 0; n < kMarks; ++n) advanced += ledger.Advance(Key(n), 1, 60, 0);
  });
  EXPECT_EQ(advanced, kMarks);
}

TEST(ProcessLedgerThreadsTest, NoStepOfAMarkIsMadeTwice) {
  const Alarm alarm;
  constexpr std::int64_t kSteps = 20'000;
  ProcessLedger ledger(100);
  std::vector<std::vector<std::int64_t>> made(16);
  RunTogether(16, [&](std::size_t i) {
    for (std::int64_t value = 1; value <= kSteps; ++value) {
      if (ledger.Advance(Key(1), value, 60, 0)) made[i].push_back(value);
    }
  });
  std::vector<std::int64_t> all;
  for (const auto& mine : made) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_FALSE(ledger.Advance(Key(1), kSteps, 60, 0));
}

TEST(ProcessLedgerThreadsTest, OverlappingTakesNeitherDeadlockNorLoseAUnit) {
  const Alarm alarm;
  constexpr std::uint64_t kKeys = 10;
  constexpr int kTakes = 1500;
  ProcessLedger ledger(100);
  RunTogether(16, [&](std::size_t i) {
    std::mt19937_64 random(i);
    for (int n = 0; n < kTakes; ++n) {
      // The keys in another order for each thread and each take, with barriers among them.
      std::vector<std::uint64_t> keys(kKeys);
      std::iota(keys.begin(), keys.end(), 0U);
      std::shuffle(keys.begin(), keys.end(), random);
      const Result result = Take(
          ledger,
          {{Key(keys[0]), kMany, 60}, {Key(keys[1]), kMany, 60}, {Key(keys[2]), kMany, 60}, {Key(keys[3]), kMany, 60}},
          0, {{Key(keys[4]), kMany}, {Key(keys[5]), kMany}});
      if (!std::holds_alternative<Taken>(result)) ADD_FAILURE() << "nothing stood in the way";
    }
  });
  std::int64_t total = 0;
  for (std::uint64_t n = 0; n < kKeys; ++n) total += CountOf(ledger, Key(n), 0);
  EXPECT_EQ(total, 16 * kTakes * 4);
}

TEST(ProcessLedgerThreadsTest, AllOrNoneHoldsAmongThreads) {
  const Alarm alarm;
  ProcessLedger ledger(100);
  std::atomic<int> taken{0};
  RunTogether(16, [&](std::size_t i) {
    for (int n = 0; n < 200; ++n) {
      const Claim narrow{Key(1), 300, 60};
      const Claim wide{Key(2), kMany, 60};
      taken +=
          std::holds_alternative<Taken>(i % 2 == 0 ? Take(ledger, {narrow, wide}, 0) : Take(ledger, {wide, narrow}, 0));
    }
  });
  EXPECT_EQ(taken, 300);
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 300);
  EXPECT_EQ(CountOf(ledger, Key(2), 0), 300);
}

TEST(ProcessLedgerThreadsTest, NeverHoldsMoreThanItsCapacity) {
  const Alarm alarm;
  ProcessLedger ledger(300);
  std::atomic<int> taken{0};
  RunTogether(16, [&](std::size_t i) {
    for (std::uint64_t n = 0; n < 100; ++n) {
      try {
        taken += std::holds_alternative<Taken>(Take(ledger, {{Key(1000 * i + n), 1, 60}}, 0));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kLedgerFull);
      }
    }
  });
  EXPECT_EQ(taken, 300);
  EXPECT_EQ(ledger.size(), 300U);
}

TEST(ProcessLedgerThreadsTest, TakesAndGivesBackInBalance) {
  const Alarm alarm;
  ProcessLedger ledger(100);
  RunTogether(16, [&](std::size_t i) {
    for (int n = 0; n < 3000; ++n) {
      (void)Take(ledger, {{Key(1), kMany, 60}, {Key(i + 2), kMany, 60}}, 0);
      GiveBack(ledger, Key(1), 0);
    }
  });
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 0);
  for (std::uint64_t i = 0; i < 16; ++i) EXPECT_EQ(CountOf(ledger, Key(i + 2), 0), 3000);
}

TEST(ProcessLedgerThreadsTest, MarkAndReleaseAreOneStep) {
  // A bucket of one unit that is given back with the mark. Before the step it is full, after it the mark stands: nobody
  // may find it empty without the mark, nor full once the mark was seen.
  const Alarm alarm;
  constexpr std::uint64_t kRounds = 1000;
  ProcessLedger ledger(100'000);
  for (std::uint64_t n = 0; n < kRounds; ++n) (void)Take(ledger, {{Key(n), 1, 60}}, 0);
  std::atomic<int> early{0};
  std::atomic<int> late{0};
  RunTogether(4, [&](std::size_t i) {
    for (std::uint64_t n = 0; n < kRounds; ++n) {
      const LedgerKey mark = Key(kRounds + n, 2);
      const Claim bucket{Key(n), 1, 60};
      if (i == 0) {
        if (!Advance(ledger, mark, 1, 0, {{bucket, 1}})) ADD_FAILURE() << "nobody else advances";
        continue;
      }
      bool marked = false;
      while (!marked) {
        const Result result = Take(ledger, {bucket}, 0, {{mark, 0}});
        early += std::holds_alternative<Taken>(result);
        marked = !std::holds_alternative<Taken>(result) && std::get<Denied>(result).index == 0;
      }
      // The bucket as a barrier: looking takes nothing from it.
      late += std::holds_alternative<Denied>(Take(ledger, {}, 0, {{bucket.bucket, 0}}));
    }
  });
  EXPECT_EQ(early, 0) << "given back before the mark";
  EXPECT_EQ(late, 0) << "marked, and not given back yet";
}

TEST(ProcessLedgerThreadsTest, EveryReleaseUndoesItsOwnTakeOnly) {
  // What every verification does: take an attempt and two budgets, then mark and give back. Among them some that fail,
  // and keep what they took.
  const Alarm alarm;
  constexpr std::uint64_t kEach = 300;
  constexpr std::int64_t kUsed = std::int64_t{1} << 40;
  ProcessLedger ledger(100'000);
  std::atomic<std::int64_t> kept{0};
  std::atomic<std::int64_t> given_back{0};
  RunTogether(16, [&](std::size_t i) {
    for (std::uint64_t n = 0; n < kEach; ++n) {
      const Claim challenge{Key(10 + n), 16, 60};  // One for each n, and all threads try their luck with it.
      const Claim one{Key(1), kMany, 60};
      const Claim two{Key(2), kMany, 60};
      const Result result = i % 2 == 0 ? Take(ledger, {challenge, one, two}, 0, {{challenge.bucket, kUsed - 1}})
                                       : Take(ledger, {two, challenge, one}, 0, {{challenge.bucket, kUsed - 1}});
      if (!std::holds_alternative<Taken>(result)) continue;
      const bool moved = i % 2 == 0 ? Advance(ledger, challenge.bucket, kUsed, 0, {{one, 1}, {two, 1}})
                                    : Advance(ledger, challenge.bucket, kUsed, 0, {{two, 1}, {one, 1}});
      moved ? ++given_back : ++kept;
    }
  });
  EXPECT_EQ(given_back, kEach) << "each mark is set once";
  EXPECT_EQ(CountOf(ledger, Key(1), 0), kept);
  EXPECT_EQ(CountOf(ledger, Key(2), 0), kept);
}

TEST(ProcessLedgerThreadsTest, TakesAndReleasesInBalance) {
  // The marks lie in other corners of the table than the bucket: whoever releases must hold both.
  const Alarm alarm;
  ProcessLedger ledger(100);
  const Claim budget{Key(1), kMany, 60};
  RunTogether(16, [&](std::size_t i) {
    for (std::int64_t n = 1; n <= 10'000; ++n) {
      (void)Take(ledger, {budget}, 0);
      (void)Advance(ledger, Key(i + 2), n, 0, {{budget, 1}});
    }
  });
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 0);
}

TEST(ProcessLedgerThreadsTest, EmptyingWhileOthersTakeStaysWithinTheLimit) {
  const Alarm alarm;
  constexpr std::int64_t kLimit = 5;
  constexpr std::int64_t kEmptied = 400;
  ProcessLedger ledger(10'000);
  const Claim budget{Key(1), kLimit, 60};
  std::atomic<std::int64_t> taken{0};
  RunTogether(16, [&](std::size_t i) {
    for (std::int64_t n = 0; n < kEmptied; ++n) {
      if (i == 0) {
        if (!Advance(ledger, Key(2), n + 1, 0, {{budget, kLimit}})) ADD_FAILURE() << "nobody else advances";
        continue;
      }
      const Result result = Take(ledger, {budget}, 0);
      const Taken* const took = std::get_if<Taken>(&result);
      if (took == nullptr) continue;
      ++taken;
      if (took->counts[0] < 1 || took->counts[0] > kLimit) ADD_FAILURE() << took->counts[0];
    }
  });
  EXPECT_LE(taken, kLimit * (kEmptied + 1));
  const std::int64_t left = CountOf(ledger, Key(1), 0);
  EXPECT_GE(left, 0);
  EXPECT_LE(left, kLimit);
}

TEST(ProcessLedgerThreadsTest, AdvancesThatReleaseEachOthersShardsDoNotDeadlock) {
  const Alarm alarm;
  ProcessLedger ledger(10'000);
  RunTogether(16, [&](std::size_t i) {
    std::mt19937_64 random(i);
    for (std::int64_t n = 1; n <= 1500; ++n) {
      const auto key = [&] { return Key(random() % 40); };
      (void)Take(ledger, {{key(), kMany, 60}}, 0);
      (void)Advance(ledger, key(), n, 0, {{{key(), kMany, 60}, 1}, {{key(), kMany, 60}, 2}, {{key(), 3, 60}, 3}});
      ledger.GiveBack({{key(), kMany, 60}, 2}, 0);
    }
  });
  SUCCEED();
}

// ---- Fork ----

TEST(ProcessLedgerForkTest, ChildGoesOnWithACopy) {
  ProcessLedger ledger(100);
  (void)Take(ledger, {{Key(1), 3, 60}}, 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    const bool sees_it =
        IsTaken(Take(ledger, {{Key(1), 3, 60}}, 0), {2}) && IsTaken(Take(ledger, {{Key(1), 3, 60}}, 0), {3});
    _exit(sees_it ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(IsTaken(Take(ledger, {{Key(1), 3, 60}}, 0), {2})) << "what a child takes is its own";
}

TEST(ProcessLedgerForkTest, WhatAChildGivesBackIsItsOwn) {
  ProcessLedger ledger(100);
  const Claim claim{Key(1), 3, 60};
  (void)Take(ledger, {claim}, 0);
  (void)Take(ledger, {claim}, 0);
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    const bool good = Advance(ledger, Key(2), 1, 0, {{claim, claim.limit}}) && CountOf(ledger, Key(1), 0) == 0;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(CountOf(ledger, Key(1), 0), 2);
  EXPECT_TRUE(Advance(ledger, Key(2), 1, 0, {})) << "nor was the mark set here";
}

// Touches every lock of `ledger`, and a new ledger's too. Says whether all was as it should be.
bool UseAll(ProcessLedger& ledger, std::uint64_t first) {
  bool good = true;
  for (std::uint64_t n = 0; n < 64; ++n) {
    good = good && std::holds_alternative<Taken>(Take(ledger, {{Key(first + n), 1, 60}}, 0));
    good = good && Advance(ledger, Key(first + n, 2), 1, 0, {{{Key(first + n), 1, 60}, 1}});
    GiveBack(ledger, Key(first + n), 0);
  }
  ProcessLedger other(10);
  good = good && std::holds_alternative<Taken>(Take(other, {{Key(1), 1, 60}}, 0));
  return good && ledger.memory() > 0 && ledger.size() >= 128;
}

TEST(ProcessLedgerForkTest, ChildCanUseALedgerThatOtherThreadsKeepBusy) {
  // GCC's AddressSanitizer does not guard its own allocator across fork: such a child hangs in malloc, ledger or not.
  if (OTP_TEST_HAS_ASAN) GTEST_SKIP() << "a child of busy threads cannot allocate under AddressSanitizer";
  const Alarm alarm_here;
  ProcessLedger ledger(std::size_t{1} << 20);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t n = 0; !stop.load(); ++n) {
        (void)Take(
            ledger,
            {{Key(n % 50), kMany, 60}, {Key((n + i) % 50 + 50), kMany, 60}, {Key((7 * n) % 50 + 100), kMany, 60}}, 0);
        (void)Advance(ledger, Key(n % 50, 3), static_cast<std::int64_t>(n), 0,
                      {{{Key((3 * n) % 50), kMany, 60}, 1}, {{Key((n + i) % 50 + 50), kMany, 60}, kMany}});
        if (n % 16 == 0) {
          (void)ledger.memory();
          const ProcessLedger other(10);  // Comes and goes while others fork.
        }
      }
    });
  }
  int failed = 0;
  for (int round = 0; round < 200; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);  // A lock that nobody will ever release ends here.
      _exit(UseAll(ledger, 1'000'000) ? 0 : 1);
    }
    int status = 0;
    failed += waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (failed > 0) break;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_TRUE(UseAll(ledger, 2'000'000)) << "the parent goes on too";
}

}  // namespace
}  // namespace otp_actions
