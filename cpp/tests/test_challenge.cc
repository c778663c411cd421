#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "expect.h"
#include "freed_memory.h"
#include "otp_actions/challenge.h"
#include "otp_actions/hkdf.h"
#include "otp_actions/process_ledger.h"
#include "otp_actions/random.h"
#include "otp_actions/subject.h"
#include "otp_actions/verdict.h"
#include "otp_actions/verification.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using namespace std::string_literals;
using testing::TestRing;
using testing::ThrowsError;
using testing::ToHex;

const Instant kIssuedAt = InstantOf(1'700'000'000, 0xabcde);

Payload Request() {
  Payload payload;
  payload.purpose = "login";
  payload.identifier = "someone@mail.example"s;  // 20 characters.
  payload.timestamp = 1'700'000'000;
  payload.otp_expiry = 1'700'000'300;
  payload.session_expiry = 1'700'000'900;
  payload.max_retries = 3;
  return payload;
}

constexpr std::string_view kLegacyJson =
    R"({"identifier": "user@example.com", "otp_hash": "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92", "metadata": {"a": 1}, )"
    R"("timestamp": 1734688500.5, "otp_expiry": 1734688800.5, "session_expiry": 1734689400.5, "retry_count": 0, "max_retries": 3})";

::testing::AssertionResult IsRejected(const Keyring& ring, std::string_view context) {
  return ThrowsError(ErrorCode::kInvalidToken, [&] { (void)Challenge::Open(ring, context); });
}

// Stamp is the time that is written, readable by anyone, at the head of a token.
std::string Stamp(std::string_view context) { return ToHex(FernetToken::Decode(context).signed_part().subspan(1, 8)); }

void ExpectSameButRetries(const Payload& a, const Payload& b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.jti, b.jti);
  EXPECT_EQ(a.purpose, b.purpose);
  EXPECT_EQ(a.identifier, b.identifier);
  EXPECT_EQ(a.otp_hash, b.otp_hash);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(a.timestamp, b.timestamp);
  EXPECT_EQ(a.otp_expiry, b.otp_expiry);
  EXPECT_EQ(a.session_expiry, b.session_expiry);
  EXPECT_EQ(a.max_retries, b.max_retries);
}

TEST(IssueChallengeTest, CodeMatchesItsOwnContextOnly) {
  const Keyring ring = TestRing({1});
  const Issued a = IssueChallenge(ring, Request(), 12, kIssuedAt);
  const Issued b = IssueChallenge(ring, Request(), 12, kIssuedAt);
  const Challenge opened_a = Challenge::Open(ring, a.context);
  const Challenge opened_b = Challenge::Open(ring, b.context);
  EXPECT_TRUE(Match(opened_a.payload(), opened_a.key(), a.code.text()));
  EXPECT_TRUE(Match(opened_b.payload(), opened_b.key(), b.code.text()));
  EXPECT_FALSE(Match(opened_a.payload(), opened_a.key(), b.code.text()));
  EXPECT_FALSE(Match(opened_b.payload(), opened_b.key(), a.code.text()));
}

TEST(IssueChallengeTest, SealsWhatItWasGiven) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.metadata = R"({"a":[1,2]})";
  request.retry_count = 1;
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, request, 6, kIssuedAt).context);
  Payload expected = request;
  expected.jti = challenge.payload().jti;
  expected.otp_hash = challenge.payload().otp_hash;
  ExpectSameButRetries(challenge.payload(), expected);
  EXPECT_EQ(challenge.payload().retry_count, 1);
  EXPECT_EQ(challenge.payload().version, 2);
}

TEST(IssueChallengeTest, IssuesNothingInTheOlderForm) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.version = Payload::kLegacyVersion;
  EXPECT_EQ(Challenge::Open(ring, IssueChallenge(ring, request, 6, kIssuedAt).context).payload().version, 2);
  EXPECT_EQ(Challenge::Open(ring, IssueDecoy(ring, request, kIssuedAt)).payload().version, 2);
}

