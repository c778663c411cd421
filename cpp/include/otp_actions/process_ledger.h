// The ledger of one process: a bounded table of counters and marks that expire.

#ifndef OTP_ACTIONS_PROCESS_LEDGER_H_
#define OTP_ACTIONS_PROCESS_LEDGER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "otp_actions/bytes.h"
#include "otp_actions/ledger.h"

namespace otp_actions {

// ProcessLedger counts exactly, in one process: every operation is atomic against every other on the same keys.
// It grows with use up to `capacity` live entries of at most 64 bytes and never drops a live entry: when full, it
// refuses new ones. What it does not do: it knows nothing of other processes, and forgets everything at exit. A forked
// child goes on with a copy. Safe from any thread; its locks are never held across fork.
class ProcessLedger final : public Ledger {
 public:
  static constexpr std::size_t kMaxKeysPerTake = 8;  // Claims and barriers together.

  // Throws std::invalid_argument if `capacity` is 0 or more than 2^30.
  explicit ProcessLedger(std::size_t capacity);
  ~ProcessLedger() override;
  ProcessLedger(const ProcessLedger&) = delete;
  ProcessLedger& operator=(const ProcessLedger&) = delete;

  // Take takes one unit of every claim or of none, and never goes above a limit. Barriers are looked at first, in the
  // same atomic step. Throws Error{kLedgerFull} if a new bucket has no room (nothing is taken then), and
  // std::invalid_argument for more than kMaxKeysPerTake keys, a bucket named twice or a ttl below 1.
  [[nodiscard]] std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                                 UnixTime now) override;

  // Throws Error{kLedgerFull} if a new mark has no room, and std::invalid_argument for a ttl below 1.
  using Ledger::Advance;
  [[nodiscard]] bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                             std::span<const Release> releases) override;

  // Nothing happens if the bucket is gone.
  void GiveBack(const Release& release, UnixTime now) override;

  // size is the number of entries held, expired ones that have not been swept yet among them.
  [[nodiscard]] std::size_t size() const { return size_.load(); }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  // memory is the number of bytes allocated for entries and their index.
  [[nodiscard]] std::size_t memory() const;

 private:
  class Shard;
  class Locks;
  static constexpr std::size_t kShards = 16;

  static constexpr std::uint32_t kAllShards = (1U << kShards) - 1;

  [[nodiscard]] static std::size_t ShardOf(const LedgerKey& key) { return key.id[0] % kShards; }
  // TryTake and TryAdvance return nothing if there is no room.
  [[nodiscard]] std::optional<std::variant<Taken, Denied>> TryTake(std::span<const Claim> claims,
                                                                   std::span<const Barrier> barriers, UnixTime now);
  [[nodiscard]] std::optional<bool> TryAdvance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl,
                                               UnixTime now, std::span<const Release> releases);
  // ReleaseLocked does one release; its shard is locked.
  void ReleaseLocked(const Release& release, UnixTime now);
  // Reserve makes room for `wanted` new entries, or for none. Insert fills one reserved place; its shard is locked.
  [[nodiscard]] bool Reserve(std::size_t wanted);
  void Insert(const LedgerKey& key, std::int64_t value, std::int64_t ttl, UnixTime now);
  // SweepAll frees what has expired, and says whether there was anything.
  [[nodiscard]] bool SweepAll(UnixTime now);

  std::size_t capacity_;
  std::unique_ptr<Shard[]> shards_;
  std::atomic<std::size_t> size_{0};
  std::atomic<UnixTime> last_sweep_{std::numeric_limits<UnixTime>::min()};

  friend void LockAllLedgers();
  friend void UnlockAllLedgers();
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_PROCESS_LEDGER_H_
