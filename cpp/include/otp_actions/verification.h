// Verification: one attempt at a challenge, from admission to its mark, in the one order that is safe.

#ifndef OTP_ACTIONS_VERIFICATION_H_
#define OTP_ACTIONS_VERIFICATION_H_

#include <cstdint>
#include <string_view>

#include "otp_actions/bytes.h"
#include "otp_actions/challenge.h"
#include "otp_actions/ledger.h"
#include "otp_actions/verdict.h"

namespace otp_actions {

// Policy is what a project decides about verification.
struct Policy {
  bool accept_legacy = true;  // Contexts of the older release are judged at all.
  bool single_use = true;     // A code that was right once is used up.
};

// Verification is how an attempt ended.
struct Verification {
  Verdict verdict = Verdict::kAdmitted;
  // With kWrongCode, and after CountAttempt: attempts made, this one included. What the context itself says counts too:
  // a ledger may have started afresh since.
  std::int64_t attempts_made = 0;
};

// VerifyCode judges one attempt: Admit; one atomic take, which looks at revoked, used and attempts in this order;
// Match; the mark of use. Counting comes before comparing, so no number of parallel calls buys a comparison more, and
// the last word is the atomic mark, so at most one of them returns kVerified. Throws what `ledger` throws.
[[nodiscard]] Verification VerifyCode(const Challenge& challenge, std::string_view code, std::string_view purpose,
                                      UnixTime now, const Policy& policy, Ledger& ledger);

// CountAttempt counts one attempt without comparing anything. The verdict is kAdmitted if there was one left.
[[nodiscard]] Verification CountAttempt(const Challenge& challenge, UnixTime now, Ledger& ledger);

// Revoke makes `challenge` worthless from `now` on, also for a verification that is under way.
void Revoke(const Challenge& challenge, UnixTime now, Ledger& ledger);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_VERIFICATION_H_
