#include "otp_actions/verification.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "otp_actions/error.h"

namespace otp_actions {
namespace {

// Kinds of ledger keys. Backends that lock rows lock them in the order of their keys: a challenge before its budgets.
constexpr std::uint8_t kEpochKind = 'e';
constexpr std::uint8_t kIdentifierKind = 'i';
constexpr std::uint8_t kNetworkKind = 'p';

// Few is a vector of at most N items that never allocates.
template <typename Item, std::size_t N>
class Few {
 public:
  void Add(const Item& item) { items_.at(size_++) = item; }
  [[nodiscard]] std::span<const Item> view() const { return std::span(items_).first(size_); }
  [[nodiscard]] const Item& operator[](std::size_t i) const { return items_.at(i); }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::array<Item, N> items_{};
  std::size_t size_ = 0;
};

// Attempt is what one attempt asks of a ledger, whichever ledger that is; and what each refusal means.
struct Attempt {
  Attempt(const Challenge& challenge, UnixTime now, const Policy& policy, const Caller& caller) {
    const Claim entry = challenge.NextAttempt(now);
    Unless(entry.bucket, kRevokedMark - 1, Verdict::kRevoked);
    if (caller.identifier) {
      Unless({kEpochKind, *caller.identifier}, challenge.issued_at(), Verdict::kRevoked);
    }
    Unless(entry.bucket, kUsedMark - 1, Verdict::kUsed);
    // What a right code gives back: the attempt only where the code may be used again, of a network's budget this one
    // unit, of an identifier's all: whoever has proved who he is does not pay for those who guessed.
    Count(entry, Verdict::kExhausted);
    if (!policy.single_use) releases.Add({entry, 1});
    if (policy.identifier.limit > 0 && caller.identifier) {
      const Claim budget = {{kIdentifierKind, *caller.identifier}, policy.identifier.limit, policy.identifier.seconds};
      Count(budget, Verdict::kOverBudget);
      releases.Add({budget, budget.limit});
    }
    if (policy.network.limit > 0 && caller.network) {
      const Claim budget = {{kNetworkKind, *caller.network}, policy.network.limit, policy.network.seconds};
      Count(budget, Verdict::kOverBudget);
      releases.Add({budget, 1});
    }
  }

  [[nodiscard]] Verdict Refusal(std::size_t index) const {
    if (index < barriers.size()) return barrier_verdicts[index];
    index -= barriers.size();
    return index < claims.size() ? claim_verdicts[index] : Verdict::kExhausted;
  }

  Few<Barrier, 3> barriers;  // Looked at in this order,
  Few<Claim, 3> claims;      // and then these.
  Few<Release, 3> releases;

 private:
  void Unless(const LedgerKey& mark, std::int64_t above, Verdict verdict) {
    barriers.Add({mark, above});
    barrier_verdicts.Add(verdict);
  }
  void Count(const Claim& claim, Verdict verdict) {
    claims.Add(claim);
    claim_verdicts.Add(verdict);
  }

  Few<Verdict, 3> barrier_verdicts;
  Few<Verdict, 3> claim_verdicts;
};

Verification Count(const Challenge& challenge, const Attempt& attempt, UnixTime now, Ledger& ledger) {
  const auto result = ledger.Take(attempt.claims.view(), attempt.barriers.view(), now);
  if (const auto* denied = std::get_if<Denied>(&result)) {
    return {.verdict = attempt.Refusal(denied->index), .retry_after = denied->retry_after};
  }
  return {.verdict = Verdict::kAdmitted,
          .attempts_made = std::max(std::get<Taken>(result).counts.at(0), challenge.payload().retry_count + 1)};
}

}  // namespace

Verification CountAttempt(const Challenge& challenge, UnixTime now, const Policy& policy, const Caller& caller,
                          Ledger& ledger) {
  return Count(challenge, Attempt(challenge, now, policy, caller), now, ledger);
}

Verification VerifyCode(const Challenge& challenge, std::string_view code, std::string_view purpose, UnixTime now,
                        const Policy& policy, const Caller& caller, Ledger& ledger) {
  if (const Verdict verdict = Admit(challenge.payload(), purpose, now, policy.accept_legacy);
      verdict != Verdict::kAdmitted) {
    return {.verdict = verdict};
  }
  const Attempt attempt(challenge, now, policy, caller);
  Verification verification = Count(challenge, attempt, now, ledger);
  if (verification.verdict != Verdict::kAdmitted) return verification;
  if (!Match(challenge.payload(), challenge.key(), code)) {
    verification.verdict = Verdict::kWrongCode;
    return verification;
  }
  const Claim& entry = attempt.claims[0];
  if (!policy.single_use) {
    // Nothing is marked where a code may be used again, so a revocation since the take is asked for.
    const auto result = ledger.Take({}, attempt.barriers.view(), now);
    if (const auto* denied = std::get_if<Denied>(&result)) return {.verdict = attempt.Refusal(denied->index)};
    for (const Release& release : attempt.releases.view()) ledger.GiveBack(release, now);
  } else if (!ledger.Advance(entry.bucket, kUsedMark, entry.ttl, now, attempt.releases.view())) {
    return {.verdict = Verdict::kUsed};  // The same code by another way, or a revocation, got here first.
  }
  verification.verdict = Verdict::kVerified;
  return verification;
}

bool Revoke(const Challenge& challenge, UnixTime now, Ledger& ledger) {
  const Claim entry = challenge.NextAttempt(now);
  return ledger.Advance(entry.bucket, kRevokedMark, entry.ttl, now);
}

Instant AdvanceEpoch(const Keyring& ring, const Identifier& whom, std::string_view purpose, UnixTime now,
                     std::int64_t micros, std::int64_t ttl, Ledger& ledger) {
  const auto epoch = [&](const RingKey& key) {
    return LedgerKey{kEpochKind, SubjectOf(key, kIdentifierUse, whom, purpose)};
  };
  Instant instant = NextInstant(now, micros);
  if ((instant & kMaxPlace) == kMaxPlace) ++instant;  // The last place of a second may have been given twice.
  // Refused means that the stored epoch is not older: a host whose clock is ahead was here. Look for a later instant in
  // steps that double, up to the difference between clocks that is reckoned with everywhere.
  const LedgerKey mark = epoch(*ring.primary());
  for (Instant step = 1; !ledger.Advance(mark, instant, ttl, now); step *= 2) {
    if (step > InstantOf(kClockSkew, 0)) throw Error(ErrorCode::kClockBehind);
    instant += step;
  }
  NoteInstant(instant);
  // A challenge in flight looks at the epoch under the key that sealed it.
  for (const std::shared_ptr<const RingKey>& key : ring.keys()) {
    if (key != ring.primary()) (void)ledger.Advance(epoch(*key), instant, ttl, now);
  }
  return instant;
}

}  // namespace otp_actions
