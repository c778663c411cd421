#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "expect.h"
#include "otp_actions/encoding.h"
#include "otp_actions/keyring.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using testing::TestKey;
using testing::TestRing;
using testing::ThrowsError;

::testing::AssertionResult IsRejected(const Keyring& ring, std::string_view token) {
  return ThrowsError(ErrorCode::kInvalidToken, [&] { (void)ring.Open(token); });
}

std::string FlipTagBit(const std::string& token) {
  std::optional<SecretBytes> raw = Base64UrlDecode(token);
  raw->data()[raw->size() - 1] ^= 1;
  std::string flipped(token.size(), '\0');
  Base64UrlEncode(raw->view(), flipped);
  return flipped;
}

TEST(KeyringTest, SealsUnderThePrimary) {
  const Keyring ring = TestRing({1, 2});
  const std::string token = ring.Seal(AsBytes("text"), 0);
  EXPECT_EQ(TestRing({1}).Open(token).plaintext.text(), "text");
  EXPECT_TRUE(IsRejected(TestRing({2}), token));
  EXPECT_EQ(ring.Open(token).key, ring.primary());
}

TEST(KeyringTest, FallbacksStillOpenWhatTheySealed) {
  const Keyring ring = TestRing({1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(ring.keys().size(), 8U);
  std::vector<const RingKey*> seen;
  for (std::uint8_t i = 1; i <= 8; ++i) {
    const Keyring::Opened opened = ring.Open(TestRing({i}).Seal(AsBytes("text"), 0));
    EXPECT_EQ(opened.plaintext.text(), "text") << int{i};
    for (const RingKey* const key : seen) EXPECT_NE(opened.key.get(), key);
    seen.push_back(opened.key.get());
  }
  EXPECT_EQ(seen.front(), ring.primary().get());
}

TEST(KeyringTest, RotationRejectsNothingUntilTheFallbackIsRetired) {
  const std::string token = TestRing({1}).Seal(AsBytes("in flight"), 0);
  EXPECT_EQ(TestRing({2, 1}).Open(token).plaintext.text(), "in flight");
  EXPECT_EQ(TestRing({3, 2, 1}).Open(token).plaintext.text(), "in flight");
  EXPECT_TRUE(IsRejected(TestRing({4, 3, 2}), token));
}

TEST(KeyringTest, EveryRejectionIsTheSame) {
  const Keyring ring = TestRing({1, 2});
  const std::string token = ring.Seal(AsBytes("text"), 0);
  const std::string of_fallback = TestRing({2}).Seal(AsBytes("text"), 0);
  for (const std::string& bad :
       {std::string(), std::string("gAAAAA"), token.substr(4), token + "\n", token + token, FlipTagBit(token),
        FlipTagBit(of_fallback), TestRing({3}).Seal(AsBytes("text"), 0), std::string(9000, 'A')}) {
    EXPECT_TRUE(IsRejected(ring, bad)) << bad;
  }
}

TEST(KeyringTest, OpenedKeyOutlivesItsRing) {
  std::optional<Keyring> ring(TestRing({2, 1}));
  const std::shared_ptr<const RingKey> key = ring->Open(TestRing({1}).Seal(AsBytes("text"), 0)).key;
  ring.reset();
  EXPECT_EQ(TestRing({1}).Open(key->fernet.Seal(AsBytes("later"), 0)).plaintext.text(), "later");
}

TEST(KeyringTest, NamesItsKeysThePrimaryFirst) {
  const Keyring ring = TestRing({3, 1, 2});
  ASSERT_EQ(ring.keys().size(), 3U);
  EXPECT_EQ(ring.keys()[0], ring.primary());
  for (std::size_t i = 0; i < 3; ++i) {
    const std::uint8_t fill = std::array<std::uint8_t, 3>{3, 1, 2}.at(i);
    EXPECT_EQ(ring.keys()[i], ring.Open(TestRing({fill}).Seal(AsBytes("text"), 0)).key);
  }
}

TEST(KeyringTest, HoldsOneToEightKeys) {
  std::vector<SecretBytes> keys;
  EXPECT_THROW(Keyring{keys}, std::invalid_argument);
  for (std::uint8_t i = 1; i <= kMaxKeys; ++i) {
    keys.push_back(TestKey(i));
    EXPECT_EQ(Keyring(keys).keys().size(), i);
  }
  keys.push_back(TestKey(kMaxKeys + 1));
  EXPECT_THROW(Keyring{keys}, std::invalid_argument);
}

TEST(KeyringTest, HoldsEachKeyOnce) {
  for (const auto& fills : {std::initializer_list<std::uint8_t>{1, 1}, {1, 2, 1}, {1, 2, 3, 3}}) {
    EXPECT_THROW((void)TestRing(fills), std::invalid_argument);
  }
}

TEST(KeyringTest, RejectsAKeyOfTheWrongSizeInAnyPlace) {
  for (const std::size_t size : {0U, 16U, 31U, 33U, 44U, 64U}) {
    for (std::size_t place = 0; place < 3; ++place) {
      std::vector<SecretBytes> keys;
      for (std::size_t i = 0; i < 3; ++i)
        keys.push_back(i == place ? SecretBytes(size) : TestKey(static_cast<std::uint8_t>(i + 1)));
      EXPECT_THROW(Keyring{keys}, std::invalid_argument) << size << " at " << place;
    }
  }
}

TEST(RingKeyTest, NoKeyForOneUseIsAKeyForAnother) {
  const SecretBytes bytes = TestKey(1);
  const RingKey key(bytes.view());
  for (const HmacKey* const derived : {&key.code, &key.store}) {
    const Digest digest = derived->Sum({AsBytes("data")});
    EXPECT_NE(digest, HmacKey(bytes.view()).Sum({AsBytes("data")}));
    EXPECT_NE(digest, HmacKey(bytes.view().first(16)).Sum({AsBytes("data")}));
    EXPECT_NE(digest, HmacKey(bytes.view().subspan(16)).Sum({AsBytes("data")}));
  }
  EXPECT_NE(key.code.Sum({AsBytes("data")}), key.store.Sum({AsBytes("data")}));
}

TEST(RingKeyTest, EveryKeyIsOfThisRingKeyOnly) {
  const RingKey key(TestKey(1).view());
  const RingKey same(TestKey(1).view());
  const RingKey other(TestKey(2).view());
  for (HmacKey RingKey::* const use : {&RingKey::code, &RingKey::store}) {
    EXPECT_EQ((key.*use).Sum({AsBytes("data")}), (same.*use).Sum({AsBytes("data")}));
    EXPECT_NE((key.*use).Sum({AsBytes("data")}), (other.*use).Sum({AsBytes("data")}));
  }
}

}  // namespace
}  // namespace otp_actions
