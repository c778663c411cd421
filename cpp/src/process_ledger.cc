#include "otp_actions/process_ledger.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <mutex>
#include <stdexcept>

#include "otp_actions/error.h"

namespace otp_actions {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;

// Entries lie in blocks that are added one at a time, so growing copies nothing and wastes at most one block.
constexpr std::size_t kBlockEntries = 256;

// This many entries are looked at on every insert, and freed if expired: that keeps a ledger whose clock moves on at
// the size of what is alive.
constexpr int kSweepPerInsert = 4;

std::int64_t Expiry(UnixTime now, std::int64_t ttl) {
  std::int64_t expiry = 0;
  return __builtin_add_overflow(now, ttl, &expiry) ? std::numeric_limits<std::int64_t>::max() : expiry;
}

}  // namespace

// Shard is a hash table with chains: `heads_` are indices into the entries, and so is each entry's `next`. Not locked
// itself: see Locks.
class ProcessLedger::Shard {
 public:
  struct Entry {
    std::int64_t value = 0;
    UnixTime expiry = 0;
    LedgerKey key;
    bool used = false;
    std::uint32_t next = kNone;
  };
  static_assert(sizeof(Entry) <= 40);

  std::mutex mutex;

  // Find returns the live entry of `key`, or null.
  Entry* Find(const LedgerKey& key, UnixTime now) {
    const std::uint32_t index = IndexOf(key);
    return index != kNone && now < At(index).expiry ? &At(index) : nullptr;
  }

  // Insert makes an entry for `key`, which has no live one, and returns how many expired entries it freed on the way.
  std::size_t Insert(const LedgerKey& key, std::int64_t value, UnixTime expiry, UnixTime now) {
    std::size_t freed = Sweep(kSweepPerInsert, now);
    if (const std::uint32_t expired = IndexOf(key); expired != kNone) {
      Remove(expired);
      ++freed;
    }
    if (free_ == kNone) Grow();
    const std::uint32_t index = free_;
    free_ = At(index).next;
    std::uint32_t& head = HeadOf(key);
    At(index) = {.value = value, .expiry = expiry, .key = key, .used = true, .next = head};
    head = index;
    return freed;
  }

  // SweepAll frees every expired entry and returns how many there were.
  std::size_t SweepAll(UnixTime now) { return Sweep(entries_, now); }

  [[nodiscard]] std::size_t memory() const {
    return blocks_.size() * kBlockEntries * sizeof(Entry) + heads_.capacity() * sizeof(std::uint32_t);
  }

 private:
  Entry& At(std::size_t index) { return blocks_[index / kBlockEntries][index % kBlockEntries]; }

  [[nodiscard]] std::uint32_t& HeadOf(const LedgerKey& key) {
    // Ids are random or keyed digests, so their bytes serve as they are; the kind keeps a challenge's entries apart.
    std::uint64_t hash = 0;
    std::memcpy(&hash, key.id.data() + 1, sizeof hash);
    hash = (hash ^ key.kind) * 0x9e37'79b9'7f4a'7c15U;
    return heads_[(hash >> 32) & (heads_.size() - 1)];
  }

  std::uint32_t IndexOf(const LedgerKey& key) {
    if (heads_.empty()) return kNone;
    std::uint32_t i = HeadOf(key);
    while (i != kNone && At(i).key != key) i = At(i).next;
    return i;
  }

  void Remove(std::uint32_t index) {
    Entry& entry = At(index);
    std::uint32_t* link = &HeadOf(entry.key);
    while (*link != index) link = &At(*link).next;
    *link = entry.next;
    entry.used = false;
    entry.next = free_;
    free_ = index;
  }

  // Grow adds a block to the free list and keeps at least one head for every entry.
  void Grow() {
    blocks_.push_back(std::make_unique<Entry[]>(kBlockEntries));
    const std::size_t first = entries_;
    entries_ += kBlockEntries;
    if (heads_.size() < entries_) {
      heads_.assign(std::max(kBlockEntries, heads_.size() * 2), kNone);
      for (std::size_t i = 0; i < first; ++i) {
        if (!At(i).used) continue;
        std::uint32_t& head = HeadOf(At(i).key);
        At(i).next = head;
        head = static_cast<std::uint32_t>(i);
      }
    }
    for (std::size_t i = entries_; i-- > first;) {
      At(i).next = free_;
      free_ = static_cast<std::uint32_t>(i);
    }
  }

