// HMAC-SHA256 (RFC 2104, FIPS 198-1) under a fixed key.

#ifndef OTP_ACTIONS_HMAC_H_
#define OTP_ACTIONS_HMAC_H_

#include <array>
#include <cstdint>
#include <initializer_list>

#include "otp_actions/bytes.h"

namespace otp_actions {

using Digest = std::array<std::uint8_t, kDigestSize>;

// HmacKey computes HMAC-SHA256 under one key. Each thread keeps a keyed OpenSSL context for the keys it used last, so a
// sum costs no key set-up. Immutable; safe from any thread.
class HmacKey {
 public:
  explicit HmacKey(ByteView key);

  // Sum returns the tag over the concatenation of `parts`. Callers whose parts vary in length must prefix the lengths
  // themselves. Throws Error{kCrypto}.
  [[nodiscard]] Digest Sum(std::initializer_list<ByteView> parts) const;

 private:
  std::uint64_t id_;
  SecretBytes key_;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_HMAC_H_
