// The keyring: one primary key that seals, and fallbacks that still open what they sealed.

#ifndef OTP_ACTIONS_KEYRING_H_
#define OTP_ACTIONS_KEYRING_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "otp_actions/bytes.h"
#include "otp_actions/fernet.h"
#include "otp_actions/hmac.h"

namespace otp_actions {

inline constexpr std::size_t kMaxKeys = 8;

// RingKey is one key of a ring with the keys that HKDF derives from it, one for each use, so that no digest made for
// one use is good for another.
struct RingKey {
  explicit RingKey(ByteView key);

  FernetKey fernet;
  HmacKey code;   // Digests of codes in challenges.
  HmacKey store;  // Digests of identifiers and addresses that lie in a ledger or an audit trail.
};

// Keyring holds at most kMaxKeys distinct keys, the primary first. Immutable; safe from any thread.
class Keyring {
 public:
  // Opened is a plaintext and the key that authenticated it: what belongs to a token (its code digest, the token that
  // replaces it) stays under that key, so a rotation does not break codes in flight.
  struct Opened {
    SecretBytes plaintext;
    std::shared_ptr<const RingKey> key;
  };

  // Throws std::invalid_argument if there is no key, more than kMaxKeys, one of the wrong size, or one twice.
  explicit Keyring(std::span<const SecretBytes> keys);

  [[nodiscard]] const std::shared_ptr<const RingKey>& primary() const { return keys_.front(); }
  [[nodiscard]] std::span<const std::shared_ptr<const RingKey>> keys() const { return keys_; }

  // Seal seals under the primary key. Throws as FernetKey::Seal does.
  [[nodiscard]] std::string Seal(ByteView plaintext, UnixTime now) const {
    return primary()->fernet.Seal(plaintext, now);
  }

  // Open returns the plaintext sealed in `token`, trying the primary key first and then each fallback. The token is
  // decoded once and authenticated before anything is decrypted; every rejection is the same Error{kInvalidToken}, so a
  // caller learns nothing about why. How old a token may be is not judged here: the sealed expiries are (see
  // verdict.h).
  [[nodiscard]] Opened Open(std::string_view token) const;

 private:
  std::vector<std::shared_ptr<const RingKey>> keys_;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_KEYRING_H_
