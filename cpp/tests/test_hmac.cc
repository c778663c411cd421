#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "otp_actions/hmac.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using testing::ReadVectors;
using testing::ToHex;
using testing::Vector;

HmacKey NumberedKey(int i) { return HmacKey(AsBytes("key number " + std::to_string(i))); }

TEST(HmacTest, MatchesRfc4231) {
  const std::vector<Vector> vectors = ReadVectors("rfc4231.txt");
  EXPECT_EQ(vectors.size(), 7U);
  for (const Vector& vector : vectors) {
    SCOPED_TRACE(vector.Text("name"));
    const std::string tag = vector.Text("tag");
    EXPECT_EQ(ToHex(HmacKey(vector.Hex("key")).Sum({vector.Hex("data")})).substr(0, tag.size()), tag);
  }
}

TEST(HmacTest, SumsTheConcatenationOfItsParts) {
  const HmacKey key(AsBytes("key"));
  const Digest whole = key.Sum({AsBytes("abcdef")});
  EXPECT_EQ(key.Sum({AsBytes("abc"), AsBytes("def")}), whole);
  EXPECT_EQ(key.Sum({{}, AsBytes("a"), AsBytes("bcde"), {}, AsBytes("f"), {}}), whole);
  EXPECT_NE(key.Sum({AsBytes("def"), AsBytes("abc")}), whole);
}

TEST(HmacTest, SumsNothing) {
  const std::string expected = "5d5d139563c95b5967b9bd9a8c9b233a9dedb45072794cd232dc1b74832607d0";  // Python's hmac.
  const HmacKey key(AsBytes("key"));
  EXPECT_EQ(ToHex(key.Sum({})), expected);
  EXPECT_EQ(ToHex(key.Sum({ByteView()})), expected);
}

TEST(HmacTest, EmptyKeyIsItsOwnKey) {
  const std::string expected = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";  // Python's hmac.
  EXPECT_EQ(ToHex(HmacKey(ByteView()).Sum({})), expected);
  // A cached context that held another key must not lend it to the empty one.
  for (int i = 0; i < 64; ++i) (void)NumberedKey(i).Sum({});
  for (int i = 0; i < 64; ++i) ASSERT_EQ(ToHex(HmacKey(ByteView()).Sum({})), expected);
}

TEST(HmacTest, SameKeyGivesTheSameSumAgainAndAgain) {
  const HmacKey key(AsBytes("key"));
  const Digest first = key.Sum({AsBytes("data")});
  for (int i = 0; i < 10; ++i) {
    EXPECT_NE(key.Sum({AsBytes("other data")}), first);
    EXPECT_EQ(key.Sum({AsBytes("data")}), first);
  }
}

TEST(HmacTest, ManyKeysInTurnAreNotMixedUp) {
  // More keys than a thread keeps contexts for.
  constexpr int kKeys = 200;
  std::vector<HmacKey> keys;
  std::vector<Digest> expected;
  for (int i = 0; i < kKeys; ++i) {
    keys.push_back(NumberedKey(i));
    expected.push_back(keys.back().Sum({AsBytes("data")}));
    for (int j = 0; j < i; ++j) ASSERT_NE(expected[static_cast<std::size_t>(j)], expected.back());
  }
  for (std::size_t step : {1U, 31U, 32U, 33U, 64U}) {
    for (std::size_t n = 0; n < kKeys; ++n) {
      const std::size_t i = n * step % kKeys;
      ASSERT_EQ(keys[i].Sum({AsBytes("data")}), expected[i]) << i;
    }
  }
}

TEST(HmacTest, NewKeyDoesNotInheritFromADestroyedOne) {
  const Digest first = NumberedKey(1).Sum({AsBytes("data")});
  for (int i = 0; i < 100; ++i) EXPECT_NE(NumberedKey(2).Sum({AsBytes("data")}), first);
}

TEST(HmacTest, SafeFromAnyThread) {
  const HmacKey a(AsBytes("key a"));
  const HmacKey b(AsBytes("key b"));
  const Digest sum_a = a.Sum({AsBytes("data")});
  const Digest sum_b = b.Sum({AsBytes("data")});
  std::vector<int> wrong(16);
  std::vector<std::thread> threads;
  for (int& mine : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) mine += (a.Sum({AsBytes("data")}) != sum_a) + (b.Sum({AsBytes("data")}) != sum_b);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(16));
}

}  // namespace
}  // namespace otp_actions
