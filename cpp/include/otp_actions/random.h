// Random bytes from OpenSSL, safe across fork, and unbiased digits made of them.

#ifndef OTP_ACTIONS_RANDOM_H_
#define OTP_ACTIONS_RANDOM_H_

#include <cstdint>
#include <functional>
#include <span>

#include "otp_actions/bytes.h"

namespace otp_actions {

inline constexpr int kMinCodeLength = 4;
inline constexpr int kMaxCodeLength = 12;

// RandomBytes fills `out` from OpenSSL's generator. Small draws are served from a per-thread page that the kernel
// zeroes in a forked child; a sentinel in that page is checked at every draw, so a child never repeats its parent's
// bytes. Where the kernel cannot do that, every draw goes to RAND_bytes. Bytes are wiped as they are handed out.
// Throws Error{kCrypto} if OpenSSL has no entropy. Safe from any thread.
void RandomBytes(std::span<std::uint8_t> out);

// RandomCode returns `length` decimal digits, each code equally likely. Throws std::invalid_argument unless
// kMinCodeLength <= length <= kMaxCodeLength.
[[nodiscard]] SecretBytes RandomCode(int length);

// CodeFromDraws is RandomCode with the 64-bit draws injected: a draw in the last, incomplete block of 10^length values
// is rejected and `draw` is called again, so no code is more likely than another.
[[nodiscard]] SecretBytes CodeFromDraws(int length, const std::function<std::uint64_t()>& draw);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_RANDOM_H_
