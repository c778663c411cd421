#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "expect.h"
#include "otp_actions/process_ledger.h"
#include "otp_actions/verification.h"
#include "threads.h"

namespace otp_actions {
namespace {

using namespace std::string_literals;
using testing::Alarm;
using testing::RunTogether;
using testing::TestRing;
using testing::ThrowsError;

constexpr UnixTime kNow = 1'700'000'100;
const Instant kIssuedAt = InstantOf(1'700'000'000, 7);

Policy PolicyOf(bool single_use, Budget identifier = {}, Budget network = {}) {
  return {.accept_legacy = true, .single_use = single_use, .identifier = identifier, .network = network};
}

// Case is an issued challenge with its code and a ledger of its own.
struct Case {
  explicit Case(std::int64_t max_retries = 3)
      : ring(TestRing({1})), issued(IssueChallenge(ring, Request(max_retries), 6, kIssuedAt)) {}

  static Payload Request(std::int64_t max_retries) {
    Payload payload;
    payload.purpose = "login";
    payload.identifier = "user@example.com"s;
    payload.timestamp = 1'700'000'000;
    payload.otp_expiry = 1'700'000'300;
    payload.session_expiry = 1'700'000'900;
    payload.max_retries = max_retries;
    return payload;
  }

  [[nodiscard]] Challenge challenge() const { return Challenge::Open(ring, issued.context); }
  [[nodiscard]] std::string right() const { return std::string(issued.code.text()); }
  [[nodiscard]] std::string wrong() const {
    std::string code = right();
    code[0] = code[0] == '0' ? '1' : '0';
    return code;
  }
  Verification Verify(std::string_view code, UnixTime now = kNow, std::string_view purpose = "login",
                      Policy policy = {}) {
    return VerifyCode(challenge(), code, purpose, now, policy, {}, ledger);
  }

  Keyring ring;
  Issued issued;
  ProcessLedger ledger{100};
};

// HookedLedger runs `after_take` between the count and the comparison: what another process could do just then.
class HookedLedger final : public Ledger {
 public:
  explicit HookedLedger(Ledger& inner) : inner_(inner) {}

  std::function<void()> after_take;

  std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                   UnixTime now) override {
    auto result = inner_.Take(claims, barriers, now);
    if (after_take) std::exchange(after_take, nullptr)();
    return result;
  }
  bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
               std::span<const Release> releases) override {
    return inner_.Advance(mark, value, ttl, now, releases);
  }
  void GiveBack(const Release& release, UnixTime now) override { inner_.GiveBack(release, now); }

 private:
  Ledger& inner_;
};

// A ledger that cannot be reached, from its n-th call on.
class BrokenLedger final : public Ledger {
 public:
  BrokenLedger(Ledger& inner, int good_calls) : inner_(inner), left_(good_calls) {}
  std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                   UnixTime now) override {
    Count();
    return inner_.Take(claims, barriers, now);
  }
  bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
               std::span<const Release> releases) override {
    Count();
    return inner_.Advance(mark, value, ttl, now, releases);
  }
  void GiveBack(const Release& release, UnixTime now) override {
    Count();
    inner_.GiveBack(release, now);
  }

 private:
  void Count() {
    if (left_-- <= 0) throw Error(ErrorCode::kLedgerFull);
  }
  Ledger& inner_;
  int left_;
};

// RecordingLedger says what it was asked.
class RecordingLedger final : public Ledger {
 public:
  struct Asked {
    std::vector<Claim> claims;
    std::vector<Barrier> barriers;
  };
  struct Advanced {
    LedgerKey mark;
    std::int64_t value;
    std::int64_t ttl;
    std::vector<Release> releases;
  };

  explicit RecordingLedger(Ledger& inner) : inner_(inner) {}

  std::vector<Asked> takes;
  std::vector<Advanced> advances;
  std::vector<Release> given_back;

  std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                   UnixTime now) override {
    takes.push_back({{claims.begin(), claims.end()}, {barriers.begin(), barriers.end()}});
    return inner_.Take(claims, barriers, now);
  }
  using Ledger::Advance;
  bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
               std::span<const Release> releases) override {
    advances.push_back({mark, value, ttl, {releases.begin(), releases.end()}});
    return inner_.Advance(mark, value, ttl, now, releases);
  }
  void GiveBack(const Release& release, UnixTime now) override {
    given_back.push_back(release);
    inner_.GiveBack(release, now);
  }

 private:
  Ledger& inner_;
};

bool IsClaim(const Claim& claim, const LedgerKey& bucket, std::int64_t limit, std::int64_t ttl) {
  return claim.bucket == bucket && claim.limit == limit && claim.ttl == ttl;
}

bool IsBarrier(const Barrier& barrier, const LedgerKey& mark, std::int64_t above) {
  return barrier.mark == mark && barrier.above == above;
}

bool IsRelease(const Release& release, const LedgerKey& bucket, std::int64_t units) {
  return release.claim.bucket == bucket && release.units == units;
}

TEST(VerifyCodeTest, RightCodeIsVerifiedOnce) {
  Case c;
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kUsed);
  EXPECT_EQ(c.Verify(c.wrong()).verdict, Verdict::kUsed);
}

TEST(VerifyCodeTest, WrongCodesAreCountedUntilNoneIsLeft) {
  Case c;
  for (std::int64_t made = 1; made <= 3; ++made) {
    const Verification verification = c.Verify(c.wrong());
    EXPECT_EQ(verification.verdict, Verdict::kWrongCode);
    EXPECT_EQ(verification.attempts_made, made);
  }
  const std::uint64_t comparisons = MatchCount();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kExhausted);
  EXPECT_EQ(MatchCount(), comparisons) << "the right code came too late to be looked at";
}

TEST(VerifyCodeTest, LastAttemptMaySucceed) {
  Case c;
  (void)c.Verify(c.wrong());
  (void)c.Verify(c.wrong());
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified);
}

TEST(VerifyCodeTest, NoRetriesAllowedRefusesAtOnce) {
  Case c(0);
  const std::uint64_t comparisons = MatchCount();
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kExhausted);
  EXPECT_EQ(MatchCount(), comparisons);
}

TEST(VerifyCodeTest, ReplayOfTheFirstContextBuysNoComparison) {
  Case c;
  const std::uint64_t before = MatchCount();
  for (int i = 0; i < 100; ++i) (void)c.Verify(c.wrong());
  EXPECT_EQ(MatchCount() - before, 3U);
}

