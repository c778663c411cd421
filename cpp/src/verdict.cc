#include "otp_actions/verdict.h"

#include <openssl/evp.h>

#include <array>
#include <atomic>

#include "openssl/handles.h"
#include "otp_actions/constant_time.h"
#include "otp_actions/subject.h"

namespace otp_actions {
namespace {

std::atomic<std::uint64_t> matches{0};

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
