#include "otp_actions/instant.h"

#include <algorithm>
#include <atomic>

namespace otp_actions {

Instant InstantOf(UnixTime second, std::int64_t place) {
  constexpr UnixTime kLastSecond = (UnixTime{1} << (53 - kPlaceBits)) - 1;
  return std::clamp<UnixTime>(second, 0, kLastSecond) << kPlaceBits | std::clamp<std::int64_t>(place, 0, kMaxPlace);
}

namespace {

std::atomic<Instant> last{-1};

}  // namespace

void NoteInstant(Instant instant) {
  Instant before = last.load(std::memory_order_relaxed);
  while (before < instant && before >> kPlaceBits == instant >> kPlaceBits) {
    if (last.compare_exchange_weak(before, instant, std::memory_order_relaxed)) return;
  }
}

Instant NextInstant(UnixTime second, std::int64_t micros) {
  Instant before = last.load(std::memory_order_relaxed);
  for (;;) {
    Instant next = InstantOf(second, micros);
    const bool same_second = before >> kPlaceBits == next >> kPlaceBits;
    if (same_second && before >= next) next = std::min(before + 1, next | kMaxPlace);
    if (last.compare_exchange_weak(before, next, std::memory_order_relaxed)) return next;
  }
}

}  // namespace otp_actions
