#include <gtest/gtest.h>

#include <vector>

#include "otp_actions/constant_time.h"

namespace otp_actions {
namespace {

// That the time tells nothing is shown elsewhere (memcheck with secrets marked undefined); here only the answer.

TEST(ConstantTimeTest, SameBytesAreEqual) {
  for (std::size_t size = 0; size <= 100; ++size) {
    const std::vector<std::uint8_t> a(size, 0x5a);
    const std::vector<std::uint8_t> b(size, 0x5a);
    EXPECT_TRUE(ConstantTimeEqual(a, b)) << size;
  }
}

TEST(ConstantTimeTest, EverySingleBitMakesADifference) {
  const std::vector<std::uint8_t> a(kDigestSize, 0x5a);
  for (std::size_t bit = 0; bit < 8 * a.size(); ++bit) {
    std::vector<std::uint8_t> b = a;
    b[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_FALSE(ConstantTimeEqual(a, b)) << bit;
  }
}

TEST(ConstantTimeTest, DifferencesDoNotCancelOut) {
  const std::vector<std::uint8_t> a = {0x00, 0xff, 0x00, 0xff};
  const std::vector<std::uint8_t> b = {0xff, 0x00, 0xff, 0x00};
  EXPECT_FALSE(ConstantTimeEqual(a, b));
}

TEST(ConstantTimeTest, SizesMustAgree) {
  EXPECT_TRUE(ConstantTimeEqual({}, {}));
  EXPECT_FALSE(ConstantTimeEqual(AsBytes("abc"), {}));
  EXPECT_FALSE(ConstantTimeEqual({}, AsBytes("abc")));
  EXPECT_FALSE(ConstantTimeEqual(AsBytes("abc"), AsBytes("ab")));
  EXPECT_FALSE(ConstantTimeEqual(AsBytes(std::string_view("ab\0", 3)), AsBytes("ab")));
}

}  // namespace
}  // namespace otp_actions
