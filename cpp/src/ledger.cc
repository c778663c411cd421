#include "otp_actions/ledger.h"

namespace otp_actions {

std::variant<Taken, Denied> NoLedger::Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                           UnixTime /*now*/) {
  for (std::size_t i = 0; i < claims.size(); ++i) {
    if (claims[i].limit < 1) return Denied{.index = barriers.size() + i, .retry_after = 0};
  }
  return Taken{.counts = std::vector<std::int64_t>(claims.size(), 0)};
}

bool NoLedger::Advance(const LedgerKey& /*mark*/, std::int64_t /*value*/, std::int64_t /*ttl*/, UnixTime /*now*/,
                       std::span<const Release> /*releases*/) {
  return true;
}

void NoLedger::GiveBack(const Release& /*release*/, UnixTime /*now*/) {}

}  // namespace otp_actions