TEST(VerifyCodeTest, WhatIsNotAdmittedIsNeitherCountedNorCompared) {
  Case c;
  const std::uint64_t comparisons = MatchCount();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(c.Verify(c.right(), kNow, "reset").verdict, Verdict::kWrongPurpose);
    EXPECT_EQ(c.Verify(c.right(), 1'700'000'300).verdict, Verdict::kCodeExpired);
    EXPECT_EQ(c.Verify(c.right(), 1'700'000'900).verdict, Verdict::kSessionExpired);
  }
  EXPECT_EQ(MatchCount(), comparisons);
  EXPECT_EQ(c.ledger.size(), 0U);
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified);
}

TEST(VerifyCodeTest, AdmissionIsJudgedBeforeTheLedger) {
  Case c;
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified);
  Revoke(c.challenge(), kNow, c.ledger);
  EXPECT_EQ(c.Verify(c.right(), kNow, "reset").verdict, Verdict::kWrongPurpose);
  EXPECT_EQ(c.Verify(c.right(), 1'700'000'300).verdict, Verdict::kCodeExpired);
}

TEST(VerifyCodeTest, LegacyIsThePolicysToAccept) {
  Case c;
  const std::string context = c.ring.Seal(
      AsBytes(
          R"({"identifier": "a", "otp_hash": "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92", )"
          R"("metadata": {}, "timestamp": 1700000000.5, "otp_expiry": 1700000300.5, "session_expiry": 1700000900.5, )"
          R"("retry_count": 0, "max_retries": 3})"),
      0);
  const Challenge legacy = Challenge::Open(c.ring, context);
  EXPECT_EQ(
      VerifyCode(legacy, "123456", "", kNow, {.accept_legacy = false, .identifier = {}, .network = {}}, {}, c.ledger)
          .verdict,
      Verdict::kRefusedLegacy);
  EXPECT_EQ(VerifyCode(legacy, "123456", "login", kNow, {}, {}, c.ledger).verdict, Verdict::kWrongPurpose);
  EXPECT_EQ(VerifyCode(legacy, "123456", "", kNow, {}, {}, c.ledger).verdict, Verdict::kVerified);
  EXPECT_EQ(VerifyCode(legacy, "123456", "", kNow, {}, {}, c.ledger).verdict, Verdict::kUsed);
}

TEST(VerifyCodeTest, AttemptsMadeCountWhatTheContextSays) {
  // A ledger that started afresh, and a context that has been through two attempts.
  Case c;
  const Challenge second = Challenge::Open(c.ring, c.challenge().Reseal(2, kNow));
  const Verification verification = VerifyCode(second, c.wrong(), "login", kNow, {}, {}, c.ledger);
  EXPECT_EQ(verification.verdict, Verdict::kWrongCode);
  EXPECT_EQ(verification.attempts_made, 3);
  // And a context that is behind the ledger.
  EXPECT_EQ(c.Verify(c.wrong()).attempts_made, 2);
}

TEST(VerifyCodeTest, WithoutSingleUseARightCodeStaysGoodAndCostsNothing) {
  Case c;
  const Policy policy = PolicyOf(false);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(c.Verify(c.right(), kNow, "login", policy).verdict, Verdict::kVerified);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(c.Verify(c.wrong(), kNow, "login", policy).verdict, Verdict::kWrongCode);
  EXPECT_EQ(c.Verify(c.right(), kNow, "login", policy).verdict, Verdict::kExhausted);
}

TEST(VerifyCodeTest, NothingIsAcceptedIfTheLedgerCannotTell) {
  const Caller caller{.identifier = SubjectId{1}, .network = SubjectId{2}};
  for (const bool single_use : {true, false}) {
    const Policy policy = PolicyOf(single_use, {.limit = 5, .seconds = 60}, {.limit = 5, .seconds = 60});
    // Take and mark; or take, look again, and give back attempt and budgets.
    const int calls = single_use ? 2 : 5;
    for (int good_calls = 0; good_calls <= calls; ++good_calls) {
      Case c;
      BrokenLedger broken(c.ledger, good_calls);
      const auto verify = [&] {
        return VerifyCode(c.challenge(), c.right(), "login", kNow, policy, caller, broken).verdict;
      };
      if (good_calls < calls) {
        EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, [&] { (void)verify(); })) << single_use << good_calls;
      } else {
        EXPECT_EQ(verify(), Verdict::kVerified);
      }
    }
  }
}

TEST(VerifyCodeTest, NothingIsAcceptedIfTheLedgerAnswersNonsense) {
  class Nonsense final : public Ledger {
   public:
    explicit Nonsense(std::function<std::variant<Taken, Denied>()> answer) : answer_(std::move(answer)) {}
    std::variant<Taken, Denied> Take(std::span<const Claim> /*claims*/, std::span<const Barrier> /*barriers*/,
                                     UnixTime /*now*/) override {
      return answer_();
    }
    bool Advance(const LedgerKey& /*mark*/, std::int64_t /*value*/, std::int64_t /*ttl*/, UnixTime /*now*/,
                 std::span<const Release> /*releases*/) override {
      return true;
    }
    void GiveBack(const Release& /*release*/, UnixTime /*now*/) override {}

   private:
    std::function<std::variant<Taken, Denied>()> answer_;
  };
  Case c;
  const Policy policy = PolicyOf(true, {.limit = 5, .seconds = 60}, {.limit = 5, .seconds = 60});
  const Caller caller{.identifier = SubjectId{1}, .network = SubjectId{2}};
  for (const std::size_t index : {6U, 7U, 99U}) {
    Nonsense denies_something_else([&] { return Denied{.index = index, .retry_after = 5}; });
    EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, policy, caller, denies_something_else).verdict,
              Verdict::kExhausted);
  }
  Nonsense takes_nothing([] { return Taken{}; });
  EXPECT_THROW((void)VerifyCode(c.challenge(), c.right(), "login", kNow, policy, caller, takes_nothing),
               std::out_of_range);
}

TEST(VerifyCodeTest, NoLedgerLeavesOnlyWhatTheContextSays) {
  Case c;
  NoLedger none;
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, {}, {}, none).verdict, Verdict::kVerified);
  const Challenge last = Challenge::Open(c.ring, c.challenge().Reseal(3, kNow));
  EXPECT_EQ(VerifyCode(last, c.right(), "login", kNow, {}, {}, none).verdict, Verdict::kExhausted);
  const Challenge second = Challenge::Open(c.ring, c.challenge().Reseal(1, kNow));
  EXPECT_EQ(VerifyCode(second, c.wrong(), "login", kNow, {}, {}, none).attempts_made, 2);
}

TEST(VerifyCodeTest, DecoyIsAnsweredLikeAWrongCode) {
  Case c;
  const Challenge decoy = Challenge::Open(c.ring, IssueDecoy(c.ring, Case::Request(3), kIssuedAt));
  for (std::int64_t made = 1; made <= 3; ++made) {
    const Verification verification = VerifyCode(decoy, "123456", "login", kNow, {}, {}, c.ledger);
    EXPECT_EQ(verification.verdict, Verdict::kWrongCode);
    EXPECT_EQ(verification.attempts_made, made);
  }
  EXPECT_EQ(VerifyCode(decoy, "123456", "login", kNow, {}, {}, c.ledger).verdict, Verdict::kExhausted);
}

TEST(VerifyCodeTest, OneOfManyThreadsIsVerified) {
  const Alarm alarm;
  for (int round = 0; round < 30; ++round) {
    Case c(64);
    const Challenge challenge = c.challenge();
    std::atomic<int> verified{0};
    std::atomic<int> used{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 16; ++i) {
      threads.emplace_back([&] {
        const Verdict verdict = VerifyCode(challenge, c.right(), "login", kNow, {}, {}, c.ledger).verdict;
        verified += verdict == Verdict::kVerified;
        used += verdict == Verdict::kUsed;
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(verified, 1);
    ASSERT_EQ(used, 15);
  }
}

TEST(VerifyCodeTest, ManyThreadsBuyNoComparisonMore) {
  const Alarm alarm;
  Case c(5);
  const Challenge challenge = c.challenge();
  const std::uint64_t before = MatchCount();
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] { (void)VerifyCode(challenge, c.wrong(), "login", kNow, {}, {}, c.ledger); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(MatchCount() - before, 5U);
}

TEST(VerifyCodeTest, UsedWhileThisOneWasUnderWayIsUsed) {
  Case c;
  HookedLedger hooked(c.ledger);
  hooked.after_take = [&] { EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified); };
  EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, {}, {}, hooked).verdict, Verdict::kUsed);
}

TEST(CountAttemptTest, CountsLikeAVerificationAndComparesNothing) {
  Case c;
  const std::uint64_t comparisons = MatchCount();
  for (std::int64_t made = 1; made <= 3; ++made) {
    const Verification counted = CountAttempt(c.challenge(), kNow, {}, {}, c.ledger);
    EXPECT_EQ(counted.verdict, Verdict::kAdmitted);
    EXPECT_EQ(counted.attempts_made, made);
  }
  EXPECT_EQ(CountAttempt(c.challenge(), kNow, {}, {}, c.ledger).verdict, Verdict::kExhausted);
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kExhausted);
  EXPECT_EQ(MatchCount(), comparisons);
}

TEST(RevokeTest, NothingIsVerifiedAfterwards) {
  for (const bool single_use : {true, false}) {
    Case c;
    Revoke(c.challenge(), kNow, c.ledger);
    Revoke(c.challenge(), kNow, c.ledger);  // Again is as good as once.
    EXPECT_EQ(c.Verify(c.right(), kNow, "login", PolicyOf(single_use)).verdict, Verdict::kRevoked);
    EXPECT_EQ(CountAttempt(c.challenge(), kNow, {}, {}, c.ledger).verdict, Verdict::kRevoked);
  }
}

