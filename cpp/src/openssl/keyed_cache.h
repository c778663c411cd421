// A small per-thread cache of OpenSSL contexts that already hold a key.

#ifndef OTP_ACTIONS_SRC_OPENSSL_KEYED_CACHE_H_
#define OTP_ACTIONS_SRC_OPENSSL_KEYED_CACHE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace otp_actions::openssl {

// NextKeyId returns a number that no other key object in this process has.
inline std::uint64_t NextKeyId() {
  static std::atomic<std::uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

// KeyedCache maps a key's id to a context that was set up with it. It is direct-mapped and bounded: two keys that share
// a slot take turns, which costs a key set-up and nothing else. Use it as a thread_local: no locks, none across fork.
template <typename Context>
class KeyedCache {
 public:
  // Get returns the context of key `id`, calling `set_up(slot)` first if the slot holds another key's.
  template <typename SetUp>
  Context& Get(std::uint64_t id, SetUp set_up) {
    Slot& slot = slots_[id % kSlots];
    if (slot.id != id) {
      slot.id = 0;  // If set_up throws, the slot is nobody's.
      set_up(slot.context);
      slot.id = id;
    }
    return slot.context;
  }

 private:
  static constexpr std::size_t kSlots = 32;
  struct Slot {
    std::uint64_t id = 0;
    Context context;
  };
  std::array<Slot, kSlots> slots_;
};

}  // namespace otp_actions::openssl

#endif  // OTP_ACTIONS_SRC_OPENSSL_KEYED_CACHE_H_
