// The verdict: the only place where a challenge is judged. Two functions stand around the ledger: Admit before anything
// is counted, Match after. Counting before comparing is what bounds the number of guesses.

#ifndef OTP_ACTIONS_VERDICT_H_
#define OTP_ACTIONS_VERDICT_H_

#include <cstdint>
#include <string_view>

#include "otp_actions/bytes.h"
#include "otp_actions/context.h"
#include "otp_actions/keyring.h"

namespace otp_actions {

// Verdict is what is said of an attempt. The order is the order of judging: the first that applies is the answer.
enum class Verdict {
  kAdmitted,        // May be counted, and then matched.
  kRefusedLegacy,   // Made by the older release, and the project no longer accepts those.
  kWrongPurpose,    // Sealed for something else.
  kSessionExpired,  // now >= session_expiry.
  kCodeExpired,     // now >= otp_expiry.
  kRevoked,         // From here on the ledger speaks (see verification.h).
  kUsed,            // Accepted before.
  kExhausted,       // No attempt left; nothing was compared.
  kOverBudget,      // The identifier's or the network's budget of wrong codes is used up; nothing was compared.
  kWrongCode,       // Counted and compared.
  kVerified,        // Counted, compared, and marked as used.
};

// Admit judges everything about a challenge that depends neither on the code nor on the ledger: kAdmitted, or the first
// of kRefusedLegacy to kCodeExpired. A challenge of the older release has the purpose "". Pure; `now` is the caller's.
[[nodiscard]] Verdict Admit(const Payload& challenge, std::string_view purpose, UnixTime now, bool accept_legacy);

// Match is true if `code` is the code of `challenge`, which `key` opened. Constant time in the digest.
// WARNING: call it only after Admit said kAdmitted and the ledger took the attempt.
[[nodiscard]] bool Match(const Payload& challenge, const RingKey& key, std::string_view code);

// MatchCount is the number of calls of Match in this process so far. Tests bound guesses with it: a status can lie.
[[nodiscard]] std::uint64_t MatchCount();

// CodeDigest is the digest kept in a challenge for `code`: HMAC-SHA256 under the ring key's `code` key over jti,
// purpose, identifier with its type, and code, each with its length before it (version 2), or the plain SHA-256 of the
// code (older release). `challenge.otp_hash` is not read.
[[nodiscard]] Digest CodeDigest(const Payload& challenge, const RingKey& key, std::string_view code);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_VERDICT_H_
