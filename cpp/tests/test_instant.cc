#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "otp_actions/instant.h"
#include "threads.h"

namespace otp_actions {
namespace {

using testing::Alarm;
using testing::RunTogether;

constexpr Instant kTwoTo53 = Instant{1} << 53;
constexpr UnixTime kLastSecond = (UnixTime{1} << 33) - 1;

// FreshSecond returns a second that no other test of this process has asked about.
UnixTime FreshSecond() {
  static UnixTime second = 1'700'000'000;
  return second += 1000;
}

// ---- InstantOf ----

TEST(InstantOfTest, IsASecondAndAPlaceWithinIt) {
  EXPECT_EQ(InstantOf(0, 0), 0);
  EXPECT_EQ(InstantOf(0, 1), 1);
  EXPECT_EQ(InstantOf(1, 0), 1'048'576);
  EXPECT_EQ(InstantOf(1'700'000'000, 999'999), 1'700'000'000 * Instant{1'048'576} + 999'999);
}

TEST(InstantOfTest, SecondsOutrankPlaces) {
  EXPECT_LT(InstantOf(99, kMaxPlace), InstantOf(100, 0));
  EXPECT_LT(InstantOf(100, 0), InstantOf(100, 1));
  EXPECT_LT(InstantOf(100, kMaxPlace - 1), InstantOf(100, kMaxPlace));
}

TEST(InstantOfTest, EveryMicrosecondHasAPlace) { EXPECT_GT(kMaxPlace, 999'999); }

TEST(InstantOfTest, PlaceStaysWithinItsSecond) {
  for (const std::int64_t place : {kMaxPlace + 1, std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(InstantOf(100, place), InstantOf(100, kMaxPlace)) << place;
  }
  for (const std::int64_t place : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    EXPECT_EQ(InstantOf(100, place), InstantOf(100, 0)) << place;
  }
}

TEST(InstantOfTest, IsFromZeroToBelowTwoTo53WhateverTheClockSays) {
  EXPECT_EQ(InstantOf(kLastSecond, kMaxPlace), kTwoTo53 - 1);
  for (const UnixTime second : {kLastSecond + 1, UnixTime{1} << 53, std::numeric_limits<UnixTime>::max()}) {
    EXPECT_EQ(InstantOf(second, 7), InstantOf(kLastSecond, 7)) << second;
  }
  for (const UnixTime second : {UnixTime{-1}, std::numeric_limits<UnixTime>::min()}) {
    EXPECT_EQ(InstantOf(second, 7), 7) << second;
  }
}

// ---- NextInstant ----

TEST(NextInstantTest, MicrosecondDecides) {
  const UnixTime second = FreshSecond();
  for (const std::int64_t micros : {0, 1, 2, 500, 123'456, 999'999}) {
    EXPECT_EQ(NextInstant(second, micros), InstantOf(second, micros));
  }
}

TEST(NextInstantTest, MovesOnByOneWhileTheClockStandsStill) {
  for (const std::int64_t micros : {0, 5, 999'000}) {
    const UnixTime second = FreshSecond();
    for (std::int64_t i = 0; i < 500; ++i) ASSERT_EQ(NextInstant(second, micros), InstantOf(second, micros + i));
  }
}

TEST(NextInstantTest, WhicheverIsLater) {
  const UnixTime second = FreshSecond();
  EXPECT_EQ(NextInstant(second, 100), InstantOf(second, 100));
  EXPECT_EQ(NextInstant(second, 100), InstantOf(second, 101));
  EXPECT_EQ(NextInstant(second, 101), InstantOf(second, 102)) << "given before, though not to this microsecond";
  EXPECT_EQ(NextInstant(second, 103), InstantOf(second, 103));
  EXPECT_EQ(NextInstant(second, 200), InstantOf(second, 200));
}

TEST(NextInstantTest, ClockGoingBackwardsWithinASecondStillMovesOn) {
  const UnixTime second = FreshSecond();
  EXPECT_EQ(NextInstant(second, 900), InstantOf(second, 900));
  EXPECT_EQ(NextInstant(second, 10), InstantOf(second, 901));
  EXPECT_EQ(NextInstant(second, 0), InstantOf(second, 902));
}

TEST(NextInstantTest, EverySecondBeginsAtItsOwnMicrosecond) {
  const UnixTime second = FreshSecond();
  EXPECT_EQ(NextInstant(second, 900'000), InstantOf(second, 900'000));
  EXPECT_EQ(NextInstant(second + 1, 3), InstantOf(second + 1, 3));
  // Nor does a clock that goes back by seconds stay ahead: times in tests do, and a clock that was wrong once must not
  // be believed for ever.
  EXPECT_EQ(NextInstant(second - 1, 5), InstantOf(second - 1, 5));
  EXPECT_EQ(NextInstant(second - 1, 5), InstantOf(second - 1, 6));
}

TEST(NextInstantTest, LastPlaceOfASecondIsGivenToAllThatComeLater) {
  const UnixTime second = FreshSecond();
  for (std::int64_t place = 999'999; place <= kMaxPlace; ++place) {
    ASSERT_EQ(NextInstant(second, 999'999), InstantOf(second, place));
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(NextInstant(second, i), InstantOf(second, kMaxPlace));
  EXPECT_EQ(NextInstant(second + 1, 0), InstantOf(second + 1, 0)) << "the next second is not used up with it";
}

TEST(NextInstantTest, IsFromZeroToBelowTwoTo53WhateverTheClockSays) {
  for (const UnixTime second : {UnixTime{0}, UnixTime{-1}, std::numeric_limits<UnixTime>::min(), kLastSecond,
                                UnixTime{1} << 53, std::numeric_limits<UnixTime>::max()}) {
    for (const std::int64_t micros : {0, 999'999, 999'999, 0}) {
      const Instant instant = NextInstant(second, micros);
      EXPECT_GE(instant, 0) << second;
      EXPECT_LT(instant, kTwoTo53) << second;
    }
  }
}

TEST(NextInstantTest, SixteenThreadsShareASecondWithoutGapsOrTwins) {
  const Alarm alarm;
  constexpr std::size_t kThreads = 16;
  constexpr std::size_t kEach = 40'000;  // Long enough for threads to meet, and few enough for one second.
  const UnixTime second = FreshSecond();
  std::vector<std::vector<Instant>> given(kThreads);
  RunTogether(kThreads, [&](std::size_t i) {
    for (std::size_t n = 0; n < kEach; ++n) given[i].push_back(NextInstant(second, 0));
  });
  std::vector<Instant> all;
  for (const std::vector<Instant>& mine : given) {
    EXPECT_TRUE(std::ranges::is_sorted(mine)) << "what one thread does in turn stays in turn";
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::ranges::sort(all);
  for (std::size_t n = 0; n < all.size(); ++n) {
    ASSERT_EQ(all[n], InstantOf(second, static_cast<std::int64_t>(n)));
  }
}

TEST(NextInstantTest, SixteenThreadsWithClocksThatDifferAreNeverGivenTheSame) {
  const Alarm alarm;
  constexpr std::size_t kThreads = 16;
  constexpr std::int64_t kEach = 40'000;
  const UnixTime second = FreshSecond();
  std::vector<std::vector<Instant>> given(kThreads);
  RunTogether(kThreads, [&](std::size_t i) {
    for (std::int64_t n = 0; n < kEach; ++n) {
      const std::int64_t micros = 7 * n + static_cast<std::int64_t>(i % 3);
      given[i].push_back(NextInstant(second, micros));
      if (given[i].back() < InstantOf(second, micros)) ADD_FAILURE() << "before its own microsecond";
    }
  });
  std::vector<Instant> all;
  for (const std::vector<Instant>& mine : given) all.insert(all.end(), mine.begin(), mine.end());
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

TEST(NoteInstantTest, NextInstantInTheSameSecondIsLater) {
  const Instant first = NextInstant(5'000'000, 7);
  NoteInstant(first + 1000);
  EXPECT_EQ(NextInstant(5'000'000, 8), first + 1001);
  NoteInstant(first);  // Older than what was given since: nothing is taken back.
  EXPECT_EQ(NextInstant(5'000'000, 8), first + 1002);
  NoteInstant(InstantOf(5'000'003, 0));  // Of another second: this host's clock goes on as it does.
  EXPECT_EQ(NextInstant(5'000'000, 8), first + 1003);
}

}  // namespace
}  // namespace otp_actions
