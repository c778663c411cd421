// A challenge from its issue to its end: what the three sealed forms (issued, opened, resealed) have in common.

#ifndef OTP_ACTIONS_CHALLENGE_H_
#define OTP_ACTIONS_CHALLENGE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "otp_actions/bytes.h"
#include "otp_actions/context.h"
#include "otp_actions/instant.h"
#include "otp_actions/keyring.h"
#include "otp_actions/ledger.h"

namespace otp_actions {

// Issued is a new code and the context that belongs to it.
struct Issued {
  SecretBytes code;
  std::string context;
};

// IssueChallenge draws a code of `length` digits and a jti, puts jti and digest into `payload`, whose timestamp is the
// second of `issued_at`, and seals it. The last 20 bits of a jti are the instant's place in its second; the others are
// random.
// Throws std::invalid_argument for a length or a field out of range, Error{kContextTooBig} if the whole does not fit.
[[nodiscard]] Issued IssueChallenge(const Keyring& ring, Payload payload, int length, Instant issued_at);

// IssueDecoy seals `payload` with a random digest that belongs to no code: a context that looks, counts and expires
// like a real one and never verifies.
[[nodiscard]] std::string IssueDecoy(const Keyring& ring, Payload payload, Instant issued_at);

// A challenge has one entry in a ledger, under its jti, and its fate is the value of that entry: the number of
// attempts, then, once and for all, used or revoked. A challenge that is used up needs no second entry, so a ledger
// without room can refuse to begin but never fails between a right code and its mark. Both marks are fixed numbers: a
// time would let a host whose clock is ahead set one a second time.
inline constexpr std::int64_t kUsedMark = std::int64_t{1} << 40;     // Far above kMaxRetries.
inline constexpr std::int64_t kRevokedMark = std::int64_t{1} << 41;  // Outranks kUsedMark.

// A clock that is a little behind must not meet a fresh count while the session still lives.
inline constexpr std::int64_t kClockSkew = 300;

// Challenge is an opened context. Immutable; safe from any thread.
class Challenge {
 public:
  // Open throws Error{kInvalidToken} unless `context` opens under `ring` and holds a challenge.
  [[nodiscard]] static Challenge Open(const Keyring& ring, std::string_view context);

  [[nodiscard]] const Payload& payload() const { return payload_; }
  [[nodiscard]] const RingKey& key() const { return *key_; }

  // NextAttempt claims one of the attempts that the challenge allows; the bucket is its entry. No attempt is left if
  // the context itself says so, whatever the ledger remembers.
  [[nodiscard]] Claim NextAttempt(UnixTime now) const;

  // issued_at is when it was issued. Of a context of the older release the second is known; the instant before it
  // is taken, so that whatever revokes in that second reaches it.
  [[nodiscard]] Instant issued_at() const;

  // Reseal returns a context with `retry_count` in place of the old one, under the key that opened this one.
  [[nodiscard]] std::string Reseal(std::int64_t retry_count, UnixTime now) const;

 private:
  Challenge(Payload payload, std::shared_ptr<const RingKey> key) : payload_(std::move(payload)), key_(std::move(key)) {}

  Payload payload_;
  std::shared_ptr<const RingKey> key_;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_CHALLENGE_H_