  // Sweep looks at the next `steps` entries, round and round, and returns how many expired ones it freed.
  std::size_t Sweep(std::size_t steps, UnixTime now) {
    std::size_t freed = 0;
    for (steps = std::min(steps, entries_); steps > 0; --steps) {
      hand_ = hand_ + 1 < entries_ ? hand_ + 1 : 0;
      if (!At(hand_).used || now < At(hand_).expiry) continue;
      Remove(static_cast<std::uint32_t>(hand_));
      ++freed;
    }
    return freed;
  }

  std::vector<std::unique_ptr<Entry[]>> blocks_;
  std::vector<std::uint32_t> heads_;
  std::size_t entries_ = 0;  // Held in blocks, used or free.
  std::size_t hand_ = 0;
  std::uint32_t free_ = kNone;
};

// Locks holds the shards of some keys, always taken in the same order so that no two calls wait for each other.
class ProcessLedger::Locks {
 public:
  Locks(Shard* shards, std::uint32_t wanted) : shards_(shards), held_(wanted) {
    for (std::uint32_t left = held_; left != 0; left &= left - 1) shards_[std::countr_zero(left)].mutex.lock();
  }
  ~Locks() {
    for (std::uint32_t left = held_; left != 0; left &= left - 1) shards_[std::countr_zero(left)].mutex.unlock();
  }
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

 private:
  Shard* shards_;
  std::uint32_t held_;
};

namespace {

// All ledgers of the process, so that fork can wait until none of them is locked.
struct Registry {
  std::mutex mutex;
  std::vector<ProcessLedger*> ledgers;
};

Registry& TheRegistry() {
  static auto* const registry = new Registry;  // Never destroyed: a fork at exit must still find it.
  return *registry;
}

}  // namespace

void LockAllLedgers() {
  TheRegistry().mutex.lock();
  for (ProcessLedger* const ledger : TheRegistry().ledgers) {
    for (std::size_t i = 0; i < ProcessLedger::kShards; ++i) ledger->shards_[i].mutex.lock();
  }
}

void UnlockAllLedgers() {
  for (ProcessLedger* const ledger : TheRegistry().ledgers) {
    for (std::size_t i = 0; i < ProcessLedger::kShards; ++i) ledger->shards_[i].mutex.unlock();
  }
  TheRegistry().mutex.unlock();
}

ProcessLedger::ProcessLedger(std::size_t capacity) : capacity_(capacity), shards_(std::make_unique<Shard[]>(kShards)) {
  if (capacity == 0 || capacity > std::size_t{1} << 30) throw std::invalid_argument("a ledger holds 1 to 2^30 entries");
  static const int registered = pthread_atfork(LockAllLedgers, UnlockAllLedgers, UnlockAllLedgers);
  if (registered != 0) throw std::bad_alloc();
  const std::scoped_lock lock(TheRegistry().mutex);
  TheRegistry().ledgers.push_back(this);
}

ProcessLedger::~ProcessLedger() {
  const std::scoped_lock lock(TheRegistry().mutex);
  std::erase(TheRegistry().ledgers, this);
}

std::size_t ProcessLedger::memory() const {
  const Locks locks(shards_.get(), kAllShards);
  std::size_t total = 0;
  for (std::size_t i = 0; i < kShards; ++i) total += shards_[i].memory();
  return total;
}

bool ProcessLedger::Reserve(std::size_t wanted) {
  if (wanted == 0 || size_.fetch_add(wanted) + wanted <= capacity_) return true;
  size_.fetch_sub(wanted);
  return false;
}

void ProcessLedger::Insert(const LedgerKey& key, std::int64_t value, std::int64_t ttl, UnixTime now) {
  size_.fetch_sub(shards_[ShardOf(key)].Insert(key, value, Expiry(now, ttl), now));
}

bool ProcessLedger::SweepAll(UnixTime now) {
  // Once for each second at most: a full ledger must not make every refusal cost a walk over all of it.
  if (last_sweep_.exchange(now) == now) return false;
  std::size_t freed = 0;
  for (std::size_t i = 0; i < kShards; ++i) {
    const Locks lock(shards_.get(), 1U << i);
    freed += shards_[i].SweepAll(now);
  }
  size_.fetch_sub(freed);
  return freed > 0;
}

