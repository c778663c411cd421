#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "expect.h"
#include "otp_actions/verdict.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using namespace std::string_literals;
using testing::ReadVectors;
using testing::TestKey;
using testing::ToHex;
using testing::Vector;

constexpr UnixTime kCodeEnds = 1'700'000'300;
constexpr UnixTime kSessionEnds = 1'700'000'900;

Payload Sample(int version = Payload::kVersion) {
  Payload payload;
  payload.version = version;
  payload.purpose = version == Payload::kVersion ? "login" : "";
  payload.identifier = "user@example.com";
  payload.timestamp = 1'700'000'000;
  payload.otp_expiry = kCodeEnds;
  payload.session_expiry = kSessionEnds;
  payload.max_retries = 3;
  return payload;
}

// ---- Admit ----

TEST(AdmitTest, AdmitsUntilTheSecondTheCodeEnds) {
  const Payload payload = Sample();
  EXPECT_EQ(Admit(payload, "login", 0, false), Verdict::kAdmitted);
  EXPECT_EQ(Admit(payload, "login", kCodeEnds - 1, false), Verdict::kAdmitted);
  EXPECT_EQ(Admit(payload, "login", kCodeEnds, false), Verdict::kCodeExpired);
  EXPECT_EQ(Admit(payload, "login", kSessionEnds - 1, false), Verdict::kCodeExpired);
  EXPECT_EQ(Admit(payload, "login", kSessionEnds, false), Verdict::kSessionExpired);
  EXPECT_EQ(Admit(payload, "login", std::numeric_limits<UnixTime>::max(), false), Verdict::kSessionExpired);
  EXPECT_EQ(Admit(payload, "login", std::numeric_limits<UnixTime>::min(), false), Verdict::kAdmitted);
}

TEST(AdmitTest, SessionMayEndBeforeTheCode) {
  Payload payload = Sample();
  payload.session_expiry = kCodeEnds - 100;
  EXPECT_EQ(Admit(payload, "login", kCodeEnds - 101, false), Verdict::kAdmitted);
  EXPECT_EQ(Admit(payload, "login", kCodeEnds - 100, false), Verdict::kSessionExpired);
}

TEST(AdmitTest, BothEndingTogetherIsTheSession) {
  Payload payload = Sample();
  payload.session_expiry = kCodeEnds;
  EXPECT_EQ(Admit(payload, "login", kCodeEnds - 1, false), Verdict::kAdmitted);
  EXPECT_EQ(Admit(payload, "login", kCodeEnds, false), Verdict::kSessionExpired);
}

TEST(AdmitTest, PurposeMustBeTheSameText) {
  const std::vector<std::string> purposes = {"",         "login",     "Login", "login ", " login", "log",
                                             "login\0"s, "login\0x"s, "\0"s,   "reset",  "lögin"};
  for (const std::string& sealed : purposes) {
    Payload payload = Sample();
    payload.purpose = sealed;
    for (const std::string& asked : purposes) {
      EXPECT_EQ(Admit(payload, asked, 0, true), sealed == asked ? Verdict::kAdmitted : Verdict::kWrongPurpose)
          << sealed << " for " << asked;
    }
  }
}

TEST(AdmitTest, JudgesInTheOrderOfTheVerdicts) {
  // Everything is wrong at once; then one thing after the other is put right.
  Payload payload = Sample(Payload::kLegacyVersion);
  payload.session_expiry = payload.otp_expiry = 100;
  UnixTime now = 100;
  EXPECT_EQ(Admit(payload, "login", now, false), Verdict::kRefusedLegacy);
  EXPECT_EQ(Admit(payload, "login", now, true), Verdict::kWrongPurpose);
  EXPECT_EQ(Admit(payload, "", now, true), Verdict::kSessionExpired);
  payload.session_expiry = 101;
  EXPECT_EQ(Admit(payload, "", now, true), Verdict::kCodeExpired);
  payload.otp_expiry = 101;
  EXPECT_EQ(Admit(payload, "", now, true), Verdict::kAdmitted);
}

TEST(AdmitTest, LegacyHasTheEmptyPurpose) {
  const Payload payload = Sample(Payload::kLegacyVersion);
  EXPECT_EQ(Admit(payload, "", 0, true), Verdict::kAdmitted);
  EXPECT_EQ(Admit(payload, "login", 0, true), Verdict::kWrongPurpose);
  EXPECT_EQ(Admit(payload, "", 0, false), Verdict::kRefusedLegacy);
  EXPECT_EQ(Admit(payload, "login", 0, false), Verdict::kRefusedLegacy);
}

TEST(AdmitTest, AcceptLegacyMeansNothingForVersionTwo) {
  for (const bool accept_legacy : {false, true})
    EXPECT_EQ(Admit(Sample(), "login", 0, accept_legacy), Verdict::kAdmitted);
}