TEST(CountAttemptTest, RevokedBeatsUsedBeatsExhausted) {
  Case c(1);
  const auto count = [&] { return CountAttempt(c.challenge(), kNow, {}, {}, c.ledger).verdict; };
  const auto mark = [&](std::int64_t fate) {
    const Claim entry = c.challenge().NextAttempt(kNow);
    return c.ledger.Advance(entry.bucket, fate, entry.ttl, kNow);
  };
  EXPECT_EQ(count(), Verdict::kAdmitted);
  EXPECT_EQ(count(), Verdict::kExhausted);
  EXPECT_TRUE(mark(kUsedMark));
  EXPECT_EQ(count(), Verdict::kUsed);
  EXPECT_TRUE(mark(kRevokedMark));
  EXPECT_EQ(count(), Verdict::kRevoked);
  EXPECT_FALSE(mark(kUsedMark)) << "what was revoked cannot be used any more";
}

TEST(CountAttemptTest, ASuccessHappensOnce) {
  Case c;
  const Challenge challenge = c.challenge();
  const Challenge resealed = Challenge::Open(c.ring, challenge.Reseal(1, kNow));
  const auto count = [&](const Challenge& which, UnixTime now) {
    return CountAttempt(which, now, {}, {}, c.ledger).verdict;
  };
  const auto mark = [&](const Challenge& which, UnixTime now) {
    const Claim entry = which.NextAttempt(now);
    return c.ledger.Advance(entry.bucket, kUsedMark, entry.ttl, now);
  };
  // Two attempts are under way, both with the right code.
  EXPECT_EQ(count(challenge, kNow), Verdict::kAdmitted);
  EXPECT_EQ(count(resealed, kNow), Verdict::kAdmitted);
  EXPECT_TRUE(mark(challenge, kNow));
  EXPECT_FALSE(mark(resealed, kNow));
  EXPECT_FALSE(mark(challenge, kNow + 100)) << "nor on a host whose clock is ahead";
  EXPECT_FALSE(mark(challenge, kNow - 100));
  EXPECT_EQ(count(challenge, 1'700'000'900 + 299), Verdict::kUsed) << "nor while a slow clock may still ask";
}

TEST(RevokeTest, SaysWhetherItWasTheFirst) {
  Case c;
  EXPECT_TRUE(Revoke(c.challenge(), kNow, c.ledger));
  EXPECT_FALSE(Revoke(c.challenge(), kNow, c.ledger));
  EXPECT_FALSE(Revoke(Challenge::Open(c.ring, c.challenge().Reseal(1, kNow)), kNow + 100, c.ledger));
  Case used;
  EXPECT_EQ(used.Verify(used.right()).verdict, Verdict::kVerified);
  EXPECT_TRUE(Revoke(used.challenge(), kNow, used.ledger)) << "it was used, but not revoked";
}

TEST(RevokeTest, BeatsUsedAndExhausted) {
  Case c(1);
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified);
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kUsed);
  Revoke(c.challenge(), kNow, c.ledger);
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kRevoked);
}

TEST(RevokeTest, HoldsAlsoForAVerificationThatIsUnderWay) {
  for (const bool single_use : {true, false}) {
    Case c;
    const Policy policy = PolicyOf(single_use);
    HookedLedger hooked(c.ledger);
    hooked.after_take = [&] { Revoke(c.challenge(), kNow, c.ledger); };
    EXPECT_NE(static_cast<int>(VerifyCode(c.challenge(), c.right(), "login", kNow, policy, {}, hooked).verdict),
              static_cast<int>(Verdict::kVerified))
        << single_use;
    EXPECT_EQ(c.Verify(c.right(), kNow, "login", policy).verdict, Verdict::kRevoked)
        << "what was under way must not have undone the revocation; single_use " << single_use;
  }
}

TEST(RevokeTest, IsOfThisChallengeOnly) {
  Case c;
  const Issued other = IssueChallenge(c.ring, Case::Request(3), 6, kIssuedAt);
  Revoke(c.challenge(), kNow, c.ledger);
  EXPECT_EQ(
      VerifyCode(Challenge::Open(c.ring, other.context), other.code.text(), "login", kNow, {}, {}, c.ledger).verdict,
      Verdict::kVerified);
}

// ---- What a ledger is asked ----

// One is a caller with both subjects, and Both a policy with both budgets.
const SubjectId kSomebody{0x11, 0x22};
const SubjectId kSomewhere{0x33, 0x44};
const Caller kOne{.identifier = kSomebody, .network = kSomewhere};
constexpr Budget kIdentifierBudget{.limit = 5, .seconds = 3600};
constexpr Budget kNetworkBudget{.limit = 7, .seconds = 600};
const LedgerKey kEpoch{'e', kSomebody};
const LedgerKey kIdentifierBucket{'i', kSomebody};
const LedgerKey kNetworkBucket{'p', kSomewhere};

Policy Both(bool single_use = true) { return PolicyOf(single_use, kIdentifierBudget, kNetworkBudget); }

// CountOf says how much of a bucket is taken.
std::int64_t CountOf(Ledger& ledger, const LedgerKey& bucket, UnixTime now = kNow) {
  const Claim claim{bucket, std::int64_t{1} << 39, 1};
  const auto result = ledger.Take({&claim, 1}, {}, now);
  ledger.GiveBack({claim}, now);
  return std::get<Taken>(result).counts.at(0) - 1;
}

TEST(AskedTest, BarriersThenAttemptThenBudgetsInOneTake) {
  Case c;
  RecordingLedger recording(c.ledger);
  EXPECT_EQ(VerifyCode(c.challenge(), c.wrong(), "login", kNow, Both(), kOne, recording).verdict, Verdict::kWrongCode);
  const Claim entry = c.challenge().NextAttempt(kNow);
  ASSERT_EQ(recording.takes.size(), 1U);
  const auto& [claims, barriers] = recording.takes[0];
  ASSERT_EQ(barriers.size(), 3U);
  EXPECT_TRUE(IsBarrier(barriers[0], entry.bucket, kRevokedMark - 1));
  EXPECT_TRUE(IsBarrier(barriers[1], kEpoch, c.challenge().issued_at()));
  EXPECT_TRUE(IsBarrier(barriers[2], entry.bucket, kUsedMark - 1));
  ASSERT_EQ(claims.size(), 3U);
  EXPECT_TRUE(IsClaim(claims[0], entry.bucket, entry.limit, entry.ttl));
  EXPECT_TRUE(IsClaim(claims[1], kIdentifierBucket, 5, 3600));
  EXPECT_TRUE(IsClaim(claims[2], kNetworkBucket, 7, 600));
  EXPECT_TRUE(recording.advances.empty()) << "a wrong code costs one round trip";
  EXPECT_TRUE(recording.given_back.empty());
}

TEST(AskedTest, RightCodeGivesBackWithItsMark) {
  Case c;
  RecordingLedger recording(c.ledger);
  EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, Both(), kOne, recording).verdict, Verdict::kVerified);
  const Claim entry = c.challenge().NextAttempt(kNow);
  EXPECT_EQ(recording.takes.size(), 1U);
  ASSERT_EQ(recording.advances.size(), 1U);
  const auto& [mark, value, ttl, releases] = recording.advances[0];
  EXPECT_EQ(mark, entry.bucket);
  EXPECT_EQ(value, kUsedMark);
  EXPECT_EQ(ttl, entry.ttl);
  ASSERT_EQ(releases.size(), 2U) << "the attempt is not given back: its entry is the mark now";
  EXPECT_TRUE(IsRelease(releases[0], kIdentifierBucket, 5)) << "all of it";
  EXPECT_TRUE(IsRelease(releases[1], kNetworkBucket, 1)) << "this one";
  // A backend finds the bucket by the claim as it was taken.
  EXPECT_TRUE(IsClaim(releases[0].claim, kIdentifierBucket, 5, 3600));
  EXPECT_TRUE(IsClaim(releases[1].claim, kNetworkBucket, 7, 600));
  EXPECT_TRUE(recording.given_back.empty()) << "two round trips in all";
}

