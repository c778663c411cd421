#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "otp_actions/bytes.h"

// A sanitizer brings its own operator new and delete and checks that they match; it must keep them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OTP_TEST_CAN_WATCH_DELETE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define OTP_TEST_CAN_WATCH_DELETE 0
#endif
#endif
#ifndef OTP_TEST_CAN_WATCH_DELETE
#define OTP_TEST_CAN_WATCH_DELETE 1
#endif

namespace {

// What one allocation held at the moment it was given back.
struct Watch {
  const void* memory = nullptr;
  std::size_t size = 0;
  bool freed = false;
  bool was_wiped = false;
};
thread_local Watch watch;

bool AllZero(const void* memory, std::size_t size) {
  // volatile: a compiler knows that nobody reads memory about to be freed. We do.
  const auto* const bytes = static_cast<const volatile unsigned char*>(memory);
  for (std::size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

}  // namespace

#if OTP_TEST_CAN_WATCH_DELETE
void* operator new(std::size_t size) {
  void* const memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr && memory == watch.memory) {
    watch.freed = true;
    watch.was_wiped = AllZero(memory, watch.size);
    watch.memory = nullptr;
  }
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept { operator delete(memory); }
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete[](void* memory, std::size_t /*size*/) noexcept { operator delete(memory); }
#endif

namespace otp_actions {
namespace {

constexpr std::string_view kSecret = "a secret that is longer than any small buffer a string might have";

void StartWatching(const SecretBytes& bytes) { watch = {.memory = bytes.data(), .size = bytes.size()}; }

#define SKIP_UNLESS_DELETE_CAN_BE_WATCHED() \
  if (!OTP_TEST_CAN_WATCH_DELETE) GTEST_SKIP() << "operator delete belongs to the sanitizer in this build"

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