std::optional<std::variant<Taken, Denied>> ProcessLedger::TryTake(std::span<const Claim> claims,
                                                                  std::span<const Barrier> barriers, UnixTime now) {
  std::uint32_t shards = 0;
  for (const Claim& claim : claims) shards |= 1U << ShardOf(claim.bucket);
  for (const Barrier& barrier : barriers) shards |= 1U << ShardOf(barrier.mark);
  const Locks locks(shards_.get(), shards);
  const auto find = [&](const LedgerKey& key) { return shards_[ShardOf(key)].Find(key, now); };

  for (std::size_t i = 0; i < barriers.size(); ++i) {
    const Shard::Entry* const mark = find(barriers[i].mark);
    if (mark != nullptr && mark->value > barriers[i].above) return Denied{i, SecondsUntil(mark->expiry, now)};
  }
  std::size_t new_buckets = 0;
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const Shard::Entry* const bucket = find(claims[i].bucket);
    if (bucket == nullptr) ++new_buckets;
    if ((bucket != nullptr ? bucket->value : 0) >= claims[i].limit) {
      return Denied{barriers.size() + i, bucket != nullptr ? SecondsUntil(bucket->expiry, now) : 0};
    }
  }
  if (!Reserve(new_buckets)) return std::nullopt;

  Taken taken;
  taken.counts.reserve(claims.size());
  for (const Claim& claim : claims) {
    Shard::Entry* const bucket = find(claim.bucket);
    if (bucket == nullptr) {
      Insert(claim.bucket, 1, claim.ttl, now);
      taken.counts.push_back(1);
    } else {
      taken.counts.push_back(++bucket->value);
    }
  }
  return taken;
}

std::variant<Taken, Denied> ProcessLedger::Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                                UnixTime now) {
  if (claims.size() + barriers.size() > kMaxKeysPerTake) throw std::invalid_argument("a take names at most 8 keys");
  for (std::size_t i = 0; i < claims.size(); ++i) {
    if (claims[i].ttl <= 0) throw std::invalid_argument("a claim lives at least one second");
    for (std::size_t j = 0; j < i; ++j) {
      if (claims[i].bucket == claims[j].bucket) throw std::invalid_argument("a take names each bucket once");
    }
  }
  auto result = TryTake(claims, barriers, now);
  if (!result && SweepAll(now)) result = TryTake(claims, barriers, now);
  if (!result) throw Error(ErrorCode::kLedgerFull);
  return *std::move(result);
}

std::optional<bool> ProcessLedger::TryAdvance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                                              std::span<const Release> releases) {
  std::uint32_t shards = 1U << ShardOf(mark);
  for (const Release& release : releases) shards |= 1U << ShardOf(release.claim.bucket);
  const Locks locks(shards_.get(), shards);
  if (Shard::Entry* const entry = shards_[ShardOf(mark)].Find(mark, now); entry != nullptr) {
    if (value <= entry->value) return false;
    entry->value = value;
    entry->expiry = std::max(entry->expiry, Expiry(now, ttl));
  } else {
    if (!Reserve(1)) return std::nullopt;
    Insert(mark, value, ttl, now);
  }
  for (const Release& release : releases) ReleaseLocked(release, now);
  return true;
}

bool ProcessLedger::Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                            std::span<const Release> releases) {
  if (ttl <= 0) throw std::invalid_argument("a mark lives at least one second");
  std::optional<bool> advanced = TryAdvance(mark, value, ttl, now, releases);
  if (!advanced && SweepAll(now)) advanced = TryAdvance(mark, value, ttl, now, releases);
  if (!advanced) throw Error(ErrorCode::kLedgerFull);
  return *advanced;
}

void ProcessLedger::ReleaseLocked(const Release& release, UnixTime now) {
  const Claim& claim = release.claim;
  Shard::Entry* const entry = shards_[ShardOf(claim.bucket)].Find(claim.bucket, now);
  if (entry == nullptr || entry->value < 1 || entry->value > claim.limit) return;
  entry->value -= std::clamp<std::int64_t>(release.units, 0, entry->value);
}

void ProcessLedger::GiveBack(const Release& release, UnixTime now) {
  const Locks locks(shards_.get(), 1U << ShardOf(release.claim.bucket));
  ReleaseLocked(release, now);
}

}  // namespace otp_actions