TEST(AskedTest, WithoutSingleUseMarksNothingAndLooksAgain) {
  Case c;
  RecordingLedger recording(c.ledger);
  EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, Both(false), kOne, recording).verdict,
            Verdict::kVerified);
  const Claim entry = c.challenge().NextAttempt(kNow);
  EXPECT_TRUE(recording.advances.empty());
  ASSERT_EQ(recording.takes.size(), 2U);
  EXPECT_TRUE(recording.takes[1].claims.empty());
  ASSERT_EQ(recording.takes[1].barriers.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const Barrier& first = recording.takes[0].barriers[i];
    EXPECT_TRUE(IsBarrier(recording.takes[1].barriers[i], first.mark, first.above));
  }
  ASSERT_EQ(recording.given_back.size(), 3U);
  EXPECT_TRUE(IsRelease(recording.given_back[0], entry.bucket, 1)) << "a right code costs no attempt";
  EXPECT_TRUE(IsRelease(recording.given_back[1], kIdentifierBucket, 5));
  EXPECT_TRUE(IsRelease(recording.given_back[2], kNetworkBucket, 1));
}

TEST(AskedTest, OnlyWhatIsKnownAndHasABudget) {
  Case c;
  const LedgerKey entry = c.challenge().NextAttempt(kNow).bucket;
  const Caller nobody;
  const Caller somebody{.identifier = kSomebody, .network = {}};
  const Caller somewhere{.identifier = {}, .network = kSomewhere};
  const auto asked = [&](const Policy& policy, const Caller& caller) {
    NoLedger none;
    RecordingLedger recording(none);
    (void)CountAttempt(c.challenge(), kNow, policy, caller, recording);
    std::pair<std::vector<LedgerKey>, std::vector<LedgerKey>> keys;
    for (const Barrier& barrier : recording.takes.at(0).barriers) keys.first.push_back(barrier.mark);
    for (const Claim& claim : recording.takes.at(0).claims) keys.second.push_back(claim.bucket);
    return keys;
  };
  using Keys = std::vector<LedgerKey>;
  const Keys own = {entry, entry};
  const Keys with_epoch = {entry, kEpoch, entry};
  const Policy neither = PolicyOf(true);
  const Policy identifier_only = PolicyOf(true, kIdentifierBudget);
  const Policy network_only = PolicyOf(true, {}, kNetworkBudget);
  EXPECT_EQ(asked(Both(), nobody), (std::pair{own, Keys{entry}}));
  EXPECT_EQ(asked(Both(), somebody), (std::pair{with_epoch, Keys{entry, kIdentifierBucket}}));
  EXPECT_EQ(asked(Both(), somewhere), (std::pair{own, Keys{entry, kNetworkBucket}}));
  EXPECT_EQ(asked(neither, kOne), (std::pair{with_epoch, Keys{entry}})) << "an epoch needs no budget";
  EXPECT_EQ(asked(identifier_only, kOne), (std::pair{with_epoch, Keys{entry, kIdentifierBucket}}));
  EXPECT_EQ(asked(network_only, kOne), (std::pair{with_epoch, Keys{entry, kNetworkBucket}}));
}

TEST(AskedTest, NothingIsReleasedThatWasNotTaken) {
  for (const bool single_use : {true, false}) {
    for (const auto& [policy, caller] : {std::pair{Both(single_use), Caller{}}, {PolicyOf(single_use), kOne}}) {
      Case c;
      RecordingLedger recording(c.ledger);
      EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, policy, caller, recording).verdict,
                Verdict::kVerified);
      EXPECT_EQ(recording.given_back.size(), single_use ? 0U : 1U);
      if (single_use) {
        EXPECT_TRUE(recording.advances.at(0).releases.empty());
      }
    }
  }
}

TEST(AskedTest, CountingAsksTheSameAndNoMore) {
  Case c;
  RecordingLedger counted(c.ledger);
  EXPECT_EQ(CountAttempt(c.challenge(), kNow, Both(), kOne, counted).verdict, Verdict::kAdmitted);
  RecordingLedger verified(c.ledger);
  (void)VerifyCode(c.challenge(), c.wrong(), "login", kNow, Both(), kOne, verified);
  ASSERT_EQ(counted.takes.size(), 1U);
  ASSERT_EQ(counted.takes[0].claims.size(), verified.takes.at(0).claims.size());
  ASSERT_EQ(counted.takes[0].barriers.size(), verified.takes.at(0).barriers.size());
  for (std::size_t i = 0; i < counted.takes[0].claims.size(); ++i) {
    const Claim& claim = verified.takes[0].claims[i];
    EXPECT_TRUE(IsClaim(counted.takes[0].claims[i], claim.bucket, claim.limit, claim.ttl));
  }
  for (std::size_t i = 0; i < counted.takes[0].barriers.size(); ++i) {
    const Barrier& barrier = verified.takes[0].barriers[i];
    EXPECT_TRUE(IsBarrier(counted.takes[0].barriers[i], barrier.mark, barrier.above));
  }
  EXPECT_TRUE(counted.advances.empty());
  EXPECT_TRUE(counted.given_back.empty());
}

TEST(AskedTest, RevokeMarksTheEntryAndReleasesNothing) {
  Case c;
  RecordingLedger recording(c.ledger);
  Revoke(c.challenge(), kNow, recording);
  const Claim entry = c.challenge().NextAttempt(kNow);
  ASSERT_EQ(recording.advances.size(), 1U);
  EXPECT_EQ(recording.advances[0].mark, entry.bucket);
  EXPECT_EQ(recording.advances[0].value, kRevokedMark);
  EXPECT_EQ(recording.advances[0].ttl, entry.ttl);
  EXPECT_TRUE(recording.advances[0].releases.empty());
  EXPECT_TRUE(recording.takes.empty());
}

// ---- Budgets ----

// Guessing verifies challenges of one caller with one ledger.
struct Guessing {
  explicit Guessing(Policy rules, Caller who = kOne) : policy(rules), caller(std::move(who)) {}

  Verification Wrong(const Case& c, UnixTime now = kNow) {
    return VerifyCode(c.challenge(), c.wrong(), "login", now, policy, caller, ledger);
  }
  Verification Right(const Case& c, UnixTime now = kNow) {
    return VerifyCode(c.challenge(), c.right(), "login", now, policy, caller, ledger);
  }
  std::int64_t Attempts(const Case& c) { return CountOf(ledger, c.challenge().NextAttempt(kNow).bucket); }
  std::int64_t OfIdentifier() { return CountOf(ledger, kIdentifierBucket); }
  std::int64_t OfNetwork() { return CountOf(ledger, kNetworkBucket); }
  // Spend uses up a bucket without a challenge.
  void Spend(const LedgerKey& bucket, const Budget& budget, UnixTime now) {
    const Claim claim{bucket, budget.limit, budget.seconds};
    while (std::holds_alternative<Taken>(ledger.Take({&claim, 1}, {}, now))) {
    }
  }

  Policy policy;
  Caller caller;
  ProcessLedger ledger{1000};
};

TEST(BudgetTest, CountsWrongCodesAcrossChallenges) {
  for (const bool single_use : {true, false}) {
    Guessing g(PolicyOf(single_use, {.limit = 4, .seconds = 3600}));
    const Case first;
    const Case second;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(g.Wrong(first).verdict, Verdict::kWrongCode);
    EXPECT_EQ(g.Wrong(first).verdict, Verdict::kExhausted);
    EXPECT_EQ(g.OfIdentifier(), 3) << "what is refused costs nothing";
    EXPECT_EQ(g.Wrong(second).verdict, Verdict::kWrongCode);
    const std::uint64_t comparisons = MatchCount();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(g.Right(second).verdict, Verdict::kOverBudget);
    EXPECT_EQ(MatchCount(), comparisons) << "nothing is compared beyond a budget";
    EXPECT_EQ(g.Attempts(second), 1) << "nor counted";
  }
}

TEST(BudgetTest, OfTheNetworkCountsEveryIdentifier) {
  Guessing g(PolicyOf(true, {}, {.limit = 3, .seconds = 600}));
  for (std::uint8_t i = 0; i < 3; ++i) {
    const Case c;
    g.caller.identifier = SubjectId{i};
    EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
  }
  const Case c;
  g.caller.identifier = SubjectId{9};
  EXPECT_EQ(g.Right(c).verdict, Verdict::kOverBudget);
  g.caller.network = SubjectId{0x55};
  EXPECT_EQ(g.Right(c).verdict, Verdict::kVerified);
}