TEST(IssueChallengeTest, DrawsIdAndCodeAnewEachTime) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.jti.fill(0xab);
  request.otp_hash.fill(0xcd);
  std::set<Jti> ids = {request.jti};
  std::set<Digest> digests = {request.otp_hash};
  std::set<std::string> codes;
  for (int i = 0; i < 500; ++i) {
    const Issued issued = IssueChallenge(ring, request, 12, kIssuedAt);
    const Challenge challenge = Challenge::Open(ring, issued.context);
    EXPECT_TRUE(ids.insert(challenge.payload().jti).second);
    EXPECT_TRUE(digests.insert(challenge.payload().otp_hash).second);
    EXPECT_TRUE(codes.insert(std::string(issued.code.text())).second);
  }
}

TEST(IssueChallengeTest, CodeHasTheLengthAskedFor) {
  const Keyring ring = TestRing({1});
  for (int length = kMinCodeLength; length <= kMaxCodeLength; ++length) {
    const Issued issued = IssueChallenge(ring, Request(), length, kIssuedAt);
    EXPECT_EQ(issued.code.size(), static_cast<std::size_t>(length));
    EXPECT_TRUE(std::ranges::all_of(issued.code.text(), [](char c) { return c >= '0' && c <= '9'; }));
  }
  for (const int length : {INT_MIN, -1, 0, kMinCodeLength - 1, kMaxCodeLength + 1, INT_MAX}) {
    EXPECT_THROW((void)IssueChallenge(ring, Request(), length, kIssuedAt), std::invalid_argument) << length;
  }
}

TEST(IssueChallengeTest, ContextDoesNotHoldTheCode) {
  const Keyring ring = TestRing({1});
  for (int i = 0; i < 20; ++i) {
    const Issued issued = IssueChallenge(ring, Request(), 12, kIssuedAt);
    EXPECT_EQ(issued.context.find(issued.code.text()), std::string::npos);
    EXPECT_EQ(ring.Open(issued.context).plaintext.text().find(issued.code.text()), std::string_view::npos);
  }
}

TEST(IssueChallengeTest, SealsUnderThePrimaryAtTheTimeOfIssue) {
  const Issued issued = IssueChallenge(TestRing({2, 1}), Request(), 6, kIssuedAt);
  EXPECT_NO_THROW((void)Challenge::Open(TestRing({2}), issued.context));
  EXPECT_TRUE(IsRejected(TestRing({1}), issued.context));
  EXPECT_EQ(Stamp(issued.context), "000000006553f100");
}

TEST(IssueChallengeTest, TypicalContextFitsIntoFiveHundredAndTwelveCharacters) {
  ASSERT_EQ(std::get<std::string>(Request().identifier).size(), 20U);
  EXPECT_LE(IssueChallenge(TestRing({1}), Request(), 6, kIssuedAt).context.size(), 512U);
}

TEST(IssueChallengeTest, RefusesFieldsOutOfRange) {
  const Keyring ring = TestRing({1});
  const auto refuses = [&](auto change) {
    Payload request = Request();
    change(request);
    EXPECT_THROW((void)IssueChallenge(ring, request, 6, kIssuedAt), std::invalid_argument);
    EXPECT_THROW((void)IssueDecoy(ring, request, kIssuedAt), std::invalid_argument);
  };
  refuses([](Payload& p) { p.identifier = std::string(kMaxIdentifierSize + 1, 'x'); });
  refuses([](Payload& p) { p.purpose = std::string(kMaxPurposeSize + 1, 'x'); });
  refuses([](Payload& p) { p.metadata = "\"" + std::string(kMaxMetadataSize, 'x') + "\""; });
  refuses([](Payload& p) { p.metadata = "NaN"; });
  refuses([](Payload& p) { p.metadata = ""; });
  refuses([](Payload& p) { p.max_retries = kMaxRetries + 1; });
  refuses([](Payload& p) { p.max_retries = -1; });
  refuses([](Payload& p) { p.otp_expiry = -1; });
}

