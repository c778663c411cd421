#include "otp_actions/challenge.h"

#include <algorithm>
#include <utility>

#include "otp_actions/error.h"
#include "otp_actions/random.h"
#include "otp_actions/verdict.h"

namespace otp_actions {
namespace {

constexpr std::uint8_t kChallengeKind = 'c';

// The place in the second is written into the last 20 bits of the jti, where it costs a context nothing.
void Stamp(Payload& payload, Instant issued_at) {
  payload.version = Payload::kVersion;
  RandomBytes(payload.jti);
  const Instant place = issued_at & kMaxPlace;
  payload.jti[13] = static_cast<std::uint8_t>((payload.jti[13] & 0xf0) | place >> 16);
  payload.jti[14] = static_cast<std::uint8_t>(place >> 8);
  payload.jti[15] = static_cast<std::uint8_t>(place);
}

// A wrong code is answered with the same payload and a longer count: that must fit as well, or nobody could be told.
std::string SealNew(const Keyring& ring, const Payload& payload) {
  constexpr std::size_t kRoomForCount = 6;  // From one digit to those of kMaxRetries.
  const SecretBytes json = EncodePayload(payload);
  if (json.size() + kRoomForCount > kMaxPlaintextSize) throw Error(ErrorCode::kContextTooBig);
  return ring.Seal(json.view(), payload.timestamp);
}

}  // namespace

Issued IssueChallenge(const Keyring& ring, Payload payload, int length, Instant issued_at) {
  SecretBytes code = RandomCode(length);
  Stamp(payload, issued_at);
  payload.otp_hash = CodeDigest(payload, *ring.primary(), code.text());
  std::string context = SealNew(ring, payload);
  return {std::move(code), std::move(context)};
}

std::string IssueDecoy(const Keyring& ring, Payload payload, Instant issued_at) {
  Stamp(payload, issued_at);
  RandomBytes(payload.otp_hash);
  return SealNew(ring, payload);
}

Challenge Challenge::Open(const Keyring& ring, std::string_view context) {
  Keyring::Opened opened = ring.Open(context);
  return {ParsePayload(opened.plaintext.text()), std::move(opened.key)};
}

Claim Challenge::NextAttempt(UnixTime now) const {
  return {.bucket = {kChallengeKind, payload_.jti},
          .limit = payload_.retry_count < payload_.max_retries ? payload_.max_retries : 0,
          .ttl = std::clamp<std::int64_t>(SecondsUntil(payload_.session_expiry, now), 0, kMaxTime) + kClockSkew};
}

Instant Challenge::issued_at() const {
  if (payload_.version == Payload::kLegacyVersion) return InstantOf(payload_.timestamp, 0) - 1;
  const Jti& jti = payload_.jti;
  return InstantOf(payload_.timestamp, (jti[13] & 0x0f) << 16 | jti[14] << 8 | jti[15]);
}

std::string Challenge::Reseal(std::int64_t retry_count, UnixTime now) const {
  Payload next = payload_;
  next.retry_count = retry_count;
  return key_->fernet.Seal(EncodePayload(next).view(), now);
}

}  // namespace otp_actions
