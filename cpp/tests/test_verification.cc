#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"
#include "otp_actions/process_ledger.h"
#include "otp_actions/verification.h"

namespace otp_actions {
namespace {

using namespace std::string_literals;
using testing::TestRing;
using testing::ThrowsError;

constexpr UnixTime kNow = 1'700'000'100;

// Case is an issued challenge with its code and a ledger of its own.
struct Case {
  explicit Case(std::int64_t max_retries = 3)
      : ring(TestRing({1})), issued(IssueChallenge(ring, Request(max_retries), 6)) {}

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
    return VerifyCode(challenge(), code, purpose, now, policy, ledger);
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
  bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now) override {
    return inner_.Advance(mark, value, ttl, now);
  }
  void GiveBack(const Claim& claim, UnixTime now) override { inner_.GiveBack(claim, now); }

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
  bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now) override {
    Count();
    return inner_.Advance(mark, value, ttl, now);
  }
  void GiveBack(const Claim& claim, UnixTime now) override {
    Count();
    inner_.GiveBack(claim, now);
  }

 private:
  void Count() {
    if (left_-- <= 0) throw Error(ErrorCode::kLedgerFull);
  }
  Ledger& inner_;
  int left_;
};

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
  EXPECT_EQ(VerifyCode(legacy, "123456", "", kNow, {.accept_legacy = false}, c.ledger).verdict,
            Verdict::kRefusedLegacy);
  EXPECT_EQ(VerifyCode(legacy, "123456", "login", kNow, {}, c.ledger).verdict, Verdict::kWrongPurpose);
  EXPECT_EQ(VerifyCode(legacy, "123456", "", kNow, {}, c.ledger).verdict, Verdict::kVerified);
  EXPECT_EQ(VerifyCode(legacy, "123456", "", kNow, {}, c.ledger).verdict, Verdict::kUsed);
}

TEST(VerifyCodeTest, AttemptsMadeCountWhatTheContextSays) {
  // A ledger that started afresh, and a context that has been through two attempts.
  Case c;
  const Challenge second = Challenge::Open(c.ring, c.challenge().Reseal(2, kNow));
  const Verification verification = VerifyCode(second, c.wrong(), "login", kNow, {}, c.ledger);
  EXPECT_EQ(verification.verdict, Verdict::kWrongCode);
  EXPECT_EQ(verification.attempts_made, 3);
  // And a context that is behind the ledger.
  EXPECT_EQ(c.Verify(c.wrong()).attempts_made, 2);
}

TEST(VerifyCodeTest, WithoutSingleUseARightCodeStaysGoodAndCostsNothing) {
  Case c;
  const Policy policy{.single_use = false};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(c.Verify(c.right(), kNow, "login", policy).verdict, Verdict::kVerified);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(c.Verify(c.wrong(), kNow, "login", policy).verdict, Verdict::kWrongCode);
  EXPECT_EQ(c.Verify(c.right(), kNow, "login", policy).verdict, Verdict::kExhausted);
}

TEST(VerifyCodeTest, NothingIsAcceptedIfTheLedgerCannotTell) {
  for (const bool single_use : {true, false}) {
    for (int good_calls = 0; good_calls < 2; ++good_calls) {
      Case c;
      BrokenLedger broken(c.ledger, good_calls);
      EXPECT_TRUE(ThrowsError(
          ErrorCode::kLedgerFull,
          [&] { (void)VerifyCode(c.challenge(), c.right(), "login", kNow, {.single_use = single_use}, broken); }))
          << single_use << good_calls;
    }
  }
}

TEST(VerifyCodeTest, NoLedgerLeavesOnlyWhatTheContextSays) {
  Case c;
  NoLedger none;
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, {}, none).verdict, Verdict::kVerified);
  const Challenge last = Challenge::Open(c.ring, c.challenge().Reseal(3, kNow));
  EXPECT_EQ(VerifyCode(last, c.right(), "login", kNow, {}, none).verdict, Verdict::kExhausted);
  const Challenge second = Challenge::Open(c.ring, c.challenge().Reseal(1, kNow));
  EXPECT_EQ(VerifyCode(second, c.wrong(), "login", kNow, {}, none).attempts_made, 2);
}