TEST(BudgetTest, RightCodeStartsTheIdentifierAfreshAndCostsTheNetworkNothing) {
  for (const bool single_use : {true, false}) {
    Guessing g(Both(single_use));
    const Case first;
    const Case second;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(g.Wrong(first).verdict, Verdict::kWrongCode);
    EXPECT_EQ(g.OfIdentifier(), 3);
    EXPECT_EQ(g.OfNetwork(), 3);
    EXPECT_EQ(g.Right(second).verdict, Verdict::kVerified);
    EXPECT_EQ(g.OfIdentifier(), 0) << single_use;
    EXPECT_EQ(g.OfNetwork(), 3) << single_use;
    if (single_use) {
      EXPECT_EQ(g.Right(second).verdict, Verdict::kUsed);
    } else {
      EXPECT_EQ(g.Attempts(second), 0);
    }
    EXPECT_EQ(g.OfIdentifier(), 0);
    EXPECT_EQ(g.OfNetwork(), 3) << "what is refused gives nothing back";
  }
}

TEST(BudgetTest, RightCodesAreNotBounded) {
  for (const bool single_use : {true, false}) {
    Guessing g(PolicyOf(single_use, {.limit = 1, .seconds = 3600}, {.limit = 1, .seconds = 3600}));
    const Case reused;
    for (int i = 0; i < 10; ++i) {
      const Case another;
      EXPECT_EQ(g.Right(single_use ? another : reused).verdict, Verdict::kVerified);
    }
  }
}

TEST(BudgetTest, LastUnitMaySucceed) {
  Guessing g(PolicyOf(true, {.limit = 2, .seconds = 3600}, {.limit = 2, .seconds = 3600}));
  const Case c;
  EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
  EXPECT_EQ(g.Right(c).verdict, Verdict::kVerified);
}

TEST(BudgetTest, RightCodeOfOneDoesNotHelpAnother) {
  Guessing g(Both());
  const Case guessed;
  EXPECT_EQ(g.Wrong(guessed).verdict, Verdict::kWrongCode);
  g.caller = {.identifier = SubjectId{9}, .network = SubjectId{10}};
  const Case own;
  EXPECT_EQ(g.Right(own).verdict, Verdict::kVerified);
  EXPECT_EQ(g.OfIdentifier(), 1);
  EXPECT_EQ(g.OfNetwork(), 1);
}

TEST(BudgetTest, SameSubjectIsNotTheSameBudgetForIdentifierAndNetwork) {
  Guessing g(PolicyOf(true, {.limit = 1, .seconds = 60}, {.limit = 1, .seconds = 60}), {kSomebody, kSomebody});
  const Case c;
  EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
}

TEST(BudgetTest, TakesAttemptAndBudgetsOrNone) {
  // Of the three, each in its turn is used up; the others stay as they were.
  {
    Guessing g(Both());
    const Case c(0);
    EXPECT_EQ(g.Wrong(c).verdict, Verdict::kExhausted);
    EXPECT_EQ(g.OfIdentifier(), 0);
    EXPECT_EQ(g.OfNetwork(), 0);
  }
  {
    Guessing g(Both());
    const Case c;
    g.Spend(kIdentifierBucket, kIdentifierBudget, kNow);
    EXPECT_EQ(g.Wrong(c).verdict, Verdict::kOverBudget);
    EXPECT_EQ(g.Attempts(c), 0);
    EXPECT_EQ(g.OfNetwork(), 0);
  }
  {
    Guessing g(Both());
    const Case c;
    g.Spend(kNetworkBucket, kNetworkBudget, kNow);
    EXPECT_EQ(g.Wrong(c).verdict, Verdict::kOverBudget);
    EXPECT_EQ(g.Attempts(c), 0);
    EXPECT_EQ(g.OfIdentifier(), 0);
  }
  {
    Guessing g(Both());
    const Case c;
    EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
    EXPECT_EQ(g.Attempts(c), 1);
    EXPECT_EQ(g.OfIdentifier(), 1);
    EXPECT_EQ(g.OfNetwork(), 1);
  }
}

TEST(BudgetTest, WhatIsNotAdmittedCostsNoBudget) {
  Guessing g(Both());
  const Case c;
  EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "reset", kNow, g.policy, kOne, g.ledger).verdict,
            Verdict::kWrongPurpose);
  EXPECT_EQ(g.Wrong(c, 1'700'000'300).verdict, Verdict::kCodeExpired);
  EXPECT_EQ(g.Wrong(c, 1'700'000'900).verdict, Verdict::kSessionExpired);
  EXPECT_EQ(g.ledger.size(), 0U);
}

TEST(BudgetTest, JudgesInTheOrderOfTheVerdicts) {
  // From the last of them to the first: each one is the answer as soon as it is true, whatever else is.
  for (const bool single_use : {true, false}) {
    Guessing g(Both(single_use));
    const Case c;
    const Claim entry = c.challenge().NextAttempt(kNow);
    const auto both = [&](Verdict expected) {
      EXPECT_EQ(g.Right(c).verdict, expected);
      EXPECT_EQ(CountAttempt(c.challenge(), kNow, g.policy, g.caller, g.ledger).verdict, expected);
    };
    g.Spend(kNetworkBucket, kNetworkBudget, kNow - 10);
    both(Verdict::kOverBudget);
    EXPECT_EQ(g.Right(c).retry_after, 590) << "the network's";
    g.Spend(kIdentifierBucket, kIdentifierBudget, kNow - 20);
    both(Verdict::kOverBudget);
    EXPECT_EQ(g.Right(c).retry_after, 3580) << "the identifier's";
    g.Spend(entry.bucket, {.limit = 3, .seconds = entry.ttl}, kNow);
    both(Verdict::kExhausted);
    ASSERT_TRUE(g.ledger.Advance(entry.bucket, kUsedMark, entry.ttl, kNow));
    both(Verdict::kUsed);
    ASSERT_TRUE(g.ledger.Advance(kEpoch, c.challenge().issued_at() + 1, 900, kNow));
    both(Verdict::kRevoked);
    EXPECT_TRUE(Revoke(c.challenge(), kNow, g.ledger));
    both(Verdict::kRevoked);
  }
}

TEST(BudgetTest, RetryAfterIsUntilTheWindowEnds) {
  Guessing g(PolicyOf(true, {.limit = 2, .seconds = 100}));
  const Case c(20);
  EXPECT_EQ(g.Wrong(c, kNow).verdict, Verdict::kWrongCode);
  EXPECT_EQ(g.Wrong(c, kNow + 30).verdict, Verdict::kWrongCode) << "the window begins with the first";
  for (const std::int64_t passed : {30, 40, 99}) {
    const Verification verification = g.Wrong(c, kNow + passed);
    EXPECT_EQ(verification.verdict, Verdict::kOverBudget);
    EXPECT_EQ(verification.retry_after, 100 - passed);
    EXPECT_EQ(verification.attempts_made, 0);
    const Verification counted = CountAttempt(c.challenge(), kNow + passed, g.policy, kOne, g.ledger);
    EXPECT_EQ(counted.verdict, Verdict::kOverBudget);
    EXPECT_EQ(counted.retry_after, 100 - passed);
  }
  const Verification verification = g.Wrong(c, kNow + 100);
  EXPECT_EQ(verification.verdict, Verdict::kWrongCode);
  EXPECT_EQ(verification.retry_after, 0);
  EXPECT_EQ(verification.attempts_made, 3);
}

TEST(BudgetTest, NobodyHasNone) {
  Guessing g(PolicyOf(true, {.limit = 1, .seconds = 60}, {.limit = 1, .seconds = 60}), {});
  const Case c(10);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
  EXPECT_EQ(g.ledger.size(), 1U) << "the challenge's own entry";
}

TEST(BudgetTest, OfOneLetsOneWrongCodeThrough) {
  const Budget one = {.limit = 1, .seconds = 60};
  for (const Policy& policy : {PolicyOf(true, one), PolicyOf(true, {}, one)}) {
    Guessing g(policy);
    const Case c;
    EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
    EXPECT_EQ(g.Right(c).verdict, Verdict::kOverBudget);
  }
}

TEST(BudgetTest, LimitOfZeroIsNone) {
  Guessing g(PolicyOf(true, {.limit = 0, .seconds = 60}, {.limit = 0, .seconds = 60}));
  const Case c;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(g.Wrong(c).verdict, Verdict::kWrongCode);
  EXPECT_EQ(g.ledger.size(), 1U);
}

TEST(BudgetTest, LedgerThatRemembersNothingHasNone) {
  const Case c;
  NoLedger none;
  const Policy policy = PolicyOf(true, {.limit = 1, .seconds = 60}, {.limit = 1, .seconds = 60});
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(VerifyCode(c.challenge(), c.wrong(), "login", kNow, policy, kOne, none).verdict, Verdict::kWrongCode);
    EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, policy, kOne, none).verdict, Verdict::kVerified);
  }
}

