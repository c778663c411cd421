#include <gtest/gtest.h>

#include <array>
#include <variant>
#include <vector>

#include "otp_actions/ledger.h"

namespace otp_actions {
namespace {

// What a ledger promises is shown where one keeps it: test_process_ledger.cc. Here is the one that promises nothing.

TEST(NoLedgerTest, OnlyALimitOfZeroDenies) {
  NoLedger ledger;
  const Claim one{.bucket = {.kind = 1}, .limit = 1, .ttl = 60};
  const Claim none{.bucket = {.kind = 2}, .limit = 0, .ttl = 60};
  for (int i = 0; i < 5; ++i) {
    const std::variant<Taken, Denied> result = ledger.Take(std::array{one, one}, {}, 0);
    ASSERT_TRUE(std::holds_alternative<Taken>(result));
    EXPECT_EQ(std::get<Taken>(result).counts.size(), 2U);
  }
  const std::array barriers = {Barrier{.mark = {.kind = 3}}};
  const std::variant<Taken, Denied> result = ledger.Take(std::array{one, none}, barriers, 0);
  ASSERT_TRUE(std::holds_alternative<Denied>(result));
  EXPECT_EQ(std::get<Denied>(result).index, 2U) << "claims are numbered after the barriers";
  EXPECT_EQ(std::get<Denied>(result).retry_after, 0);
}

TEST(NoLedgerTest, RemembersNothing) {
  NoLedger ledger;
  const LedgerKey mark{.kind = 1};
  EXPECT_TRUE(ledger.Advance(mark, 1, 60, 0));
  EXPECT_TRUE(ledger.Advance(mark, 1, 60, 0));
  const std::array releases = {Release{.claim = {.bucket = mark, .limit = 1, .ttl = 60}}};
  EXPECT_TRUE(ledger.Advance(mark, 1, 60, 0, releases));
  EXPECT_TRUE(ledger.Advance(mark, 0, 60, 0, releases));
  ledger.GiveBack({.claim = {.bucket = mark, .limit = 1, .ttl = 60}}, 0);
  const std::array barriers = {Barrier{.mark = mark}};
  EXPECT_TRUE(std::holds_alternative<Taken>(ledger.Take({}, barriers, 0)));
}

TEST(LedgerTest, AdvanceWithoutReleasesReleasesNothing) {
  // The short form reaches every backend in the long one.
  class Counting final : public Ledger {
   public:
    std::variant<Taken, Denied> Take(std::span<const Claim> /*claims*/, std::span<const Barrier> /*barriers*/,
                                     UnixTime /*now*/) override {
      return Taken{};
    }
    using Ledger::Advance;
    bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                 std::span<const Release> releases) override {
      return mark == LedgerKey{.kind = 1} && value == 2 && ttl == 3 && now == 4 && releases.empty();
    }
    void GiveBack(const Release& /*release*/, UnixTime /*now*/) override {}
  };
  Counting ledger;
  EXPECT_TRUE(ledger.Advance({.kind = 1}, 2, 3, 4));
}

TEST(LedgerTest, ReleaseAsWrittenUndoesOneTake) { EXPECT_EQ(Release{}.units, 1); }

}  // namespace
}  // namespace otp_actions
