#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "expect.h"
#include "otp_actions/subject.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using namespace std::string_literals;
using testing::ReadVectors;
using testing::TestKey;
using testing::ToHex;
using testing::Vector;

RingKey KeyOf(std::uint8_t fill) { return RingKey(TestKey(fill).view()); }

// IdentifierOf reads an identifier as JSON with the parser of contexts, so that all three types and escapes come as
// they come there.
Identifier IdentifierOf(const std::string& json) {
  const std::string zeros(64, '0');
  return ParsePayload(
             R"({"v":2,"jti":")" + zeros.substr(32) + R"(","purpose":"","identifier":)" + json + R"(,"otp_hash":")" +
             zeros +
             R"(","metadata":null,"timestamp":0,"otp_expiry":0,"session_expiry":0,"retry_count":0,"max_retries":0})")
      .identifier;
}

// What a digest is of.
using Whom = std::tuple<std::string, Identifier, std::string>;

// AllDifferent says whether no two have the same digest, nor the same subject.
::testing::AssertionResult AllDifferent(const std::vector<Whom>& all) {
  const RingKey key = KeyOf(1);
  std::vector<Digest> digests;
  std::vector<SubjectId> subjects;
  for (const auto& [use, identifier, scope] : all) {
    const Digest digest = StoreDigest(key, use, identifier, scope);
    const SubjectId subject = SubjectOf(key, use, identifier, scope);
    for (std::size_t i = 0; i < digests.size(); ++i) {
      if (digests[i] == digest || subjects[i] == subject)
        return ::testing::AssertionFailure() << "numbers " << i << " and " << digests.size() << " are the same";
    }
    digests.push_back(digest);
    subjects.push_back(subject);
  }
  return ::testing::AssertionSuccess();
}

// ---- StoreDigest ----

TEST(StoreDigestTest, MatchesTheFrozenVectors) {
  const std::vector<Vector> vectors = ReadVectors("store_digest.txt");
  EXPECT_EQ(vectors.size(), 14U);
  for (const Vector& vector : vectors) {
    SCOPED_TRACE(vector.Text("name"));
    const RingKey key(vector.Hex("key"));
    const Identifier identifier = IdentifierOf(vector.Text("identifier"));
    EXPECT_EQ(ToHex(StoreDigest(key, vector.Text("use"), identifier, vector.Text("scope"))), vector.Text("digest"));
    EXPECT_EQ(ToHex(SubjectOf(key, vector.Text("use"), identifier, vector.Text("scope"))),
              vector.Text("digest").substr(0, 32));
  }
}

TEST(StoreDigestTest, UsesAreFrozenToo) {
  EXPECT_EQ(kIdentifierUse, "identifier");
  EXPECT_EQ(kNetworkUse, "network");
}

TEST(StoreDigestTest, SeparatesTypesOfIdentifier) {
  EXPECT_TRUE(AllDifferent({{"use", std::int64_t{42}, "scope"},
                            {"use", "42"s, "scope"},
                            {"use", Identifier(), "scope"},
                            {"use", ""s, "scope"},
                            {"use", "null"s, "scope"},
                            {"use", std::int64_t{0}, "scope"},
                            {"use", "0"s, "scope"},
                            {"use", std::int64_t{-42}, "scope"},
                            {"use", std::numeric_limits<std::int64_t>::min(), "scope"},
                            {"use", std::numeric_limits<std::int64_t>::max(), "scope"},
                            {"use", "i42"s, "scope"},
                            {"use", "s42"s, "scope"},
                            {"use", "n"s, "scope"}}));
}

TEST(StoreDigestTest, SeparatesEveryPart) {
  EXPECT_TRUE(AllDifferent({{"use", "user@example.com"s, "scope"},
                            {"usf", "user@example.com"s, "scope"},
                            {"", "user@example.com"s, "scope"},
                            {"use", "user@example.con"s, "scope"},
                            {"use", "User@example.com"s, "scope"},
                            {"use", "user@example.com "s, "scope"},
                            {"use", "user@example.com\0"s, "scope"},
                            {"use", "user@example.com"s, "scopf"},
                            {"use", "user@example.com"s, ""},
                            {"use", "user@example.com"s, "scope\0"s},
                            {"scope", "user@example.com"s, "use"}}));
}

TEST(StoreDigestTest, PartsDoNotRunTogether) {
  // Without a length before each part, each of these groups would be the same bytes.
  EXPECT_TRUE(AllDifferent({{"ab", "c"s, "d"}, {"a", "bc"s, "d"}, {"", "abc"s, "d"}, {"abc", ""s, "d"}}));
  EXPECT_TRUE(AllDifferent({{"u", "12"s, "34"}, {"u", "1"s, "234"}, {"u", ""s, "1234"}, {"u", "1234"s, ""}}));
  EXPECT_TRUE(AllDifferent({{"u", std::int64_t{12}, "34"}, {"u", std::int64_t{1}, "234"}}));
  EXPECT_TRUE(AllDifferent({{"as", "b"s, "c"}, {"a", "sb"s, "c"}, {"a", "b"s, "c"}}));
  EXPECT_TRUE(AllDifferent({{"a\0"s, "b"s, "c"}, {"a", "\0b"s, "c"}, {"a", "b"s, "\0c"s}, {"a", "b\0"s, "c"}}));
  // Were only one of the lengths missing, a part could spell out the others and pass for the part after it.
  EXPECT_TRUE(AllDifferent({{"a", "Qs\0\0\0\1R"s, "c"}, {"as\0\0\0\7Q"s, "R"s, "c"}}));
  EXPECT_TRUE(AllDifferent({{"a", "b"s, "Q\0\0\0\1R"s}, {"a", "b\0\0\0\6Q"s, "R"}}));
}

