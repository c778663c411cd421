#include "otp_actions/challenge.h"

#include <algorithm>
#include <utility>

#include "otp_actions/random.h"
#include "otp_actions/verdict.h"

namespace otp_actions {
namespace {

constexpr std::uint8_t kChallengeKind = 'c';

// A clock that is a little behind must not meet a fresh count while the session still lives.
constexpr std::int64_t kClockSkew = 300;

}  // namespace

Issued IssueChallenge(const Keyring& ring, Payload payload, int length) {
  SecretBytes code = RandomCode(length);
  payload.version = Payload::kVersion;
  RandomBytes(payload.jti);
  payload.otp_hash = CodeDigest(payload, *ring.primary(), code.text());
  std::string context = ring.Seal(EncodePayload(payload).view(), payload.timestamp);
  return {std::move(code), std::move(context)};
}

std::string IssueDecoy(const Keyring& ring, Payload payload) {
  RandomBytes(payload.jti);
  RandomBytes(payload.otp_hash);
  payload.version = Payload::kVersion;
  return ring.Seal(EncodePayload(payload).view(), payload.timestamp);
}

Challenge Challenge::Open(const Keyring& ring, std::string_view context) {
  Keyring::Opened opened = ring.Open(context);
  return {ParsePayload(opened.plaintext.text()), std::move(opened.key)};
}

Attempt Challenge::NextAttempt(UnixTime now) const {
  const std::int64_t ttl =
      std::clamp<std::int64_t>(SecondsUntil(payload_.session_expiry, now), 0, kMaxTime) + kClockSkew;
  const std::int64_t limit = payload_.retry_count < payload_.max_retries ? payload_.max_retries : 0;
  const LedgerKey entry = {kChallengeKind, payload_.jti};
  return {
      .claim = {.bucket = entry, .limit = limit, .ttl = ttl},
      .barriers = {Barrier{.mark = entry, .above = kRevokedMark - 1}, Barrier{.mark = entry, .above = kUsedMark - 1}}};
}

std::string Challenge::Reseal(std::int64_t retry_count, UnixTime now) const {
  Payload next = payload_;
  next.retry_count = retry_count;
  return key_->fernet.Seal(EncodePayload(next).view(), now);
}

}  // namespace otp_actions