TEST(VerifyCodeTest, DecoyIsAnsweredLikeAWrongCode) {
  Case c;
  const Challenge decoy = Challenge::Open(c.ring, IssueDecoy(c.ring, Case::Request(3)));
  for (std::int64_t made = 1; made <= 3; ++made) {
    const Verification verification = VerifyCode(decoy, "123456", "login", kNow, {}, c.ledger);
    EXPECT_EQ(verification.verdict, Verdict::kWrongCode);
    EXPECT_EQ(verification.attempts_made, made);
  }
  EXPECT_EQ(VerifyCode(decoy, "123456", "login", kNow, {}, c.ledger).verdict, Verdict::kExhausted);
}

TEST(VerifyCodeTest, OneOfManyThreadsIsVerified) {
  alarm(60);
  for (int round = 0; round < 30; ++round) {
    Case c(64);
    const Challenge challenge = c.challenge();
    std::atomic<int> verified{0};
    std::atomic<int> used{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 16; ++i) {
      threads.emplace_back([&] {
        const Verdict verdict = VerifyCode(challenge, c.right(), "login", kNow, {}, c.ledger).verdict;
        verified += verdict == Verdict::kVerified;
        used += verdict == Verdict::kUsed;
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(verified, 1);
    ASSERT_EQ(used, 15);
  }
  alarm(0);
}

TEST(VerifyCodeTest, ManyThreadsBuyNoComparisonMore) {
  alarm(60);
  Case c(5);
  const Challenge challenge = c.challenge();
  const std::uint64_t before = MatchCount();
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&] { (void)VerifyCode(challenge, c.wrong(), "login", kNow, {}, c.ledger); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(MatchCount() - before, 5U);
  alarm(0);
}

TEST(VerifyCodeTest, UsedWhileThisOneWasUnderWayIsUsed) {
  Case c;
  HookedLedger hooked(c.ledger);
  hooked.after_take = [&] { EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kVerified); };
  EXPECT_EQ(VerifyCode(c.challenge(), c.right(), "login", kNow, {}, hooked).verdict, Verdict::kUsed);
}

TEST(CountAttemptTest, CountsLikeAVerificationAndComparesNothing) {
  Case c;
  const std::uint64_t comparisons = MatchCount();
  for (std::int64_t made = 1; made <= 3; ++made) {
    const Verification counted = CountAttempt(c.challenge(), kNow, c.ledger);
    EXPECT_EQ(counted.verdict, Verdict::kAdmitted);
    EXPECT_EQ(counted.attempts_made, made);
  }
  EXPECT_EQ(CountAttempt(c.challenge(), kNow, c.ledger).verdict, Verdict::kExhausted);
  EXPECT_EQ(c.Verify(c.right()).verdict, Verdict::kExhausted);
  EXPECT_EQ(MatchCount(), comparisons);
}

TEST(RevokeTest, NothingIsVerifiedAfterwards) {
  for (const bool single_use : {true, false}) {
    Case c;
    Revoke(c.challenge(), kNow, c.ledger);
    Revoke(c.challenge(), kNow, c.ledger);  // Again is as good as once.
    EXPECT_EQ(c.Verify(c.right(), kNow, "login", {.single_use = single_use}).verdict, Verdict::kRevoked);
    EXPECT_EQ(CountAttempt(c.challenge(), kNow, c.ledger).verdict, Verdict::kRevoked);
  }
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
    const Policy policy{.single_use = single_use};
    HookedLedger hooked(c.ledger);
    hooked.after_take = [&] { Revoke(c.challenge(), kNow, c.ledger); };
    EXPECT_NE(static_cast<int>(VerifyCode(c.challenge(), c.right(), "login", kNow, policy, hooked).verdict),
              static_cast<int>(Verdict::kVerified))
        << single_use;
    EXPECT_EQ(c.Verify(c.right(), kNow, "login", policy).verdict, Verdict::kRevoked)
        << "what was under way must not have undone the revocation; single_use " << single_use;
  }
}

TEST(RevokeTest, IsOfThisChallengeOnly) {
  Case c;
  const Issued other = IssueChallenge(c.ring, Case::Request(3), 6);
  Revoke(c.challenge(), kNow, c.ledger);
  EXPECT_EQ(VerifyCode(Challenge::Open(c.ring, other.context), other.code.text(), "login", kNow, {}, c.ledger).verdict,
            Verdict::kVerified);
}

}  // namespace
}  // namespace otp_actions
