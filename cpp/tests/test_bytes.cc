#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "freed_memory.h"
#include "otp_actions/bytes.h"

namespace otp_actions {
namespace {

using testing::AllZero;
using testing::StartWatching;
using testing::watch;

constexpr std::string_view kSecret = "a secret that is longer than any small buffer a string might have";

TEST(BytesTest, ViewsShareMemoryAndConvertBack) {
  const std::string_view text("a\0\xff", 3);
  const ByteView bytes = AsBytes(text);
  ASSERT_EQ(bytes.size(), 3U);
  EXPECT_EQ(bytes[2], 0xff);
  EXPECT_EQ(static_cast<const void*>(bytes.data()), static_cast<const void*>(text.data()));
  EXPECT_EQ(AsText(bytes), text);
}

TEST(SecondsUntilTest, IsTheDifferenceOrTheNearestNumberToIt) {
  static_assert(SecondsUntil(150, 100) == 50);
  static_assert(SecondsUntil(100, 150) == -50);
  static_assert(SecondsUntil(INT64_MAX, 0) == INT64_MAX);
  static_assert(SecondsUntil(INT64_MAX, -1) == INT64_MAX);
  static_assert(SecondsUntil(INT64_MAX, INT64_MIN) == INT64_MAX);
  static_assert(SecondsUntil(0, INT64_MIN) == INT64_MAX);
  static_assert(SecondsUntil(INT64_MIN, 0) == INT64_MIN);
  static_assert(SecondsUntil(INT64_MIN, 1) == INT64_MIN);
  static_assert(SecondsUntil(INT64_MIN, INT64_MIN) == 0);
}

TEST(WipeTest, OverwritesEveryByteAndNoOther) {
  std::array<std::uint8_t, 66> memory;
  memory.fill(0xaa);
  Wipe(std::span(memory).subspan(1, 64));
  EXPECT_EQ(memory.front(), 0xaa);
  EXPECT_TRUE(AllZero(memory.data() + 1, 64));
  EXPECT_EQ(memory.back(), 0xaa);
}

TEST(WipeTest, AcceptsNothing) { Wipe({}); }

TEST(SecretBytesTest, MovesAndNeverCopies) {
  static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);
  static_assert(std::is_nothrow_move_constructible_v<SecretBytes> && std::is_nothrow_move_assignable_v<SecretBytes>);
  SecretBytes a(AsBytes(kSecret));
  const std::uint8_t* const memory = a.data();
  const SecretBytes b(std::move(a));
  EXPECT_EQ(b.data(), memory);
  EXPECT_EQ(b.text(), kSecret);
}

TEST(SecretBytesTest, HoldsWhatItWasGiven) {
  EXPECT_TRUE(SecretBytes().empty());
  EXPECT_TRUE(SecretBytes(ByteView()).empty());
  EXPECT_TRUE(SecretBytes(std::size_t{0}).empty());
  const SecretBytes zeros(5);
  ASSERT_EQ(zeros.size(), 5U);
  EXPECT_TRUE(AllZero(zeros.data(), zeros.size()));
  SecretBytes bytes;
  bytes.Reserve(3);
  bytes.Append("ab");
  bytes.Append('\0');
  bytes.Append("");
  bytes.Append("c");
  EXPECT_EQ(bytes.text(), std::string_view("ab\0c", 4));
  EXPECT_EQ(bytes.view().size(), 4U);
}

TEST(SecretBytesTest, AppendKeepsWhatWasThereThroughEveryGrowth) {
  std::string expected;
  SecretBytes bytes;
  for (int i = 0; i < 300; ++i) {
    const std::string text = std::to_string(i);
    bytes.Append(text);
    bytes.Append(',');
    expected += text + ',';
    ASSERT_EQ(bytes.text(), expected);
  }
}

TEST(SecretBytesTest, ReservedRoomIsEnough) {
  SecretBytes bytes(AsBytes("abc"));
  bytes.Reserve(100);
  const std::uint8_t* const memory = bytes.data();
  EXPECT_EQ(bytes.text(), "abc");
  bytes.Append(std::string(97, 'x'));
  EXPECT_EQ(bytes.data(), memory);
  bytes.Reserve(10);
  EXPECT_EQ(bytes.size(), 100U) << "asking for less changes nothing";
}

TEST(SecretBytesTest, CanBeUsedAgainAfterAMove) {
  SecretBytes a(AsBytes(kSecret));
  SecretBytes b(std::move(a));
  a = SecretBytes(AsBytes("again"));
  EXPECT_EQ(a.text(), "again");
  std::swap(a, b);
  EXPECT_EQ(a.text(), kSecret);
  EXPECT_EQ(b.text(), "again");
}

TEST(SecretBytesTest, DestructionWipes) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  {
    const SecretBytes bytes(AsBytes(kSecret));
    StartWatching(bytes);
  }
  EXPECT_TRUE(watch.freed);
  EXPECT_TRUE(watch.was_wiped);
}

