// Verification: one attempt at a challenge, from admission to its mark, in the one order that is safe.

#ifndef OTP_ACTIONS_VERIFICATION_H_
#define OTP_ACTIONS_VERIFICATION_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "otp_actions/bytes.h"
#include "otp_actions/challenge.h"
#include "otp_actions/instant.h"
#include "otp_actions/keyring.h"
#include "otp_actions/ledger.h"
#include "otp_actions/subject.h"
#include "otp_actions/verdict.h"

namespace otp_actions {

// Budget is a number of wrong attempts within a window that begins with the first. A limit of 0 is no budget.
struct Budget {
  std::int64_t limit = 0;
  std::int64_t seconds = 0;
};

// Policy is what a project decides about verification.
struct Policy {
  bool accept_legacy = true;  // Contexts of the older release are judged at all.
  bool single_use = true;     // A code that was right once is used up.
  Budget identifier;          // Of one identifier and purpose, across challenges. A right code starts it afresh.
  Budget network;             // Of one client's address, across everything. A right code gives back what it took.
};

// Caller is whom an attempt is counted for beside the challenge. One that is not known has no budget.
struct Caller {
  std::optional<SubjectId> identifier;  // Of the key that opened the context; see SubjectOf.
  std::optional<SubjectId> network;
};

// Verification is how an attempt ended.
struct Verification {
  Verdict verdict = Verdict::kAdmitted;
  // With kWrongCode, and after CountAttempt: attempts made, this one included. What the context itself says counts too:
  // a ledger may have started afresh since.
  std::int64_t attempts_made = 0;
  std::int64_t retry_after = 0;  // With kOverBudget: seconds until the budget's window ends.
};

// VerifyCode judges one attempt: Admit; one atomic take, which looks at revoked, used, attempts and budgets in this
// order; Match; the mark of use. Counting comes before comparing, so no number of parallel calls buys a comparison
// more, and the last word is the atomic mark, so with single_use at most one of them returns kVerified. Throws what
// `ledger` throws.
[[nodiscard]] Verification VerifyCode(const Challenge& challenge, std::string_view code, std::string_view purpose,
                                      UnixTime now, const Policy& policy, const Caller& caller, Ledger& ledger);

// CountAttempt counts one attempt without comparing anything. The verdict is kAdmitted if there was one left.
[[nodiscard]] Verification CountAttempt(const Challenge& challenge, UnixTime now, const Policy& policy,
                                        const Caller& caller, Ledger& ledger);

// Revoke makes `challenge` worthless from `now` on, also for a verification that is under way. False if it was before.
bool Revoke(const Challenge& challenge, UnixTime now, Ledger& ledger);

// AdvanceEpoch makes every challenge for `whom` and `purpose` worthless that was issued before the instant it returns,
// under whichever key of `ring`: `now` and `micros`, or a little later where a host whose clock is ahead was here
// before. `ttl` is how long a challenge may live. Throws Error{kClockBehind} if that clock is over kClockSkew ahead.
[[nodiscard]] Instant AdvanceEpoch(const Keyring& ring, const Identifier& whom, std::string_view purpose, UnixTime now,
                                   std::int64_t micros, std::int64_t ttl, Ledger& ledger);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_VERIFICATION_H_
