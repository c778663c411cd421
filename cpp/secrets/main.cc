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
#include <string>
#include <string_view>

#include "otp_actions/challenge.h"
#include "otp_actions/constant_time.h"
#include "otp_actions/fernet.h"
#include "otp_actions/keyring.h"
#include "otp_actions/process_ledger.h"
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

// The ring key, the digest in the challenge and the code that was typed are secret.
bool MatchSecrets(int version, const Identifier& identifier, std::string_view typed) {
  Payload payload;
  payload.version = version;
  payload.identifier = identifier;
  payload.otp_hash = CodeDigest(payload, RingKey(Bytes(1).view()), "123456");
  MakeSecret(payload.otp_hash);
  const RingKey key(SecretCopy(Bytes(1).view()).view());
  const SecretBytes code = SecretCopy(AsBytes(typed));
  return Match(payload, key, code.text());
}

bool MatchRight() { return MatchSecrets(Payload::kVersion, "ada@example.com", "123456"); }
bool MatchWrong() { return MatchSecrets(Payload::kVersion, std::int64_t{42}, "123457"); }
bool MatchLegacyRight() { return MatchSecrets(Payload::kLegacyVersion, "ada@example.com", "123456"); }
bool MatchLegacyWrong() { return MatchSecrets(Payload::kLegacyVersion, std::monostate(), "023456"); }

// The key is secret, and so is the tag that it should have been. The token is the client's.
bool Authenticate(bool right) {
  std::string text = FernetKey(Bytes(1).view()).Seal(AsBytes("hello"), kNow);
  if (!right) text[20] = text[20] == 'A' ? 'B' : 'A';
  const FernetKey key(SecretCopy(Bytes(1).view()).view());
  return key.Authenticates(FernetToken::Decode(text));
}

bool AuthenticateRight() { return Authenticate(true); }
bool AuthenticateWrong() { return Authenticate(false); }

// Here the verdict is acted upon: the one branch that is reported is that.
bool Verify(std::string_view typed) {
  const Keyring ring(std::array{Bytes(1)});
  Payload payload;
  payload.timestamp = kNow;
  payload.otp_expiry = payload.session_expiry = kNow + 300;
  payload.max_retries = 3;
  payload.otp_hash = CodeDigest(payload, *ring.primary(), "123456");
  const Challenge challenge = Challenge::Open(ring, ring.Seal(EncodePayload(payload).view(), kNow));
  MakeSecret(challenge.payload().otp_hash);
  const SecretBytes code = SecretCopy(AsBytes(typed));
  ProcessLedger ledger(64);
  return VerifyCode(challenge, code.text(), "", kNow, {}, {}, ledger).verdict == Verdict::kVerified;
}

bool VerifyRight() { return Verify("123456"); }
bool VerifyWrong() { return Verify("654321"); }

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
  bool (*run)();
  bool verdict;       // What it returns.
  bool is_secret;     // The verdict depends on the secrets: they were not lost on the way.
  unsigned expected;  // Reports; kSome for any number but none.
};

constexpr Case kCases[] = {
    {"compare: equal", CompareEqual, true, true, 0},
    {"compare: the first byte differs", CompareDifferentFirst, false, true, 0},
    {"compare: the last byte differs", CompareDifferentLast, false, true, 0},
    {"match: right code", MatchRight, true, true, 0},
    {"match: wrong code", MatchWrong, false, true, 0},
    {"match: right code, form of 0.1", MatchLegacyRight, true, true, 0},
    {"match: wrong code, form of 0.1", MatchLegacyWrong, false, true, 0},
    {"authenticate: right tag", AuthenticateRight, true, true, 0},
    {"authenticate: wrong tag", AuthenticateWrong, false, true, 0},
    {"verify: right code, acted upon", VerifyRight, true, false, 1},
    {"verify: wrong code, acted upon", VerifyWrong, false, false, 1},
    {"leak on purpose: early exit", LeakByEarlyExit, false, false, kSome},
    {"leak on purpose: memcmp", LeakByMemcmp, false, false, kSome},
    {"leak on purpose: table", LeakByTable, false, true, kSome},
};

bool Holds(const Case& c) {
  VALGRIND_PRINTF("--- %s\n", c.name);
  const unsigned before = VALGRIND_COUNT_ERRORS;
  const bool secret_verdict = c.run();
  const unsigned reports = VALGRIND_COUNT_ERRORS - before;
  const bool is_secret = DependsOnSecret(secret_verdict);
  const bool verdict = Publish(secret_verdict);
  bool holds = c.expected == kSome ? reports > 0 : reports == c.expected && is_secret == c.is_secret;
  holds = holds && verdict == c.verdict;
  std::printf("%-34s %8u %9s %7s  %s\n", c.name, reports,
              c.expected == kSome ? "some" : std::to_string(c.expected).c_str(), verdict ? "yes" : "no",
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
  std::printf("%-34s %8s %9s %7s\n", "", "reports", "expected", "verdict");
  bool holds = true;
  for (const auto& c : otp_actions::kCases) holds = otp_actions::Holds(c) && holds;
  return holds ? 0 : 1;
}