TEST(SecretBytesTest, GrowthWipesTheOldMemory) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  SecretBytes bytes(AsBytes(kSecret));
  StartWatching(bytes);
  while (!watch.freed && bytes.size() < 10'000) bytes.Append(kSecret);
  EXPECT_TRUE(watch.freed);
  EXPECT_TRUE(watch.was_wiped);
}

TEST(SecretBytesTest, ReservingMoreWipesTheOldMemory) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  SecretBytes bytes(AsBytes(kSecret));
  StartWatching(bytes);
  bytes.Reserve(10'000);
  EXPECT_TRUE(watch.freed);
  EXPECT_TRUE(watch.was_wiped);
  EXPECT_EQ(bytes.text(), kSecret);
}

TEST(SecretBytesTest, MoveAssignmentWipesWhatItReplaces) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  SecretBytes bytes(AsBytes(kSecret));
  StartWatching(bytes);
  bytes = SecretBytes(3);
  EXPECT_TRUE(watch.freed);
  EXPECT_TRUE(watch.was_wiped);
}

TEST(SecretBytesTest, MovedFromObjectHoldsNothing) {
  SecretBytes a(AsBytes(kSecret));
  SecretBytes b(std::move(a));
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is what is asked.
  EXPECT_EQ(a.data(), nullptr);
  b.Reserve(1000);
  EXPECT_TRUE(a.empty());
}

TEST(SecretBytesTest, NothingIsLeftBehindByAnyWayOfUsingIt) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  testing::Search search;
  search.Add("secret", kSecret);
  search.Add("its end", kSecret.substr(kSecret.size() - 20));
  {
    SecretBytes a(AsBytes(kSecret));
    a.Reserve(200);
    SecretBytes b(std::move(a));
    a = SecretBytes(AsBytes(kSecret));
    for (int i = 0; i < 100; ++i) b.Append(kSecret);
    a.Truncate(8);
    a.Append(kSecret);
    std::swap(a, b);
    b = std::move(a);
    b.Truncate(0);
  }
  EXPECT_EQ(testing::Search::found(), "");
  EXPECT_GE(testing::Search::blocks(), 5U);
}

TEST(SearchTest, FindsWhatNobodyWiped) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  testing::Search search;
  search.Add("secret", kSecret);
  search.Add("another", "something else");
  {
    const std::string text(kSecret);
  }
  EXPECT_EQ(testing::Search::found(), "secret");
}

TEST(SecretBytesTest, TruncateWipesWhatItCutsOff) {
  SecretBytes bytes(AsBytes(kSecret));
  const std::uint8_t* const memory = bytes.data();
  bytes.Truncate(8);
  EXPECT_EQ(bytes.text(), kSecret.substr(0, 8));
  // Shortening does not reallocate, so the rest is still memory of ours to look at.
  ASSERT_EQ(bytes.data(), memory);
  EXPECT_TRUE(AllZero(memory + 8, kSecret.size() - 8));
}

TEST(SecretBytesTest, TruncateToTheSameSizeChangesNothing) {
  SecretBytes bytes(AsBytes(kSecret));
  bytes.Truncate(kSecret.size());
  EXPECT_EQ(bytes.text(), kSecret);
  bytes.Truncate(0);
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace otp_actions