TEST(BudgetTest, CountedAttemptsAreNeverGivenBackOfThemselves) {
  Guessing g(PolicyOf(false, {.limit = 2, .seconds = 60}));
  const Case c;
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(CountAttempt(c.challenge(), kNow, g.policy, kOne, g.ledger).verdict, Verdict::kAdmitted);
  EXPECT_EQ(CountAttempt(c.challenge(), kNow, g.policy, kOne, g.ledger).verdict, Verdict::kOverBudget);
  EXPECT_EQ(g.Attempts(c), 2);
}

TEST(BudgetTest, WhoComesSecondWithTheRightCodeGivesNothingBack) {
  for (const bool revoked : {false, true}) {
    Guessing g(Both());
    const Case c;
    HookedLedger hooked(g.ledger);
    hooked.after_take = [&] {
      // The other one has taken what it gives back; a revocation takes nothing.
      if (revoked) {
        Revoke(c.challenge(), kNow, g.ledger);
      } else {
        EXPECT_EQ(g.Right(c).verdict, Verdict::kVerified);
        EXPECT_EQ(g.OfIdentifier(), 0);
        EXPECT_EQ(g.OfNetwork(), 1);
      }
    };
    EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, Both(), kOne, hooked).verdict, Verdict::kUsed);
    EXPECT_EQ(g.OfIdentifier(), revoked ? 1 : 0);
    EXPECT_EQ(g.OfNetwork(), 1);
  }
}

TEST(BudgetTest, RevokedWhileUnderWayGivesNothingBackWithoutSingleUse) {
  Guessing g(Both(false));
  const Case c;
  HookedLedger hooked(g.ledger);
  hooked.after_take = [&] { Revoke(c.challenge(), kNow, g.ledger); };
  EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, Both(false), kOne, hooked).verdict, Verdict::kRevoked);
  EXPECT_EQ(g.OfIdentifier(), 1);
  EXPECT_EQ(g.OfNetwork(), 1);
}

TEST(BudgetTest, DecoyCostsLikeARealOne) {
  Guessing g(Both());
  const Case c;
  const Challenge decoy = Challenge::Open(c.ring, IssueDecoy(c.ring, Case::Request(3), kIssuedAt));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(VerifyCode(decoy, "123456", "login", kNow, g.policy, kOne, g.ledger).verdict, Verdict::kWrongCode);
  }
  EXPECT_EQ(g.OfIdentifier(), 3);
  EXPECT_EQ(g.OfNetwork(), 3);
}

TEST(BudgetTest, ManyThreadsBuyNoComparisonMore) {
  const Alarm alarm;
  Guessing g(PolicyOf(true, {.limit = 10, .seconds = 3600}, {.limit = 8, .seconds = 3600}));
  const std::vector<Case> cases(16);
  const std::uint64_t before = MatchCount();
  RunTogether(16, [&](std::size_t i) {
    for (int n = 0; n < 3; ++n) (void)g.Wrong(cases[i]);
  });
  EXPECT_EQ(MatchCount() - before, 8U);
  EXPECT_EQ(g.OfNetwork(), 8);
  EXPECT_EQ(g.OfIdentifier(), 8) << "all or none, among threads too";
}

TEST(BudgetTest, ManyThreadsWithRightCodesLeaveTheNetworkAsItWas) {
  const Alarm alarm;
  for (const bool single_use : {true, false}) {
    Guessing g(PolicyOf(single_use, {.limit = 100, .seconds = 3600}, {.limit = 100, .seconds = 3600}));
    const std::vector<Case> cases(16);
    std::atomic<int> verified{0};
    RunTogether(16, [&](std::size_t i) { verified += g.Right(cases[i]).verdict == Verdict::kVerified; });
    EXPECT_EQ(verified, 16);
    EXPECT_EQ(g.OfNetwork(), 0);
    EXPECT_EQ(g.OfIdentifier(), 0);
  }
}

// ---- Epochs ----

const Identifier kUser = "user@example.com"s;

// Hosts share a ledger and have a clock that stands still unless it is moved.
struct Hosts {
  // FreshSecond keeps the tests apart: the sequence of instants is the process's.
  static UnixTime FreshSecond() {
    static UnixTime second = 1'800'000'000;
    return second += 100'000;
  }

  struct Code {
    std::string context;
    std::string code;
  };

  [[nodiscard]] Code IssueAt(const Keyring& ring, Instant instant, const Identifier& whom = kUser,
                             const std::string& purpose = "login") const {
    Payload payload;
    payload.purpose = purpose;
    payload.identifier = whom;
    payload.timestamp = instant >> kPlaceBits;
    payload.otp_expiry = now + 3000;
    payload.session_expiry = now + 9000;
    payload.max_retries = 3;
    const Issued issued = IssueChallenge(ring, payload, 6, instant);
    return {issued.context, std::string(issued.code.text())};
  }
  [[nodiscard]] Code Issue(const Keyring& ring, const Identifier& whom = kUser,
                           const std::string& purpose = "login") const {
    return IssueAt(ring, NextInstant(now, 0), whom, purpose);
  }
  Instant RevokeAll(const Keyring& ring, const Identifier& whom = kUser, std::string_view purpose = "login") {
    return AdvanceEpoch(ring, whom, purpose, now, 0, 9000, ledger);
  }
  Verdict Verify(const Keyring& ring, const Code& code) {
    const Challenge challenge = Challenge::Open(ring, code.context);
    const Payload& payload = challenge.payload();
    const Caller caller{.identifier = SubjectOf(challenge.key(), kIdentifierUse, payload.identifier, payload.purpose),
                        .network = {}};
    return VerifyCode(challenge, code.code, payload.purpose, now, {}, caller, ledger).verdict;
  }
  // Store puts an epoch into the ledger as another host would.
  void Store(const RingKey& key, Instant epoch) {
    ASSERT_TRUE(ledger.Advance({'e', SubjectOf(key, kIdentifierUse, kUser, "login")}, epoch, 9000, now));
  }

  UnixTime now = FreshSecond();
  ProcessLedger ledger{10'000};
};

TEST(AdvanceEpochTest, KillsWhatIsOlderAndNothingThatIsNewerInEveryOrder) {
  // Every sequence of six issues and revocations, while the clock stands still.
  constexpr int kSteps = 6;
  const Keyring ring = TestRing({1});
  for (unsigned order = 0; order < 1U << kSteps; ++order) {
    Hosts hosts;
    std::vector<std::pair<Hosts::Code, int>> codes;
    int last_revocation = -1;
    for (int step = 0; step < kSteps; ++step) {
      if ((order >> step & 1U) != 0) {
        (void)hosts.RevokeAll(ring);
        last_revocation = step;
      } else {
        codes.emplace_back(hosts.Issue(ring), step);
      }
    }
    for (const auto& [code, step] : codes) {
      ASSERT_EQ(hosts.Verify(ring, code), step < last_revocation ? Verdict::kRevoked : Verdict::kVerified)
          << "order " << order << ", step " << step;
    }
  }
}

TEST(AdvanceEpochTest, ReturnsAnInstantFromWhichOnCodesAreGood) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  const Hosts::Code older = hosts.Issue(ring);
  const Instant instant = hosts.RevokeAll(ring);
  EXPECT_EQ(hosts.Verify(ring, older), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(ring, instant - 1)), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(ring, instant)), Verdict::kVerified);
  EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(ring, instant + 1)), Verdict::kVerified);
}

TEST(AdvanceEpochTest, IsTheInstantOfNowIfNobodyWasHereBefore) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  EXPECT_EQ(AdvanceEpoch(ring, kUser, "login", hosts.now, 123'456, 9000, hosts.ledger), InstantOf(hosts.now, 123'456));
  EXPECT_EQ(AdvanceEpoch(ring, kUser, "login", hosts.now, 123'456, 9000, hosts.ledger), InstantOf(hosts.now, 123'457));
  EXPECT_EQ(AdvanceEpoch(ring, kUser, "login", hosts.now + 1, 7, 9000, hosts.ledger), InstantOf(hosts.now + 1, 7));
}