TEST(IssueChallengeTest, RefusesWhatDoesNotFit) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  // Everything at its limit fits, as long as nothing grows by escapes.
  request.metadata = "\"" + std::string(kMaxMetadataSize - 2, 'x') + "\"";
  request.identifier = std::string(kMaxIdentifierSize, 'x');
  request.purpose = std::string(kMaxPurposeSize, 'x');
  EXPECT_NO_THROW((void)Challenge::Open(ring, IssueChallenge(ring, request, 12, kIssuedAt).context));
  request.identifier = std::string(kMaxIdentifierSize, '\x01');  // Six characters each in JSON.
  EXPECT_TRUE(ThrowsError(ErrorCode::kContextTooBig, [&] { (void)IssueChallenge(ring, request, 6, kIssuedAt); }));
  EXPECT_TRUE(ThrowsError(ErrorCode::kContextTooBig, [&] { (void)IssueDecoy(ring, request, kIssuedAt); }));
}

TEST(IssueDecoyTest, LooksLikeARealContext) {
  const Keyring ring = TestRing({1});
  for (const Identifier& identifier :
       {Identifier(), Identifier(std::int64_t{42}), Identifier("user@example.com"s), Identifier("ü\n"s)}) {
    Payload request = Request();
    request.identifier = identifier;
    const std::string real = IssueChallenge(ring, request, 6, kIssuedAt).context;
    const std::string decoy = IssueDecoy(ring, request, kIssuedAt);
    EXPECT_EQ(decoy.size(), real.size());
    EXPECT_EQ(Stamp(decoy), Stamp(real));
    const Challenge opened = Challenge::Open(ring, decoy);
    Payload expected = Challenge::Open(ring, real).payload();
    expected.jti = opened.payload().jti;
    expected.otp_hash = opened.payload().otp_hash;
    ExpectSameButRetries(opened.payload(), expected);
    // And stays like one through the retries.
    EXPECT_EQ(opened.Reseal(1, 1'700'000'100).size(), Challenge::Open(ring, real).Reseal(1, 1'700'000'100).size());
    EXPECT_EQ(Admit(opened.payload(), "login", 1'700'000'100, false), Verdict::kAdmitted);
  }
}

TEST(IssueDecoyTest, NoCodeMatches) {
  const Keyring ring = TestRing({1});
  const Challenge decoy = Challenge::Open(ring, IssueDecoy(ring, Request(), kIssuedAt));
  int matches = 0;
  for (int i = 10'000; i < 20'000; ++i) matches += Match(decoy.payload(), decoy.key(), std::to_string(i).substr(1));
  matches += Match(decoy.payload(), decoy.key(), "");
  EXPECT_EQ(matches, 0);
}

TEST(IssueDecoyTest, DrawsIdAndDigestAnewEachTime) {
  const Keyring ring = TestRing({1});
  std::set<Jti> ids = {Jti{}};
  std::set<Digest> digests = {Digest{}};
  for (int i = 0; i < 500; ++i) {
    const Challenge decoy = Challenge::Open(ring, IssueDecoy(ring, Request(), kIssuedAt));
    EXPECT_TRUE(ids.insert(decoy.payload().jti).second);
    EXPECT_TRUE(digests.insert(decoy.payload().otp_hash).second);
  }
}

// ---- The instant of issue ----

TEST(IssuedAtTest, IsWhatItWasIssuedWith) {
  const Keyring ring = TestRing({1});
  for (const std::int64_t place : {0, 1, 0xff, 0x100, 0xabcde, 0xffff, 0x10000, 0xf0000, 0x8'0000, 0xfffff}) {
    const Instant instant = InstantOf(1'700'000'000, place);
    EXPECT_EQ(Challenge::Open(ring, IssueChallenge(ring, Request(), 6, instant).context).issued_at(), instant);
    EXPECT_EQ(Challenge::Open(ring, IssueDecoy(ring, Request(), instant)).issued_at(), instant);
  }
}

TEST(IssuedAtTest, PlaceIsTheLastTwentyBitsOfTheId) {
  const Keyring ring = TestRing({1});
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  EXPECT_EQ(ToHex(challenge.payload().jti).substr(27), "abcde");
  EXPECT_EQ(ToHex(Challenge::Open(ring, IssueDecoy(ring, Request(), kIssuedAt)).payload().jti).substr(27), "abcde");
}

TEST(IssuedAtTest, OtherBitsOfTheIdAreRandom) {
  // A second of ones, so that none of it could hide in the id.
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.timestamp = 0x7fff'ffff;
  const Instant instant = InstantOf(request.timestamp, kMaxPlace);
  for (const bool decoy : {false, true}) {
    Jti ever_set{};
    Jti always_set;
    always_set.fill(0xff);
    for (int i = 0; i < 100; ++i) {
      const std::string context =
          decoy ? IssueDecoy(ring, request, instant) : IssueChallenge(ring, request, 6, instant).context;
      const Jti jti = Challenge::Open(ring, context).payload().jti;
      for (std::size_t byte = 0; byte < jti.size(); ++byte) {
        ever_set[byte] |= jti[byte];
        always_set[byte] &= jti[byte];
      }
    }
    EXPECT_EQ(ToHex(ever_set), std::string(32, 'f'));
    EXPECT_EQ(ToHex(always_set), std::string(27, '0') + "fffff");
  }
}

TEST(IssuedAtTest, StaysThroughResealing) {
  const Keyring ring = TestRing({1});
  const Challenge first = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  EXPECT_EQ(Challenge::Open(ring, first.Reseal(1, 1'700'000'123)).issued_at(), kIssuedAt);
}

TEST(IssuedAtTest, OfALegacyContextIsBeforeItsSecond) {
  const Keyring ring = TestRing({1});
  const Challenge first = Challenge::Open(ring, ring.Seal(AsBytes(kLegacyJson), 0));
  EXPECT_EQ(first.issued_at(), InstantOf(1'734'688'500, 0) - 1);
  EXPECT_EQ(Challenge::Open(ring, first.Reseal(1, 0)).issued_at(), InstantOf(1'734'688'500, 0) - 1);
}

TEST(ChallengeTest, OpensOnlyChallenges) {
  const Keyring ring = TestRing({1});
  // Sealed under the right key, but by other parts of a project.
  for (const std::string& foreign :
       {""s, "null"s, "JBSWY3DPEHPK3PXP"s, "{\"user_id\": 1}"s, "{\"a\": NaN}"s, "[]"s, "{\"v\":2,\"v\":2}"s,
        std::string(2000, '['), "\xff\xfe"s, "\0"s, std::string(16, '\0')}) {
    EXPECT_TRUE(IsRejected(ring, ring.Seal(AsBytes(foreign), 0))) << foreign.substr(0, 50);
  }
  const std::string good(EncodePayload(Request()).text());
  EXPECT_NO_THROW((void)Challenge::Open(ring, ring.Seal(AsBytes(good), 0)));
  EXPECT_TRUE(IsRejected(ring, ring.Seal(AsBytes(good + "\0"s), 0)));
  EXPECT_TRUE(IsRejected(ring, ring.Seal(AsBytes(good + good), 0)));
}

TEST(ChallengeTest, RejectsWhatIsNoContext) {
  const Keyring ring = TestRing({1});
  const std::string context = IssueChallenge(ring, Request(), 6, kIssuedAt).context;
  for (const std::string& bad : {""s, "not a token"s, context.substr(1), context + "="s, context + "\n"s,
                                 context.substr(0, context.size() - 4)}) {
    EXPECT_TRUE(IsRejected(ring, bad)) << bad;
  }
  EXPECT_TRUE(IsRejected(TestRing({2}), context));
}

TEST(ChallengeTest, ResealChangesTheRetryCountAndNothingElse) {
  const Keyring ring = TestRing({1});
  const Issued issued = IssueChallenge(ring, Request(), 6, kIssuedAt);
  const Challenge first = Challenge::Open(ring, issued.context);
  const std::string context = first.Reseal(2, 1'700'000'123);
  EXPECT_NE(context, issued.context);
  EXPECT_EQ(Stamp(context), "000000006553f17b");
  const Challenge second = Challenge::Open(ring, context);
  EXPECT_EQ(second.payload().retry_count, 2);
  EXPECT_EQ(first.payload().retry_count, 0) << "an opened challenge does not change";
  ExpectSameButRetries(second.payload(), first.payload());
  EXPECT_TRUE(Match(second.payload(), second.key(), issued.code.text()));
}

TEST(ChallengeTest, ResealStaysUnderTheFallbackThatOpenedIt) {
  const Issued issued = IssueChallenge(TestRing({1}), Request(), 6, kIssuedAt);
  const Keyring rotated = TestRing({2, 1});
  const Challenge first = Challenge::Open(rotated, issued.context);
  EXPECT_NE(&first.key(), rotated.primary().get());
  EXPECT_TRUE(Match(first.payload(), first.key(), issued.code.text()));
  EXPECT_FALSE(Match(first.payload(), *rotated.primary(), issued.code.text()));

  const std::string context = first.Reseal(1, 1'700'000'123);
  EXPECT_TRUE(IsRejected(TestRing({2}), context)) << "the digest inside belongs to the fallback";
  for (const Keyring& ring : {TestRing({1}), TestRing({2, 1}), TestRing({3, 2, 1})}) {
    const Challenge second = Challenge::Open(ring, context);
    EXPECT_TRUE(Match(second.payload(), second.key(), issued.code.text()));
  }
}

TEST(ChallengeTest, OutlivesItsRing) {
  std::optional<Keyring> ring(TestRing({1}));
  const Issued issued = IssueChallenge(*ring, Request(), 6, kIssuedAt);
  const Challenge challenge = Challenge::Open(*ring, issued.context);
  ring.reset();
  EXPECT_TRUE(Match(challenge.payload(), challenge.key(), issued.code.text()));
  EXPECT_NO_THROW((void)Challenge::Open(TestRing({1}), challenge.Reseal(1, 0)));
}

TEST(ChallengeTest, ResealRefusesACountThatCouldNotBeOpened) {
  const Keyring ring = TestRing({1});
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  EXPECT_NO_THROW((void)Challenge::Open(ring, challenge.Reseal(kMaxRetries, 0)));
  EXPECT_THROW((void)challenge.Reseal(-1, 0), std::invalid_argument);
  EXPECT_THROW((void)challenge.Reseal(kMaxRetries + 1, 0), std::invalid_argument);
}

// ---- NextAttempt ----

// Try takes the attempt and says whether there was one.
bool Try(ProcessLedger& ledger, const Challenge& challenge, UnixTime now) {
  const Claim attempt = challenge.NextAttempt(now);
  return std::holds_alternative<Taken>(ledger.Take({&attempt, 1}, {}, now));
}

bool Mark(ProcessLedger& ledger, const Challenge& challenge, std::int64_t fate, UnixTime now) {
  const Claim entry = challenge.NextAttempt(now);
  return ledger.Advance(entry.bucket, fate, entry.ttl, now);
}

constexpr UnixTime kNow = 1'700'000'100;

TEST(NextAttemptTest, AllowsExactlyAsManyAsTheChallenge) {
  const Keyring ring = TestRing({1});
  for (const std::int64_t max_retries : {0, 1, 3, 10}) {
    Payload request = Request();
    request.max_retries = max_retries;
    const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, request, 6, kIssuedAt).context);
    ProcessLedger ledger(100);
    for (std::int64_t i = 0; i < max_retries; ++i) EXPECT_TRUE(Try(ledger, challenge, kNow));
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(Try(ledger, challenge, kNow));
  }
}

TEST(NextAttemptTest, EverySpellingOfAChallengeHasTheSameCount) {
  const Keyring ring = TestRing({1});
  for (const std::string& context : {IssueChallenge(ring, Request(), 6, kIssuedAt).context,
                                     IssueDecoy(ring, Request(), kIssuedAt), ring.Seal(AsBytes(kLegacyJson), 0)}) {
    ProcessLedger ledger(100);
    const Challenge first = Challenge::Open(ring, context);
    const Challenge second = Challenge::Open(ring, first.Reseal(1, kNow));
    // What a client does who sends its first context again and again, mixed with the others.
    EXPECT_TRUE(Try(ledger, first, kNow));
    EXPECT_TRUE(Try(ledger, second, kNow));
    EXPECT_TRUE(Try(ledger, first, kNow));
    EXPECT_FALSE(Try(ledger, first, kNow));
    EXPECT_FALSE(Try(ledger, second, kNow));
    EXPECT_FALSE(Try(ledger, Challenge::Open(ring, second.Reseal(0, kNow)), kNow));
  }
}

TEST(NextAttemptTest, NoneIsLeftIfTheContextSaysSoWhateverTheLedgerRemembers) {
  const Keyring ring = TestRing({1});
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  for (const std::int64_t count : {std::int64_t{3}, std::int64_t{4}, kMaxRetries}) {
    ProcessLedger ledger(100);
    EXPECT_FALSE(Try(ledger, Challenge::Open(ring, challenge.Reseal(count, kNow)), kNow)) << count;
  }
  ProcessLedger ledger(100);
  EXPECT_TRUE(Try(ledger, Challenge::Open(ring, challenge.Reseal(2, kNow)), kNow));
}

TEST(NextAttemptTest, NoCountOfAttemptsPassesForAMark) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.max_retries = kMaxRetries;
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, request, 6, kIssuedAt).context);
  const Claim attempt = challenge.NextAttempt(kNow);
  EXPECT_LT(kMaxRetries, kUsedMark);
  EXPECT_LT(kUsedMark, kRevokedMark);
  ProcessLedger ledger(100);
  ASSERT_TRUE(ledger.Advance(attempt.bucket, kMaxRetries - 1, attempt.ttl, kNow));
  EXPECT_TRUE(Try(ledger, challenge, kNow));
  EXPECT_FALSE(Try(ledger, challenge, kNow));
}

TEST(NextAttemptTest, AFullLedgerRefusesToBeginButNotToEnd) {
  const Keyring ring = TestRing({1});
  const Challenge begun = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  const Challenge late = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  ProcessLedger ledger(1);
  EXPECT_TRUE(Try(ledger, begun, kNow));
  EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)Try(ledger, late, kNow); }));
  EXPECT_TRUE(Mark(ledger, begun, kUsedMark, kNow));
  EXPECT_FALSE(Try(ledger, begun, kNow));
}

TEST(NextAttemptTest, ChallengesDoNotShareAnEntry) {
  const Keyring ring = TestRing({1});
  ProcessLedger ledger(100);
  std::vector<LedgerKey> entries;
  for (int i = 0; i < 20; ++i) {
    const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
    const Claim attempt = challenge.NextAttempt(kNow);
    EXPECT_EQ(attempt.bucket.id, challenge.payload().jti);
    EXPECT_EQ(std::ranges::count(entries, attempt.bucket), 0);
    entries.push_back(attempt.bucket);
    EXPECT_TRUE(Try(ledger, challenge, kNow));
    EXPECT_TRUE(Mark(ledger, challenge, i % 2 == 0 ? kUsedMark : kRevokedMark, kNow));
  }
}

TEST(NextAttemptTest, IsRememberedForLongerThanTheSessionLives) {
  const Keyring ring = TestRing({1});
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context);
  for (const UnixTime now : {UnixTime{1'700'000'000}, kNow, UnixTime{1'700'000'899}}) {
    EXPECT_EQ(challenge.NextAttempt(now).ttl, 1'700'000'900 - now + 300)
        << "a slow clock must never meet a fresh count";
  }
  EXPECT_GE(challenge.NextAttempt(1'700'001'000).ttl, 300);
  EXPECT_GE(challenge.NextAttempt(1'800'000'000).ttl, 300);
}

TEST(NextAttemptTest, RememberedForAPositiveTimeAtTheEndOfTime) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.session_expiry = kMaxTime - 1;
  const Challenge challenge = Challenge::Open(ring, IssueChallenge(ring, request, 6, kIssuedAt).context);
  for (const UnixTime now :
       {kNow, UnixTime{0}, std::numeric_limits<UnixTime>::min(), std::numeric_limits<UnixTime>::max()}) {
    EXPECT_GT(challenge.NextAttempt(now).ttl, 0) << now;
  }
}

TEST(NextAttemptTest, DecoyAsksForTheSame) {
  const Keyring ring = TestRing({1});
  const Claim real = Challenge::Open(ring, IssueChallenge(ring, Request(), 6, kIssuedAt).context).NextAttempt(kNow);
  const Claim decoy = Challenge::Open(ring, IssueDecoy(ring, Request(), kIssuedAt)).NextAttempt(kNow);
  EXPECT_EQ(decoy.limit, real.limit);
  EXPECT_EQ(decoy.ttl, real.ttl);
  EXPECT_EQ(decoy.bucket.kind, real.bucket.kind);
}

TEST(ChallengeTest, WhatCanBeIssuedCanBeResealedWithAnyCount) {
  const Keyring ring = TestRing({1});
  Payload request = Request();
  request.metadata = '"' + std::string(4000, 'x') + '"';
  std::size_t size = 800;  // Of an identifier that takes two bytes for each of its own.
  const auto issue = [&] {
    request.identifier = std::string(size, '"');
    (void)IssueDecoy(ring, request, kIssuedAt);
    return IssueChallenge(ring, request, 6, kIssuedAt).context;
  };
  EXPECT_TRUE(ThrowsError(ErrorCode::kContextTooBig, [&] {
    for (; size < 1000; ++size) {
      const Challenge challenge = Challenge::Open(ring, issue());
      EXPECT_NO_THROW((void)challenge.Reseal(kMaxRetries, kNow)) << size;
    }
  }));
}

// ---- What is left behind ----

TEST(ChallengeTest, LeavesNoSecretInMemoryThatWasGivenBack) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  const SecretBytes key = testing::TestKey(1);
  const SecretBytes code_key = Hkdf(key.view(), {}, AsBytes("otp_actions/v2/code"), kDigestSize);
  const SecretBytes store_key = Hkdf(key.view(), {}, AsBytes("otp_actions/v2/store"), kDigestSize);
  testing::Search search;
  search.Add("signing key", key.text().substr(0, 16));
  search.Add("encryption key", key.text().substr(16));
  search.Add("key of codes", code_key.text());
  search.Add("key of what is stored", store_key.text());
  search.Add("plaintext", R"(,"otp_hash":")");
  // In a thread of its own: at its end the OpenSSL contexts that hold keys are given back too.
  std::thread([&] {
    const Keyring ring = TestRing({1, 2});
    const Issued issued = IssueChallenge(ring, Request(), 12, kIssuedAt);
    search.Add("code", issued.code.text());
    const Challenge challenge = Challenge::Open(ring, issued.context);
    EXPECT_TRUE(IsRejected(ring, TestRing({3}).Seal(AsBytes("another's"), kNow)));
    EXPECT_FALSE(Match(challenge.payload(), challenge.key(), "1234"));
    EXPECT_TRUE(Match(challenge.payload(), challenge.key(), issued.code.text()));
    (void)Challenge::Open(ring, challenge.Reseal(1, kNow));
    const Caller caller = {
        .identifier = SubjectOf(challenge.key(), kIdentifierUse, challenge.payload().identifier, "login"),
        .network = SubjectOf(challenge.key(), kNetworkUse, "192.0.2.1"s, "")};
    const Policy policy = {.identifier = {.limit = 9, .seconds = 60}, .network = {.limit = 9, .seconds = 60}};
    ProcessLedger ledger(100);
    const auto verdict = [&](std::string_view typed) {
      return VerifyCode(challenge, typed, "login", kNow, policy, caller, ledger).verdict;
    };
    EXPECT_EQ(verdict("1234"), Verdict::kWrongCode);
    EXPECT_EQ(verdict(issued.code.text()), Verdict::kVerified);
  }).join();
  EXPECT_EQ(testing::Search::found(), "");
  EXPECT_GE(testing::Search::blocks(), 100U) << "OpenSSL's are among them";
}

// ---- The older release's form ----

TEST(ChallengeTest, LegacyContextKeepsItsFormAndIdThroughResealing) {
  const Keyring ring = TestRing({1});
  const Challenge first = Challenge::Open(ring, ring.Seal(AsBytes(kLegacyJson), 1'734'688'500));
  EXPECT_EQ(first.payload().version, Payload::kLegacyVersion);
  EXPECT_TRUE(Match(first.payload(), first.key(), "123456"));
  const Challenge second = Challenge::Open(ring, first.Reseal(1, 1'734'688'600));
  EXPECT_EQ(second.payload().retry_count, 1);
  ExpectSameButRetries(second.payload(), first.payload());
  EXPECT_TRUE(Match(second.payload(), second.key(), "123456"));
}

}  // namespace
}  // namespace otp_actions
