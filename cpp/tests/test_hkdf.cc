#include <gtest/gtest.h>

#include <stdexcept>

#include "otp_actions/hkdf.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using testing::ReadVectors;
using testing::ToHex;
using testing::Vector;

TEST(HkdfTest, MatchesRfc5869) {
  const std::vector<Vector> vectors = ReadVectors("rfc5869.txt");
  EXPECT_EQ(vectors.size(), 3U);
  for (const Vector& vector : vectors) {
    SCOPED_TRACE(vector.Text("name"));
    const std::vector<std::uint8_t> okm = vector.Hex("okm");
    EXPECT_EQ(ToHex(Hkdf(vector.Hex("ikm"), vector.Hex("salt"), vector.Hex("info"), okm.size()).view()), ToHex(okm));
  }
}

TEST(HkdfTest, MakesOneByteToTwoHundredFiftyFiveHashes) {
  const ByteView key = AsBytes("key");
  EXPECT_THROW((void)Hkdf(key, {}, {}, 0), std::invalid_argument);
  EXPECT_EQ(Hkdf(key, {}, {}, 1).size(), 1U);
  EXPECT_EQ(Hkdf(key, {}, {}, 255 * kDigestSize).size(), 255 * kDigestSize);
  EXPECT_THROW((void)Hkdf(key, {}, {}, 255 * kDigestSize + 1), std::invalid_argument);
}

TEST(HkdfTest, KeySaltAndInfoEachSeparate) {
  const std::string base = ToHex(Hkdf(AsBytes("key"), AsBytes("salt"), AsBytes("info"), 32).view());
  EXPECT_EQ(ToHex(Hkdf(AsBytes("key"), AsBytes("salt"), AsBytes("info"), 32).view()), base);
  EXPECT_NE(ToHex(Hkdf(AsBytes("kez"), AsBytes("salt"), AsBytes("info"), 32).view()), base);
  EXPECT_NE(ToHex(Hkdf(AsBytes("key"), AsBytes("salu"), AsBytes("info"), 32).view()), base);
  EXPECT_NE(ToHex(Hkdf(AsBytes("key"), AsBytes("salt"), AsBytes("infp"), 32).view()), base);
  EXPECT_NE(ToHex(Hkdf(AsBytes("key"), AsBytes("salt"), {}, 32).view()), base);
}

TEST(HkdfTest, ShorterOutputIsAPrefix) {
  const std::string all = ToHex(Hkdf(AsBytes("key"), {}, AsBytes("info"), 100).view());
  EXPECT_EQ(ToHex(Hkdf(AsBytes("key"), {}, AsBytes("info"), 33).view()), all.substr(0, 66));
}

}  // namespace
}  // namespace otp_actions