TEST(AdmitTest, DoesNotLookAtCounts) {
  // Attempts are the ledger's; what a client sends back must not decide here.
  Payload payload = Sample();
  payload.retry_count = 100;
  payload.max_retries = 0;
  EXPECT_EQ(Admit(payload, "login", 0, false), Verdict::kAdmitted);
}

// ---- CodeDigest and Match ----

// AllDifferent says whether no two of `payloads`, each with its code, have the same digest.
::testing::AssertionResult AllDifferent(const std::vector<std::pair<Payload, std::string>>& payloads) {
  const RingKey key(TestKey(1).view());
  std::vector<Digest> seen;
  for (const auto& [payload, code] : payloads) {
    const Digest digest = CodeDigest(payload, key, code);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (seen[i] == digest)
        return ::testing::AssertionFailure() << "numbers " << i << " and " << seen.size() << " are the same";
    }
    seen.push_back(digest);
  }
  return ::testing::AssertionSuccess();
}

Payload With(std::string purpose, Identifier identifier) {
  Payload payload = Sample();
  payload.purpose = std::move(purpose);
  payload.identifier = std::move(identifier);
  return payload;
}

TEST(CodeDigestTest, MatchesTheFrozenVectors) {
  const std::vector<Vector> vectors = ReadVectors("code_digest.txt");
  EXPECT_EQ(vectors.size(), 8U);
  for (const Vector& vector : vectors) {
    SCOPED_TRACE(vector.Text("name"));
    // The identifier is read by the parser under its own test, so that all three types and escapes come as JSON.
    const Payload payload = ParsePayload(
        R"({"v":2,"jti":")" + vector.Text("jti") + R"(","purpose":")" + vector.Text("purpose") + R"(","identifier":)" +
        vector.Text("identifier") + R"(,"otp_hash":")" + vector.Text("digest") +
        R"(","metadata":null,"timestamp":0,"otp_expiry":0,"session_expiry":0,"retry_count":0,"max_retries":0})");
    const RingKey key(vector.Hex("key"));
    EXPECT_EQ(ToHex(CodeDigest(payload, key, vector.Text("code"))), vector.Text("digest"));
    EXPECT_TRUE(Match(payload, key, vector.Text("code")));
  }
}

TEST(CodeDigestTest, SeparatesTypesOfIdentifier) {
  EXPECT_TRUE(AllDifferent({{With("login", std::int64_t{42}), "123456"},
                            {With("login", "42"s), "123456"},
                            {With("login", Identifier()), "123456"},
                            {With("login", ""s), "123456"},
                            {With("login", "null"s), "123456"},
                            {With("login", std::int64_t{0}), "123456"},
                            {With("login", "0"s), "123456"},
                            {With("login", std::int64_t{-42}), "123456"},
                            {With("login", "i42"s), "123456"},
                            {With("login", "s42"s), "123456"},
                            {With("login", "n"s), "123456"}}));
}

TEST(CodeDigestTest, SeparatesEveryPart) {
  Payload other_jti = Sample();
  other_jti.jti[15] ^= 1;
  EXPECT_TRUE(AllDifferent({{Sample(), "123456"},
                            {Sample(), "123457"},
                            {Sample(), "0123456"},
                            {Sample(), "12345"},
                            {Sample(), ""},
                            {Sample(), "123456\0"s},
                            {other_jti, "123456"},
                            {With("logim", "user@example.com"s), "123456"},
                            {With("", "user@example.com"s), "123456"},
                            {With("login", "user@example.con"s), "123456"},
                            {With("login", "User@example.com"s), "123456"}}));
}

TEST(CodeDigestTest, PartsDoNotRunTogether) {
  // Without a length before each part, each of these groups would be the same bytes.
  EXPECT_TRUE(AllDifferent(
      {{With("ab", "c"s), "1"}, {With("a", "bc"s), "1"}, {With("", "abc"s), "1"}, {With("abc", ""s), "1"}}));
  EXPECT_TRUE(AllDifferent({{With("p", "12"s), "3456"},
                            {With("p", "1"s), "23456"},
                            {With("p", ""s), "123456"},
                            {With("p", "123456"s), ""}}));
  EXPECT_TRUE(AllDifferent({{With("p", std::int64_t{12}), "3456"}, {With("p", std::int64_t{1}), "23456"}}));
  EXPECT_TRUE(AllDifferent({{With("as", "b"s), "1"}, {With("a", "sb"s), "1"}, {With("a", "b"s), "1"}}));
  EXPECT_TRUE(AllDifferent({{With("a\0"s, "b"s), "1"},
                            {With("a", "\0b"s), "1"},
                            {With("a", "b"s),
                             "\0"
                             "1"s}}));
  // Were only one of the lengths missing, a part could spell out the others and pass for the part after it.
  EXPECT_TRUE(AllDifferent({{With("a", "Qs\0\0\0\1R"s), "1"}, {With("as\0\0\0\7Q"s, "R"s), "1"}}));
  EXPECT_TRUE(AllDifferent({{With("a", "b"s), "Q\0\0\0\1R"s}, {With("a", "b\0\0\0\6Q"s), "R"}}));
}

