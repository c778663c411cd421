#include "otp_actions/verification.h"

#include <algorithm>

namespace otp_actions {

Verification CountAttempt(const Challenge& challenge, UnixTime now, Ledger& ledger) {
  const Attempt attempt = challenge.NextAttempt(now);
  const auto result = ledger.Take({&attempt.claim, 1}, attempt.barriers, now);
  if (const auto* denied = std::get_if<Denied>(&result)) {
    constexpr Verdict kReasons[] = {Verdict::kRevoked, Verdict::kUsed, Verdict::kExhausted};
    return {.verdict = kReasons[std::min<std::size_t>(denied->index, 2)]};
  }
  return {.verdict = Verdict::kAdmitted,
          .attempts_made = std::max(std::get<Taken>(result).counts.at(0), challenge.payload().retry_count + 1)};
}

Verification VerifyCode(const Challenge& challenge, std::string_view code, std::string_view purpose, UnixTime now,
                        const Policy& policy, Ledger& ledger) {
  if (const Verdict verdict = Admit(challenge.payload(), purpose, now, policy.accept_legacy);
      verdict != Verdict::kAdmitted) {
    return {.verdict = verdict};
  }
  Verification verification = CountAttempt(challenge, now, ledger);
  if (verification.verdict != Verdict::kAdmitted) return verification;
  if (!Match(challenge.payload(), challenge.key(), code)) {
    verification.verdict = Verdict::kWrongCode;
    return verification;
  }
  const Attempt attempt = challenge.NextAttempt(now);
  if (!policy.single_use) {
    // Nothing is marked where a code may be used again, so a revocation since the take is asked for. And a right code
    // costs no attempt.
    if (std::holds_alternative<Denied>(ledger.Take({}, attempt.barriers, now))) return {.verdict = Verdict::kRevoked};
    ledger.GiveBack(attempt.claim, now);
  } else if (!ledger.Advance(attempt.claim.bucket, kUsedMark, attempt.claim.ttl, now)) {
    return {.verdict = Verdict::kUsed};  // The same code by another way, or a revocation, got here first.
  }
  verification.verdict = Verdict::kVerified;
  return verification;
}

void Revoke(const Challenge& challenge, UnixTime now, Ledger& ledger) {
  const Claim entry = challenge.NextAttempt(now).claim;
  (void)ledger.Advance(entry.bucket, kRevokedMark, entry.ttl,
                       now);  // False if it was revoked before, which is as good.
}

}  // namespace otp_actions
