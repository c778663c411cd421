// Shows that no branch and no address depends on a secret, where codes and tags are compared.
//
// valgrind's memcheck follows undefined bits through every computation, OpenSSL's too, and reports when a jump or an
// address depends on one. Here secrets are marked as undefined, so what it reports is what time can tell. Nothing is
// suppressed. Leaks that are made on purpose show that it would speak.

#include <valgrind/memcheck.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "otp_actions/challenge.h"
#include "otp_actions/constant_time.h"
#include "otp_actions/error.h"
#include "otp_actions/fernet.h"
#include "otp_actions/keyring.h"
#include "otp_actions/process_ledger.h"
#include "otp_actions/random.h"
#include "otp_actions/verdict.h"
#include "otp_actions/verification.h"

namespace otp_actions {
namespace {

constexpr UnixTime kNow = 1'800'000'000;

// MakeSecret marks `bytes` as undefined. They keep their values.
void MakeSecret(ByteView bytes) { VALGRIND_MAKE_MEM_UNDEFINED(bytes.data(), bytes.size()); }

// Publish says that whoever watches may know `value`: for verdicts only.
bool Publish(bool value) {
  VALGRIND_MAKE_MEM_DEFINED(&value, sizeof value);
  return value;
}

// DependsOnSecret is true if a bit of `value` is undefined.
bool DependsOnSecret(const bool& value) {
  std::uint8_t bits = 0;
  return VALGRIND_GET_VBITS(&value, &bits, sizeof bits) == 1 && bits != 0;
}

SecretBytes Bytes(std::uint8_t fill) {
  SecretBytes bytes(kFernetKeySize);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes.data()[i] = static_cast<std::uint8_t>(fill + i);
  return bytes;
}

SecretBytes SecretCopy(ByteView bytes) {
  SecretBytes copy(bytes);
  MakeSecret(copy.view());
  return copy;
}

// --- What is watched

using Compare = bool (*)(ByteView, ByteView);

bool CompareSecrets(Compare compare, std::size_t different_at) {
  SecretBytes a = Bytes(1);
  SecretBytes b = Bytes(1);
  if (different_at < b.size()) b.data()[different_at] ^= 1;
  MakeSecret(a.view());
  MakeSecret(b.view());
  return compare(a.view(), b.view());
}

constexpr std::size_t kNowhere = kFernetKeySize;

bool CompareEqual() { return CompareSecrets(ConstantTimeEqual, kNowhere); }
bool CompareDifferentFirst() { return CompareSecrets(ConstantTimeEqual, 0); }
bool CompareDifferentLast() { return CompareSecrets(ConstantTimeEqual, kFernetKeySize - 1); }

constexpr std::string_view kDigits = "123456789012";

// What is typed for the code that is the first `digits` of kDigits.
std::string Typed(int digits, bool right) {
  std::string typed(kDigits.substr(0, static_cast<std::size_t>(digits)));
  if (!right) typed.back() ^= 1;
  return typed;
}

// Request is a challenge but for the digest of its code.
Payload Request(int version, const Identifier& identifier, std::string_view purpose) {
  Payload payload;
  payload.version = version;
  payload.identifier = identifier;
  payload.purpose = purpose;
  payload.timestamp = kNow;
  payload.otp_expiry = payload.session_expiry = kNow + 300;
  payload.max_retries = 3;
  return payload;
}

using Run = std::function<bool()>;

// ForEachChallenge calls `function` for each kind of identifier, with a purpose and without, and each length of a code:
// a branch may be there for one of them only.
template <typename Function>
std::vector<Run> ForEachChallenge(int version, bool right, Function function) {
  std::vector<Run> runs;
  for (const Identifier& identifier : {Identifier(), Identifier(std::int64_t{42}), Identifier("ada@example.com")}) {
    for (const std::string_view purpose : {"", "login"}) {
      for (int digits = kMinCodeLength; digits <= kMaxCodeLength; ++digits) {
        const Payload request = Request(version, identifier, purpose);
        runs.emplace_back([=] { return function(request, Typed(digits, true), Typed(digits, right)); });
      }
    }
  }
  return runs;
}

// The ring key, the digest in the challenge and the code that was typed are secret.
bool MatchSecrets(Payload payload, std::string_view code, std::string_view typed) {
  payload.otp_hash = CodeDigest(payload, RingKey(Bytes(1).view()), code);
  MakeSecret(payload.otp_hash);
  const RingKey key(SecretCopy(Bytes(1).view()).view());
  const SecretBytes secret = SecretCopy(AsBytes(typed));
  return Match(payload, key, secret.text());
}

std::vector<Run> Matches(int version, bool right) { return ForEachChallenge(version, right, MatchSecrets); }

// The key is secret, and so is the tag that it should have been. The token is the client's.
bool Authenticate(bool right) {
  std::string text = FernetKey(Bytes(1).view()).Seal(AsBytes("hello"), kNow);
  if (!right) text[20] = text[20] == 'A' ? 'B' : 'A';
  const FernetKey key(SecretCopy(Bytes(1).view()).view());
  return key.Authenticates(FernetToken::Decode(text));
}

bool AuthenticateRight() { return Authenticate(true); }
bool AuthenticateWrong() { return Authenticate(false); }

// All keys are secret. That no two are the same is acted upon once for each pair, and for each key, that it did not
// make the token. One that did would go on to decrypt.
bool OpenForeign() {
  const Keyring ring(std::array{SecretCopy(Bytes(1).view()), SecretCopy(Bytes(2).view()), SecretCopy(Bytes(3).view())});
  try {
    (void)ring.Open(FernetKey(Bytes(4).view()).Seal(AsBytes("hello"), kNow));
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Here the verdict is acted upon: the one branch that is reported is that. The context is that of the last key.
bool VerifySecrets(Payload payload, std::string_view code, std::string_view typed) {
  const Keyring old(std::array{Bytes(3)});
  payload.otp_hash = CodeDigest(payload, *old.primary(), code);
  const Keyring ring(std::array{Bytes(1), Bytes(2), Bytes(3)});
  const Challenge challenge = Challenge::Open(ring, old.Seal(EncodePayload(payload).view(), kNow));
  MakeSecret(challenge.payload().otp_hash);
  const SecretBytes secret = SecretCopy(AsBytes(typed));
  ProcessLedger ledger(64);
  const Verification result = VerifyCode(challenge, secret.text(), payload.purpose, kNow, {}, {}, ledger);
  return result.verdict == Verdict::kVerified;
}

std::vector<Run> Verifications(bool right) { return ForEachChallenge(Payload::kVersion, right, VerifySecrets); }

// --- Leaks made on purpose

bool EqualWithEarlyExit(ByteView a, ByteView b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

bool EqualByMemcmp(ByteView a, ByteView b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// No branch, but an address.
bool EqualByTable(ByteView a, ByteView b) {
  static const auto table = [] {
    std::array<std::uint8_t, 256> is_zero{};
    is_zero[0] = 1;
    return is_zero;
  }();
  std::uint8_t equal = 1;
  for (std::size_t i = 0; i < a.size(); ++i) equal &= table[a[i] ^ b[i]];
  return equal != 0;
}

bool LeakByEarlyExit() { return CompareSecrets(EqualWithEarlyExit, 7); }
bool LeakByMemcmp() { return CompareSecrets(EqualByMemcmp, 7); }
bool LeakByTable() { return CompareSecrets(EqualByTable, 7); }

// --- The table

constexpr unsigned kSome = ~0U;

struct Case {
  const char* name;
  std::vector<Run> runs;
  bool verdict;       // What each returns.
  bool is_secret;     // The verdict depends on the secrets: they were not lost on the way.
  unsigned expected;  // Reports of each run; kSome for any number but none.
};

std::vector<Case> Cases() {
  return {
      {"compare: equal", {CompareEqual}, true, true, 0},
      {"compare: the first byte differs", {CompareDifferentFirst}, false, true, 0},
      {"compare: the last byte differs", {CompareDifferentLast}, false, true, 0},
      {"match: right codes", Matches(Payload::kVersion, true), true, true, 0},
      {"match: wrong codes", Matches(Payload::kVersion, false), false, true, 0},
      {"match: right codes, form of 0.1", Matches(Payload::kLegacyVersion, true), true, true, 0},
      {"match: wrong codes, form of 0.1", Matches(Payload::kLegacyVersion, false), false, true, 0},
      {"authenticate: right tag", {AuthenticateRight}, true, true, 0},
      {"authenticate: wrong tag", {AuthenticateWrong}, false, true, 0},
      {"ring of three: another's token", {OpenForeign}, false, false, 6},
      {"verify: right codes, acted upon", Verifications(true), true, false, 1},
      {"verify: wrong codes, acted upon", Verifications(false), false, false, 1},
      {"leak on purpose: early exit", {LeakByEarlyExit}, false, false, kSome},
      {"leak on purpose: memcmp", {LeakByMemcmp}, false, false, kSome},
      {"leak on purpose: table", {LeakByTable}, false, true, kSome},
  };
}

bool Holds(const Case& c) {
  bool holds = true;
  unsigned total = 0;
  for (std::size_t i = 0; i < c.runs.size(); ++i) {
    VALGRIND_PRINTF("--- %s, %zu\n", c.name, i);
    const unsigned before = VALGRIND_COUNT_ERRORS;
    const bool secret_verdict = c.runs[i]();
    const unsigned reports = VALGRIND_COUNT_ERRORS - before;
    const bool is_secret = DependsOnSecret(secret_verdict);
    holds = holds && (c.expected == kSome ? reports > 0 : reports == c.expected && is_secret == c.is_secret);
    holds = Publish(secret_verdict) == c.verdict && holds;
    total += reports;
  }
  const auto count = static_cast<unsigned>(c.runs.size());
  std::printf("%-34s %5u %8u %9s %7s  %s\n", c.name, count, total,
              c.expected == kSome ? "some" : std::to_string(c.expected * count).c_str(), c.verdict ? "yes" : "no",
              holds ? "ok" : "NOT AS EXPECTED");
  return holds;
}

}  // namespace
}  // namespace otp_actions

int main() {
  if (RUNNING_ON_VALGRIND == 0) {
    std::puts("This needs valgrind to watch it. Type: make secrets");
    return 2;
  }
  std::printf("%-34s %5s %8s %9s %7s\n", "", "runs", "reports", "expected", "verdict");
  bool holds = true;
  for (const auto& c : otp_actions::Cases()) holds = otp_actions::Holds(c) && holds;
  return holds ? 0 : 1;
}