TEST(CodeDigestTest, DoesNotReadWhatMayChange) {
  const RingKey key(TestKey(1).view());
  const Digest digest = CodeDigest(Sample(), key, "123456");
  Payload payload = Sample();
  payload.otp_hash.fill(0xff);
  payload.metadata = "{\"a\":1}";
  payload.retry_count = 2;
  EXPECT_EQ(CodeDigest(payload, key, "123456"), digest);
}

TEST(CodeDigestTest, LegacyIsThePlainHashOfTheCode) {
  const std::string expected = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92";  // SHA-256("123456")
  EXPECT_EQ(ToHex(CodeDigest(Sample(Payload::kLegacyVersion), RingKey(TestKey(1).view()), "123456")), expected);
  EXPECT_EQ(ToHex(CodeDigest(Sample(Payload::kLegacyVersion), RingKey(TestKey(2).view()), "123456")), expected);
  EXPECT_NE(ToHex(CodeDigest(Sample(), RingKey(TestKey(1).view()), "123456")), expected);
}

TEST(MatchTest, OnlyTheCodeMatches) {
  const RingKey key(TestKey(1).view());
  for (const int version : {Payload::kVersion, Payload::kLegacyVersion}) {
    Payload payload = Sample(version);
    payload.otp_hash = CodeDigest(payload, key, "123456");
    EXPECT_TRUE(Match(payload, key, "123456"));
    for (const std::string& wrong :
         {""s, "123457"s, "223456"s, "12345"s, "1234567"s, "0123456"s, " 123456"s, "123456 "s, "123456\n"s, "123456\0"s,
          "654321"s, "１２３４５６"s, std::string(1000, '1')}) {
      EXPECT_FALSE(Match(payload, key, wrong)) << ::testing::PrintToString(wrong);
    }
  }
}

TEST(MatchTest, OnlyOneOfAllCodesMatches) {
  const RingKey key(TestKey(1).view());
  Payload payload = Sample();
  payload.otp_hash = CodeDigest(payload, key, "0042");
  int matches = 0;
  for (int i = 10'000; i < 20'000; ++i) matches += Match(payload, key, std::to_string(i).substr(1));
  EXPECT_EQ(matches, 1);
}

TEST(MatchTest, EveryBitOfTheDigestCounts) {
  const RingKey key(TestKey(1).view());
  Payload payload = Sample();
  payload.otp_hash = CodeDigest(payload, key, "123456");
  for (std::size_t bit = 0; bit < 8 * payload.otp_hash.size(); ++bit) {
    payload.otp_hash[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_FALSE(Match(payload, key, "123456")) << bit;
    payload.otp_hash[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
  }
  EXPECT_TRUE(Match(payload, key, "123456"));
}

TEST(MatchTest, OnlyWithTheKeyThatMadeTheDigest) {
  Payload payload = Sample();
  payload.otp_hash = CodeDigest(payload, RingKey(TestKey(1).view()), "123456");
  EXPECT_TRUE(Match(payload, RingKey(TestKey(1).view()), "123456"));
  EXPECT_FALSE(Match(payload, RingKey(TestKey(2).view()), "123456"));
  // The second half of a ring key encrypts; it is part of the derived key all the same.
  SecretBytes other = TestKey(1);
  other.data()[31] ^= 1;
  EXPECT_FALSE(Match(payload, RingKey(other.view()), "123456"));
}

TEST(MatchTest, DigestIsNotGoodForAnotherChallenge) {
  const RingKey key(TestKey(1).view());
  Payload payload = Sample();
  payload.otp_hash = CodeDigest(payload, key, "123456");
  const auto moved = [&](auto change) {
    Payload other = payload;
    change(other);
    return Match(other, key, "123456");
  };
  EXPECT_FALSE(moved([](Payload& p) { p.jti[0] ^= 0x80; }));
  EXPECT_FALSE(moved([](Payload& p) { p.purpose = "reset"; }));
  EXPECT_FALSE(moved([](Payload& p) { p.identifier = "other@example.com"; }));
  // Neither version's digest is good for the other's.
  EXPECT_FALSE(moved([](Payload& p) { p.version = Payload::kLegacyVersion; }));
  EXPECT_TRUE(moved([](Payload& p) { p.retry_count = 7; }));
}

}  // namespace
}  // namespace otp_actions
