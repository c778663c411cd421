// Strict text encodings (RFC 4648): every byte string has exactly one accepted spelling.

#ifndef OTP_ACTIONS_ENCODING_H_
#define OTP_ACTIONS_ENCODING_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "otp_actions/bytes.h"

namespace otp_actions {

// Base64UrlSize is the length of the padded base64url text for `n` bytes.
[[nodiscard]] constexpr std::size_t Base64UrlSize(std::size_t n) { return (n + 2) / 3 * 4; }

// Base64UrlEncode writes the padded base64url text of `bytes` (RFC 4648, section 5) to `out`, which holds exactly
// Base64UrlSize(bytes.size()) characters.
void Base64UrlEncode(ByteView bytes, std::span<char> out);

// Base64UrlDecode returns the bytes of `text`, or nothing unless `text` is the canonical padded form: no white space,
// no "+" or "/", padding where it belongs, and unused bits zero (RFC 4648, section 3.5).
[[nodiscard]] std::optional<SecretBytes> Base64UrlDecode(std::string_view text);

// Base32Encode returns the unpadded upper-case base32 text of `bytes` (RFC 4648, section 6), as authenticator apps
// expect it in an otpauth URI.
[[nodiscard]] std::string Base32Encode(ByteView bytes);

// Base32Decode returns the bytes of unpadded upper-case `text`, or nothing if a character is outside the alphabet,
// the length is impossible or an unused bit is set.
[[nodiscard]] std::optional<SecretBytes> Base32Decode(std::string_view text);

// HexEncode writes lower-case hexadecimal to `out`, which holds exactly twice as many characters as `bytes`.
void HexEncode(ByteView bytes, std::span<char> out);

// HexDecode fills `out` from lower-case hexadecimal; false if the length or a character is wrong.
[[nodiscard]] bool HexDecode(std::string_view text, std::span<std::uint8_t> out);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_ENCODING_H_
