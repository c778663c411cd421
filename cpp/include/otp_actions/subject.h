// Whom a ledger counts: digests of identifiers and addresses, so that a dump of a ledger or of an audit trail names
// nobody to a reader without the key.

#ifndef OTP_ACTIONS_SUBJECT_H_
#define OTP_ACTIONS_SUBJECT_H_

#include <array>
#include <string>
#include <string_view>

#include "otp_actions/bytes.h"
#include "otp_actions/context.h"
#include "otp_actions/keyring.h"

namespace otp_actions {

// SubjectId names whom something is counted for.
using SubjectId = std::array<std::uint8_t, kIdSize>;

// TaggedIdentifier is an identifier as digests see it. The type is one character of it, so that 42 is not "42" and
// nothing is not "". `text` points into the identifier or into `digits`: the object is neither copied nor moved.
struct TaggedIdentifier {
  explicit TaggedIdentifier(const Identifier& identifier);
  TaggedIdentifier(const TaggedIdentifier&) = delete;
  TaggedIdentifier& operator=(const TaggedIdentifier&) = delete;

  char tag = 'n';
  std::string digits;
  std::string_view text;
};

// AppendWithLength appends `part` with its length before it, so that no two lists of parts run together to the same
// bytes.
void AppendWithLength(std::string_view part, SecretBytes& out);

// StoreDigest is HMAC-SHA256 under the ring key's `store` key over use, tag, text and scope, each with its length
// before it. `use` keeps the digests of different uses apart.
[[nodiscard]] Digest StoreDigest(const RingKey& key, std::string_view use, const Identifier& whom,
                                 std::string_view scope);

// SubjectOf is the first 128 bits of StoreDigest.
[[nodiscard]] SubjectId SubjectOf(const RingKey& key, std::string_view use, const Identifier& whom,
                                  std::string_view scope);

// What digests are made for.
inline constexpr std::string_view kIdentifierUse = "identifier";  // A budget or an epoch; the scope is the purpose.
inline constexpr std::string_view kNetworkUse = "network";        // A budget of a client's address; no scope.

}  // namespace otp_actions

#endif  // OTP_ACTIONS_SUBJECT_H_