TEST(AdvanceEpochTest, IsOfThisIdentifierAndPurposeOnly) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  const std::vector<std::tuple<Identifier, std::string>> others = {
      {"other@example.com"s, "login"}, {kUser, "reset"}, {kUser, ""},
      {std::int64_t{42}, "login"},     {"42"s, "login"}, {""s, "login"}};
  std::vector<Hosts::Code> codes;
  for (const auto& [whom, purpose] : others) codes.push_back(hosts.Issue(ring, whom, purpose));
  const Hosts::Code own = hosts.Issue(ring);
  (void)hosts.RevokeAll(ring);
  EXPECT_EQ(hosts.Verify(ring, own), Verdict::kRevoked);
  for (const Hosts::Code& code : codes) EXPECT_EQ(hosts.Verify(ring, code), Verdict::kVerified);

  const Hosts::Code number = hosts.Issue(ring, std::int64_t{42});
  const Hosts::Code digits = hosts.Issue(ring, "42"s);
  (void)hosts.RevokeAll(ring, std::int64_t{42});
  EXPECT_EQ(hosts.Verify(ring, number), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, digits), Verdict::kVerified);
}

TEST(AdvanceEpochTest, IsNotLookedAtForNobody) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  const Hosts::Code code = hosts.Issue(ring);
  (void)hosts.RevokeAll(ring);
  EXPECT_EQ(
      VerifyCode(Challenge::Open(ring, code.context), code.code, "login", hosts.now, {}, {}, hosts.ledger).verdict,
      Verdict::kVerified);
}

TEST(AdvanceEpochTest, HoldsUnderEveryKeyOfTheRing) {
  Hosts hosts;
  const Keyring full = TestRing({1, 2, 3, 4, 5, 6, 7, 8});
  std::vector<Hosts::Code> codes;
  for (std::uint8_t fill = 1; fill <= 8; ++fill) codes.push_back(hosts.Issue(TestRing({fill})));
  (void)hosts.RevokeAll(full);
  for (const Hosts::Code& code : codes) EXPECT_EQ(hosts.Verify(full, code), Verdict::kRevoked);
  for (std::uint8_t fill = 1; fill <= 8; ++fill) {
    const Hosts::Code later = hosts.Issue(TestRing({fill}));
    EXPECT_EQ(hosts.Verify(full, later), Verdict::kVerified);
  }
}

TEST(AdvanceEpochTest, HoldsAcrossARotation) {
  // A key is added, promoted and dropped, one host after the other. Whoever revokes, whoever issued, whoever asks.
  const Keyring old = TestRing({1});
  const Keyring added = TestRing({1, 2});
  const Keyring promoted = TestRing({2, 1});
  for (const Keyring* const issuer : {&old, &added, &promoted}) {
    for (const Keyring* const revoker : {&added, &promoted}) {
      for (const Keyring* const verifier : {&added, &promoted}) {
        Hosts hosts;
        const Hosts::Code before = hosts.Issue(*issuer);
        (void)hosts.RevokeAll(*revoker);
        const Hosts::Code after = hosts.Issue(*issuer);
        EXPECT_EQ(hosts.Verify(*verifier, before), Verdict::kRevoked);
        EXPECT_EQ(hosts.Verify(*verifier, after), Verdict::kVerified);
      }
    }
  }
  // Revoked before the new key was known: what the old key sealed stays revoked when it is a fallback.
  Hosts hosts;
  const Hosts::Code before = hosts.Issue(old);
  (void)hosts.RevokeAll(old);
  EXPECT_EQ(hosts.Verify(promoted, before), Verdict::kRevoked);
}

TEST(AdvanceEpochTest, WritesOneInstantUnderEachKeyForAsLongAsAskedFor) {
  const Keyring ring = TestRing({2, 1, 3});
  Hosts hosts;
  RecordingLedger recording(hosts.ledger);
  const Instant instant = AdvanceEpoch(ring, kUser, "login", hosts.now, 0, 4567, recording);
  ASSERT_EQ(recording.advances.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const RecordingLedger::Advanced& advanced = recording.advances[i];
    EXPECT_EQ(advanced.mark, (LedgerKey{'e', SubjectOf(*ring.keys()[i], kIdentifierUse, kUser, "login")}));
    EXPECT_EQ(advanced.value, instant);
    EXPECT_EQ(advanced.ttl, 4567);
    EXPECT_TRUE(advanced.releases.empty());
  }
  EXPECT_TRUE(recording.takes.empty());
}

TEST(AdvanceEpochTest, CatchesUpWithAHostWhoseClockIsAhead) {
  const Keyring ring = TestRing({1});
  for (const Instant ahead : {Instant{0}, Instant{1}, Instant{2}, Instant{3}, Instant{1000}, InstantOf(1, 0),
                              InstantOf(60, 0), InstantOf(299, 0), InstantOf(299, kMaxPlace), InstantOf(300, 0)}) {
    Hosts hosts;
    const Instant stored = InstantOf(hosts.now, 0) + ahead;
    hosts.Store(*ring.primary(), stored);
    const Hosts::Code of_that_host = hosts.IssueAt(ring, stored);  // Good by its own epoch, and older than ours.
    EXPECT_EQ(hosts.Verify(ring, of_that_host), Verdict::kVerified);
    const Hosts::Code another = hosts.IssueAt(ring, stored);
    const Instant instant = hosts.RevokeAll(ring);
    EXPECT_GT(instant, stored) << ahead;
    EXPECT_LE(instant, InstantOf(hosts.now, 0) + 2 * ahead + 1) << "and no farther than twice as far";
    EXPECT_EQ(hosts.Verify(ring, another), Verdict::kRevoked) << ahead;
    EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(ring, instant)), Verdict::kVerified) << ahead;
  }
}

TEST(AdvanceEpochTest, WhatIsIssuedAfterCatchingUpIsGood) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  hosts.Store(*ring.primary(), InstantOf(hosts.now, 1000));
  (void)hosts.RevokeAll(ring);
  EXPECT_EQ(hosts.Verify(ring, hosts.Issue(ring)), Verdict::kVerified)
      << "in the same second, by this host's own order";
}

TEST(AdvanceEpochTest, DoesNotCatchUpWithAClockThatCannotBeRight) {
  const Keyring ring = TestRing({2, 1});
  for (const Instant ahead : {InstantOf(600, 0), InstantOf(3600, 0), InstantOf(1'000'000, 0)}) {
    Hosts hosts;
    const Hosts::Code code = hosts.Issue(ring);
    const Instant stored = InstantOf(hosts.now, 0) + ahead;
    hosts.Store(*ring.primary(), stored);
    RecordingLedger recording(hosts.ledger);
    EXPECT_TRUE(ThrowsError(ErrorCode::kClockBehind,
                            [&] { (void)AdvanceEpoch(ring, kUser, "login", hosts.now, 0, 9000, recording); }));
    EXPECT_LE(recording.advances.size(), 32U) << "it does not try for ever";
    for (const RecordingLedger::Advanced& advanced : recording.advances) {
      EXPECT_EQ(advanced.mark, recording.advances[0].mark) << "no other key's epoch was touched";
    }
    EXPECT_EQ(hosts.Verify(ring, code), Verdict::kRevoked) << "by the other host's epoch";
    EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(ring, stored)), Verdict::kVerified) << "which did not move";
  }
}

TEST(AdvanceEpochTest, CatchingUpAgainAndAgainDoesNotRunAway) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  hosts.Store(*ring.primary(), InstantOf(hosts.now + 200, 0));
  Instant last = 0;
  for (int i = 0; i < 100; ++i) {
    const Instant instant = hosts.RevokeAll(ring);
    EXPECT_GT(instant, last);
    EXPECT_LE(instant, InstantOf(hosts.now + 300, 0));
    last = instant;
  }
}