TEST(StoreDigestTest, NoTwoOfManyRunTogether) {
  // Every way to write three parts with the few characters that could pass for a length or a tag.
  const std::vector<std::string> texts = {""s,   "\0"s, "\1"s,         "s"s,         "i"s,           "n"s,
                                          "1"s,  "11"s, "\0\0\0\0"s,   "\0\0\0\1"s,  "s\0\0\0\0"s,   "s\0\0\0\1s"s,
                                          "ss"s, "1s"s, "\0\0\0\1\0"s, "n\0\0\0\0"s, "i\0\0\0\0011"s};
  std::vector<std::string> seen;
  const RingKey key = KeyOf(1);
  for (const std::string& use : texts) {
    for (const std::string& scope : texts) {
      const auto add = [&](const Identifier& identifier) {
        seen.push_back(ToHex(StoreDigest(key, use, identifier, scope)));
      };
      for (const std::string& text : texts) add(text);
      for (const std::int64_t number : {0, 1, 11}) add(number);
      add({});
    }
  }
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
}

TEST(StoreDigestTest, IsGoodForOneKeyOnly) {
  const auto digest = [](const RingKey& key) { return StoreDigest(key, "use", "user@example.com"s, "scope"); };
  EXPECT_EQ(digest(KeyOf(1)), digest(KeyOf(1)));
  EXPECT_NE(digest(KeyOf(1)), digest(KeyOf(2)));
  // Each half of a ring key is part of it.
  for (const std::size_t byte : {0U, 15U, 16U, 31U}) {
    SecretBytes other = TestKey(1);
    other.data()[byte] ^= 1;
    EXPECT_NE(digest(KeyOf(1)), digest(RingKey(other.view()))) << byte;
  }
}

TEST(StoreDigestTest, IsNotMadeWithTheKeyOfCodes) {
  // Else who reads a ledger could look for a code whose digest lies in a context, or the other way about.
  const RingKey key = KeyOf(1);
  SecretBytes message;
  AppendWithLength("use", message);
  message.Append('s');
  AppendWithLength("user@example.com", message);
  AppendWithLength("scope", message);
  EXPECT_EQ(StoreDigest(key, "use", "user@example.com"s, "scope"), key.store.Sum({message.view()}));
  EXPECT_NE(StoreDigest(key, "use", "user@example.com"s, "scope"), key.code.Sum({message.view()}));
}

TEST(SubjectOfTest, IsTheFirstHalfOfTheDigest) {
  const RingKey key = KeyOf(1);
  const Digest digest = StoreDigest(key, kIdentifierUse, std::int64_t{42}, "login");
  const SubjectId subject = SubjectOf(key, kIdentifierUse, std::int64_t{42}, "login");
  ASSERT_EQ(subject.size(), 16U);
  EXPECT_TRUE(std::equal(subject.begin(), subject.end(), digest.begin()));
}

TEST(SubjectOfTest, IdentifierIsNotTheNetworkOfTheSameText) {
  const RingKey key = KeyOf(1);
  EXPECT_NE(SubjectOf(key, kIdentifierUse, "192.0.2.7"s, ""), SubjectOf(key, kNetworkUse, "192.0.2.7"s, ""));
}

// ---- What digests are made of ----

TEST(TaggedIdentifierTest, TypeIsOneCharacterOfIt) {
  const Identifier nothing;
  const Identifier number = std::int64_t{-42};
  const Identifier text = "-42"s;
  const Identifier empty = ""s;
  const auto is = [](const TaggedIdentifier& tagged, char tag, std::string_view expected) {
    return tagged.tag == tag && tagged.text == expected;
  };
  EXPECT_TRUE(is(TaggedIdentifier(nothing), 'n', ""));
  EXPECT_TRUE(is(TaggedIdentifier(number), 'i', "-42"));
  EXPECT_TRUE(is(TaggedIdentifier(text), 's', "-42"));
  EXPECT_TRUE(is(TaggedIdentifier(empty), 's', ""));
}

TEST(TaggedIdentifierTest, HoldsEveryNumber) {
  for (const auto& [number, digits] :
       {std::pair{std::numeric_limits<std::int64_t>::min(), "-9223372036854775808"},
        std::pair{std::numeric_limits<std::int64_t>::max(), "9223372036854775807"}, std::pair{std::int64_t{0}, "0"}}) {
    const Identifier identifier = number;
    EXPECT_EQ(TaggedIdentifier(identifier).text, digits);
  }
}

TEST(AppendWithLengthTest, LengthIsFourBytesBigEndianBeforeThePart) {
  SecretBytes out;
  AppendWithLength("", out);
  AppendWithLength("ab", out);
  EXPECT_EQ(ToHex(out.view()), "00000000000000026162");
  for (const std::size_t size : {0xffU, 0x100U, 0xffffU, 0x10203U, 0x1020304U}) {
    SecretBytes more;
    AppendWithLength(std::string(size, 'x'), more);
    ASSERT_EQ(more.size(), size + 4);
    const ByteView bytes = more.view();
    EXPECT_EQ(std::size_t{bytes[0]} << 24 | std::size_t{bytes[1]} << 16 | std::size_t{bytes[2]} << 8 | bytes[3], size);
    EXPECT_TRUE(more.text().substr(4) == std::string(size, 'x'));
  }
}

}  // namespace
}  // namespace otp_actions
