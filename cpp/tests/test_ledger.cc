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
  ledger.GiveBack({.bucket = mark, .limit = 1, .ttl = 60}, 0);
  const std::array barriers = {Barrier{.mark = mark}};
  EXPECT_TRUE(std::holds_alternative<Taken>(ledger.Take({}, barriers, 0)));
}

}  // namespace
}  // namespace otp_actions
