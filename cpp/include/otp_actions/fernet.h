// Fernet tokens: AES-128-CBC, then HMAC-SHA256, in base64url (the Fernet specification, version 0x80).

#ifndef OTP_ACTIONS_FERNET_H_
#define OTP_ACTIONS_FERNET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "otp_actions/bytes.h"
#include "otp_actions/hmac.h"

namespace otp_actions {

inline constexpr std::size_t kFernetKeySize = 32;   // 16 bytes of signing key, then 16 bytes of encryption key.
inline constexpr std::size_t kMaxTokenSize = 8192;  // Characters of base64url; a longer token is not even decoded.
// What fits into such a token: whole blocks, with at least one byte of padding, beside the header and the tag.
inline constexpr std::size_t kMaxPlaintextSize = (kMaxTokenSize / 4 * 3 - 25 - kDigestSize) / 16 * 16 - 1;

using Iv = std::array<std::uint8_t, 16>;

// FernetToken is a token that has been decoded but proves nothing yet: only FernetKey::Authenticates makes it evidence.
class FernetToken {
 public:
  // Decode checks, in this order, size, strict canonical base64url, version and length. Every failure is the same
  // Error{kInvalidToken}.
  [[nodiscard]] static FernetToken Decode(std::string_view text);

  [[nodiscard]] ByteView signed_part() const;
  [[nodiscard]] ByteView iv() const;
  [[nodiscard]] ByteView ciphertext() const;
  [[nodiscard]] ByteView tag() const;

 private:
  explicit FernetToken(SecretBytes raw) : raw_(std::move(raw)) {}
  SecretBytes raw_;
};

// FernetKey seals and opens under one key. Immutable; safe from any thread.
class FernetKey {
 public:
  // Throws std::invalid_argument unless `key` has kFernetKeySize bytes.
  explicit FernetKey(ByteView key);

  // Seal returns the token for `plaintext`, stamped with `now` and a fresh random IV.
  // Throws Error{kContextTooBig} if the token would be longer than kMaxTokenSize.
  [[nodiscard]] std::string Seal(ByteView plaintext, UnixTime now) const;

  // SealWithChosenIv is Seal with the IV given by the caller.
  // WARNING: for test vectors only; an IV used twice shows which plaintexts begin alike.
  [[nodiscard]] std::string SealWithChosenIv(ByteView plaintext, UnixTime now, const Iv& iv) const;

  // Authenticates is true if this key made `token`. Constant time in the tag.
  [[nodiscard]] bool Authenticates(const FernetToken& token) const;

  // Decrypt returns the plaintext of a token that this key has authenticated. Throws Error{kInvalidToken} if the
  // padding is wrong, which for an authentic token means that its maker was not a Fernet implementation.
  [[nodiscard]] SecretBytes Decrypt(const FernetToken& token) const;

 private:
  HmacKey signing_;
  std::uint64_t id_;
  SecretBytes encryption_;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_FERNET_H_
