#include "otp_actions/verdict.h"

#include <openssl/evp.h>

#include <array>
#include <atomic>

#include "openssl/handles.h"
#include "otp_actions/constant_time.h"

namespace otp_actions {
namespace {

std::atomic<std::uint64_t> matches{0};

// A length before each part, so that no two lists of parts run together to the same bytes.
void AppendWithLength(std::string_view part, SecretBytes& out) {
  const auto n = static_cast<std::uint32_t>(part.size());
  const std::array<char, 4> length = {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                                      static_cast<char>(n)};
  out.Append(std::string_view(length.data(), length.size()));
  out.Append(part);
}

// The type goes in as one character, so that 42 is not "42" and nothing is not "".
struct TaggedIdentifier {
  explicit TaggedIdentifier(const Identifier& identifier) {
    if (const auto* number = std::get_if<std::int64_t>(&identifier)) {
      tag = 'i';
      digits = std::to_string(*number);
      text = digits;
    } else if (const auto* string = std::get_if<std::string>(&identifier)) {
      tag = 's';
      text = *string;
    }
  }

  char tag = 'n';
  std::string digits;
  std::string_view text;
};

Digest PlainSha256(std::string_view code) {
  Digest digest;
  unsigned int size = 0;
  openssl::Check(EVP_Digest(code.data(), code.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  return digest;
}

}  // namespace

Verdict Admit(const Payload& challenge, std::string_view purpose, UnixTime now, bool accept_legacy) {
  if (challenge.version == Payload::kLegacyVersion && !accept_legacy) return Verdict::kRefusedLegacy;
  if (challenge.purpose != purpose) return Verdict::kWrongPurpose;
  if (now >= challenge.session_expiry) return Verdict::kSessionExpired;
  if (now >= challenge.otp_expiry) return Verdict::kCodeExpired;
  return Verdict::kAdmitted;
}

Digest CodeDigest(const Payload& challenge, const RingKey& key, std::string_view code) {
  if (challenge.version == Payload::kLegacyVersion) return PlainSha256(code);
  const TaggedIdentifier identifier(challenge.identifier);
  SecretBytes message;
  message.Reserve(kIdSize + 1 + 3 * std::size_t{4} + challenge.purpose.size() + identifier.text.size() + code.size());
  message.Append(AsText(challenge.jti));
  AppendWithLength(challenge.purpose, message);
  message.Append(identifier.tag);
  AppendWithLength(identifier.text, message);
  AppendWithLength(code, message);
  return key.code.Sum({message.view()});
}

std::uint64_t MatchCount() { return matches.load(std::memory_order_relaxed); }

bool Match(const Payload& challenge, const RingKey& key, std::string_view code) {
  matches.fetch_add(1, std::memory_order_relaxed);
  return ConstantTimeEqual(CodeDigest(challenge, key, code), challenge.otp_hash);
}

}  // namespace otp_actions
