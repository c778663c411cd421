// The ledger port: who counted what. Two atomic primitives and an undo; every backend is one class.

#ifndef OTP_ACTIONS_LEDGER_H_
#define OTP_ACTIONS_LEDGER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "otp_actions/bytes.h"

namespace otp_actions {

// LedgerKey names a counter or a mark: one byte for the kind and 128 bits for whom.
struct LedgerKey {
  std::uint8_t kind = 0;
  std::array<std::uint8_t, kIdSize> id{};

  friend bool operator==(const LedgerKey&, const LedgerKey&) = default;
};

// Claim asks for one unit of `bucket`, which holds at most `limit`. The bucket lives `ttl` seconds from its first unit.
struct Claim {
  LedgerKey bucket;
  std::int64_t limit = 0;
  std::int64_t ttl = 0;
};

// Barrier forbids a take while `mark` holds a value greater than `above`.
struct Barrier {
  LedgerKey mark;
  std::int64_t above = -1;
};

// Release gives back what a claim took: 1 unit undoes one take, as many as the claim's limit empty the bucket.
struct Release {
  Claim claim;
  std::int64_t units = 1;
};

// Taken holds each bucket's count after the take, in the order of the claims.
struct Taken {
  std::vector<std::int64_t> counts;
};

// Denied names the first barrier or claim that stood in the way: an index into the barriers, then into the claims.
struct Denied {
  std::size_t index = 0;
  std::int64_t retry_after = 0;  // Seconds until that entry expires; 0 if it has none yet (a limit of 0).
};

// Ledger is what the rule needs of a backend. Every operation is atomic against every other on the same keys. It throws
// if it cannot tell; nothing may be accepted then.
class Ledger {
 public:
  virtual ~Ledger() = default;

  // Take takes one unit of every claim or of none, and never goes above a limit. Barriers are looked at first, in the
  // same atomic step.
  [[nodiscard]] virtual std::variant<Taken, Denied> Take(std::span<const Claim> claims,
                                                         std::span<const Barrier> barriers, UnixTime now) = 0;

  // Advance stores `value` under `mark` for `ttl` seconds if it is greater than what is stored, and says whether it
  // did. If so, `releases` are given back in the same atomic step; if not, nothing is.
  [[nodiscard]] virtual bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                                     std::span<const Release> releases) = 0;
  [[nodiscard]] bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now) {
    return Advance(mark, value, ttl, now, {});
  }

  // GiveBack takes the units from the claim's bucket, down to 0, if that holds from 1 to the claim's limit. A mark that
  // was set there since is above the limit and stays.
  virtual void GiveBack(const Release& release, UnixTime now) = 0;
};

// NoLedger counts nothing and remembers nothing: what a context says of itself is all there is. Only a limit of 0
// denies.
class NoLedger final : public Ledger {
 public:
  [[nodiscard]] std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                                 UnixTime now) override;
  using Ledger::Advance;
  [[nodiscard]] bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                             std::span<const Release> releases) override;
  void GiveBack(const Release& release, UnixTime now) override;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_LEDGER_H_