TEST(AdvanceEpochTest, FallbacksEpochThatIsAheadStays) {
  const Keyring ring = TestRing({2, 1});
  Hosts hosts;
  const Hosts::Code under_fallback = hosts.Issue(TestRing({1}));
  const Hosts::Code under_primary = hosts.Issue(ring);
  const Instant stored = InstantOf(hosts.now + 3600, 0);
  hosts.Store(*ring.keys()[1], stored);
  (void)hosts.RevokeAll(ring);
  EXPECT_EQ(hosts.Verify(ring, under_primary), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, under_fallback), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(TestRing({1}), stored - 1)), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, hosts.Issue(ring)), Verdict::kVerified);
}

TEST(AdvanceEpochTest, ThrowsWhatALedgerThrows) {
  // Also if only a fallback's epoch could not be written: half a revocation is none to rely on.
  const Keyring ring = TestRing({3, 2, 1});
  for (int good_calls = 0; good_calls <= 3; ++good_calls) {
    Hosts hosts;
    BrokenLedger broken(hosts.ledger, good_calls);
    const auto advance = [&] { (void)AdvanceEpoch(ring, kUser, "login", hosts.now, 0, 9000, broken); };
    if (good_calls < 3) {
      EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull, advance)) << good_calls;
    } else {
      EXPECT_NO_THROW(advance());
    }
  }
}

TEST(AdvanceEpochTest, GivesUpOnALedgerThatNeverAdvances) {
  class Stuck final : public Ledger {
   public:
    std::variant<Taken, Denied> Take(std::span<const Claim> /*claims*/, std::span<const Barrier> /*barriers*/,
                                     UnixTime /*now*/) override {
      return Taken{};
    }
    bool Advance(const LedgerKey& /*mark*/, std::int64_t /*value*/, std::int64_t /*ttl*/, UnixTime /*now*/,
                 std::span<const Release> /*releases*/) override {
      ++calls;
      return false;
    }
    void GiveBack(const Release& /*release*/, UnixTime /*now*/) override {}
    int calls = 0;
  };
  Stuck stuck;
  Hosts hosts;
  EXPECT_TRUE(ThrowsError(ErrorCode::kClockBehind,
                          [&] { (void)AdvanceEpoch(TestRing({1}), kUser, "login", hosts.now, 0, 9000, stuck); }));
  EXPECT_LE(stuck.calls, 32);
}

TEST(AdvanceEpochTest, FullLedgerDoesNotRevokeInSilence) {
  const Keyring ring = TestRing({2, 1});
  ProcessLedger small(1);
  Hosts hosts;
  EXPECT_TRUE(ThrowsError(ErrorCode::kLedgerFull,
                          [&] { (void)AdvanceEpoch(ring, kUser, "login", hosts.now, 0, 9000, small); }));
}

TEST(AdvanceEpochTest, SecondThatIsUsedUpEndsWithTheRevocation) {
  // The last place of a second may be many codes'. None of them outlives a revocation.
  const Keyring ring = TestRing({1});
  Hosts hosts;
  while (NextInstant(hosts.now, 999'999) < InstantOf(hosts.now, kMaxPlace)) {
  }
  const Hosts::Code one = hosts.Issue(ring);
  const Hosts::Code twin = hosts.Issue(ring);
  ASSERT_EQ(Challenge::Open(ring, one.context).issued_at(), Challenge::Open(ring, twin.context).issued_at());
  EXPECT_EQ(hosts.Verify(ring, one), Verdict::kVerified);
  const Instant instant = hosts.RevokeAll(ring);
  EXPECT_EQ(instant, InstantOf(hosts.now + 1, 0));
  EXPECT_EQ(hosts.Verify(ring, twin), Verdict::kRevoked);
  EXPECT_EQ(hosts.Verify(ring, hosts.IssueAt(ring, instant)), Verdict::kVerified);
  EXPECT_GT(hosts.RevokeAll(ring), instant) << "and again";
}

TEST(AdvanceEpochTest, EpochThatExpiredRevokesNothingMore) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  const Hosts::Code code = hosts.Issue(ring);
  (void)AdvanceEpoch(ring, kUser, "login", hosts.now, 0, 50, hosts.ledger);
  hosts.now += 49;
  EXPECT_EQ(hosts.Verify(ring, code), Verdict::kRevoked);
  hosts.now += 1;
  EXPECT_EQ(hosts.Verify(ring, code), Verdict::kVerified) << "so the caller asks for as long as a challenge lives";
}

TEST(AdvanceEpochTest, LegacyContextsCountFromTheBeginOfTheirSecond) {
  const Keyring ring = TestRing({1});
  for (const std::int64_t micros : {1, 999'999}) {
    Hosts hosts;
    const std::string second = std::to_string(hosts.now);
    const std::string context = ring.Seal(
        AsBytes(R"({"identifier": "user@example.com", )"
                R"("otp_hash": "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92", "metadata": {}, )"
                R"("timestamp": )" +
                second + R"(.75, "otp_expiry": )" + std::to_string(hosts.now + 300) + R"(.75, "session_expiry": )" +
                std::to_string(hosts.now + 900) + R"(.75, "retry_count": 0, "max_retries": 3})"),
        0);
    (void)AdvanceEpoch(ring, kUser, "", hosts.now - 1, 999'999, 9000, hosts.ledger);
    const Hosts::Code code{context, "123456"};
    EXPECT_EQ(
        CountAttempt(Challenge::Open(ring, context), hosts.now, {},
                     {.identifier = SubjectOf(*ring.primary(), kIdentifierUse, kUser, ""), .network = {}}, hosts.ledger)
            .verdict,
        Verdict::kAdmitted)
        << "a revocation of the second before does not reach it";
    (void)AdvanceEpoch(ring, kUser, "", hosts.now, micros, 9000, hosts.ledger);
    EXPECT_EQ(hosts.Verify(ring, code), Verdict::kRevoked) << "one in the same second does";
  }
}

TEST(AdvanceEpochTest, ReachesACodeUnderWayThatMayBeUsedAgain) {
  const Keyring ring = TestRing({1});
  Hosts hosts;
  const Hosts::Code code = hosts.Issue(ring);
  HookedLedger hooked(hosts.ledger);
  hooked.after_take = [&] { (void)hosts.RevokeAll(ring); };
  const Challenge challenge = Challenge::Open(ring, code.context);
  const Caller caller{.identifier = SubjectOf(challenge.key(), kIdentifierUse, kUser, "login"), .network = {}};
  EXPECT_EQ(VerifyCode(challenge, code.code, "login", hosts.now, PolicyOf(false), caller, hooked).verdict,
            Verdict::kRevoked);
}

TEST(AdvanceEpochTest, OneOfManyThatSupersedeEachOtherIsLeft) {
  // What a resend does: revoke what was, and issue at the instant of the revocation. The clock stands still.
  const Alarm alarm;
  for (int round = 0; round < 20; ++round) {
    const Keyring ring = TestRing({2, 1});
    Hosts hosts;
    std::vector<Hosts::Code> codes(16);
    std::vector<Instant> instants(16);
    RunTogether(16, [&](std::size_t i) {
      for (int n = 0; n < 5; ++n) {
        instants[i] = hosts.RevokeAll(ring);
        codes[i] = hosts.IssueAt(ring, instants[i]);
      }
    });
    int verified = 0;
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const bool last = instants[i] == std::ranges::max(instants);
      const Verdict verdict = hosts.Verify(ring, codes[i]);
      ASSERT_EQ(verdict, last ? Verdict::kVerified : Verdict::kRevoked);
      verified += verdict == Verdict::kVerified;
    }
    ASSERT_EQ(verified, 1) << "no two were given the same instant";
  }
}

TEST(AdvanceEpochTest, NobodyIsVerifiedAfterThoseWhoSupersededHim) {
  // Each thread supersedes and then tries the code of the one before it, which it has revoked.
  const Alarm alarm;
  const Keyring ring = TestRing({1});
  Hosts hosts;
  std::atomic<int> verified{0};
  RunTogether(16, [&](std::size_t) {
    Hosts::Code mine = hosts.IssueAt(ring, hosts.RevokeAll(ring));
    for (int n = 0; n < 20; ++n) {
      const Hosts::Code older = std::exchange(mine, hosts.IssueAt(ring, hosts.RevokeAll(ring)));
      verified += hosts.Verify(ring, older) != Verdict::kRevoked;
    }
  });
  EXPECT_EQ(verified, 0);
}

}  // namespace
}  // namespace otp_actions
