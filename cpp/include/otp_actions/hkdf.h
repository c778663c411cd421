// HKDF-SHA256 (RFC 5869).

#ifndef OTP_ACTIONS_HKDF_H_
#define OTP_ACTIONS_HKDF_H_

#include <cstddef>

#include "otp_actions/bytes.h"

namespace otp_actions {

// Hkdf returns `size` bytes of output keying material from `key` (extract, then expand; RFC 5869, 2.2 and 2.3).
// `info` separates the uses of one key. Throws std::invalid_argument if `size` is 0 or more than 255 hashes.
[[nodiscard]] SecretBytes Hkdf(ByteView key, ByteView salt, ByteView info, std::size_t size);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_HKDF_H_
