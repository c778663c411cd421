// Instants: the order in which challenges were issued and identifiers revoked, finer than seconds.

#ifndef OTP_ACTIONS_INSTANT_H_
#define OTP_ACTIONS_INSTANT_H_

#include <cstdint>

#include "otp_actions/bytes.h"

namespace otp_actions {

// Instant is a second and a place within it: second * 2^20 + place. Below 2^53, which every backend holds exactly.
using Instant = std::int64_t;

inline constexpr int kPlaceBits = 20;
inline constexpr Instant kMaxPlace = (Instant{1} << kPlaceBits) - 1;

// InstantOf puts the two together. A second beyond the year 2242 counts as the last one.
[[nodiscard]] Instant InstantOf(UnixTime second, std::int64_t place);

// NextInstant returns the instant of `micros` microseconds (0 to 999,999) into `second`, or one place after the last
// that this process was given, if that was in the same second and is later: what happens here in turn is told apart
// even by a clock that stands still, as clocks in tests do. Between processes the microsecond decides. Beyond kMaxPlace
// calls in a second that stands still the last place is given to all. Safe from any thread.
[[nodiscard]] Instant NextInstant(UnixTime second, std::int64_t micros);

// NoteInstant has the next instant in the same second be later than `instant`, which another host was given.
void NoteInstant(Instant instant);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_INSTANT_H_
