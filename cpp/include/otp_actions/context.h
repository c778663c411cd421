// The payload of a challenge: one flat JSON object with a fixed schema, written and read by a small strict codec.

#ifndef OTP_ACTIONS_CONTEXT_H_
#define OTP_ACTIONS_CONTEXT_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "otp_actions/bytes.h"
#include "otp_actions/hmac.h"

namespace otp_actions {

inline constexpr std::size_t kMaxMetadataSize = 4096;    // Bytes of compact UTF-8 JSON.
inline constexpr int kMaxMetadataDepth = 8;              // {"a": 1} has depth 1.
inline constexpr std::size_t kMaxIdentifierSize = 1024;  // UTF-8 bytes.
inline constexpr std::size_t kMaxPurposeSize = 128;      // UTF-8 bytes.
inline constexpr std::int64_t kMaxRetries = 1'000'000;
inline constexpr UnixTime kMaxTime = UnixTime{1} << 53;  // Times are below it: every JSON reader holds those exactly.

// Identifier says who a challenge is for. The type is part of it: 42 is not "42".
using Identifier = std::variant<std::monostate, std::int64_t, std::string>;

// Jti is the random id of a challenge; everything the ledger knows about a challenge hangs on it.
using Jti = std::array<std::uint8_t, kIdSize>;

// Payload is what is sealed inside a context. `metadata` is the JSON text as it was written, "null" for none.
struct Payload {
  // Version 2 is ours. Version 1 is the older release's form: no `v`, no `jti`, no `purpose`, a plain SHA-256 of the
  // code; its jti is derived from the fields that a retry does not change.
  static constexpr int kVersion = 2;
  static constexpr int kLegacyVersion = 1;

  int version = kVersion;
  Jti jti{};
  std::string purpose;
  Identifier identifier;
  Digest otp_hash{};
  std::string metadata = "null";
  UnixTime timestamp = 0;
  UnixTime otp_expiry = 0;      // The code is good while now < otp_expiry,
  UnixTime session_expiry = 0;  // and the context while now < session_expiry.
  std::int64_t retry_count = 0;
  std::int64_t max_retries = 0;
};

// EncodePayload returns the JSON of `payload`, in the form of its own version. Identifier, purpose and metadata must be
// valid UTF-8. Throws std::invalid_argument if metadata is not JSON in the form ParsePayload accepts, or if a field is
// over its limit.
[[nodiscard]] SecretBytes EncodePayload(const Payload& payload);

// ParsePayload reads one flat object with exactly the fields of version 2 or of the older release, in any order and
// with any JSON white space. Rejected, always with the same Error{kInvalidToken}: other or missing fields, a field
// twice, a name or a hex field with escapes in it, numbers out of range, NaN, invalid UTF-8, nesting beyond
// kMaxMetadataDepth, bytes after the object.
[[nodiscard]] Payload ParsePayload(std::string_view json);

// IsBoundedJson is true if `json` is one JSON value (RFC 8259) of depth at most `max_depth` in which no object names
// a member twice.
[[nodiscard]] bool IsBoundedJson(std::string_view json, int max_depth);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_CONTEXT_H_
