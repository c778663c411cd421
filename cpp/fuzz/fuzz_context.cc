#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <tuple>

#include "json.h"
#include "otp_actions/challenge.h"
#include "otp_actions/context.h"
#include "otp_actions/error.h"
#include "otp_actions/keyring.h"
#include "otp_actions/process_ledger.h"
#include "otp_actions/verification.h"
#include "targets.h"

namespace otp_actions::fuzz {
namespace {

const Keyring& Ring() {
  static const Keyring ring(std::array{SecretBytes(kFernetKeySize)});
  return ring;
}

auto Tie(const Payload& p) {
  return std::tie(p.version, p.jti, p.purpose, p.identifier, p.otp_hash, p.metadata, p.timestamp, p.otp_expiry,
                  p.session_expiry, p.retry_count, p.max_retries);
}

bool Same(const Payload& a, const Payload& b) { return Tie(a) == Tie(b); }

// Rejected runs `call`; true if it throws Error{code}.
template <typename Call>
bool Rejected(ErrorCode code, Call call) {
  try {
    call();
    return false;
  } catch (const Error& error) {
    Require(error.code() == code, "the rejection is the one that was announced");
    return true;
  }
}

std::optional<Payload> Parse(std::string_view json) {
  std::optional<Payload> payload;
  (void)Rejected(ErrorCode::kInvalidToken, [&] { payload = ParsePayload(json); });
  return payload;
}

void CheckCodec(const Payload& payload) {
  const SecretBytes json = EncodePayload(payload);
  Require(Same(ParsePayload(json.text()), payload), "parse(encode(x)) is x");
  Require(EncodePayload(ParsePayload(json.text())).text() == json.text(), "there is one way to write a payload");
  Require(json::IsUtf8(json.text()) && IsBoundedJson(json.text(), kMaxMetadataDepth + 1), "what is written is JSON");
}

// What a service does with a context that opens.
void CheckChallenge(const Challenge& challenge) {
  const Payload& payload = challenge.payload();
  const UnixTime now = payload.timestamp;
  const Claim attempt = challenge.NextAttempt(now);
  Require(attempt.bucket.id == payload.jti && attempt.limit >= 0 && attempt.limit <= kMaxRetries && attempt.ttl > 0,
          "an attempt is claimed under the jti, within the limits");

  Payload next = payload;
  next.retry_count = std::min(payload.retry_count + 1, kMaxRetries);
  std::string context;
  // Another's spelling may be shorter than ours.
  if (Rejected(ErrorCode::kContextTooBig, [&] { context = challenge.Reseal(next.retry_count, now); })) return;
  Require(Same(Challenge::Open(Ring(), context).payload(), next), "sealing again changes nothing but the count");

  ProcessLedger ledger(64);
  const Policy policy;
  const auto verify = [&] { return VerifyCode(challenge, "123456", payload.purpose, now, policy, {}, ledger).verdict; };
  const Verdict first = verify();
  const Verdict second = verify();
  Require(first != Verdict::kVerified || second == Verdict::kUsed, "a code is accepted once");
  Require(first != Verdict::kAdmitted && first != Verdict::kWrongPurpose && first != Verdict::kUsed,
          "no other verdict");
}

// `input` as JSON text, at every depth. What is nested within a depth is nested within a greater one.
void CheckJson(std::string_view input) {
  int depth = kMaxMetadataDepth + 1;
  while (depth >= 0 && IsBoundedJson(input, depth)) --depth;
  Require(depth <= 0 || !IsBoundedJson(input, 0), "what is too deep for a depth is too deep for a smaller one");
}

// `input` as each of the fields that a caller fills.
void CheckFields(std::string_view input) {
  Payload payload;
  if (json::IsUtf8(input)) {
    if (input.size() <= kMaxIdentifierSize) payload.identifier = std::string(input);
    if (input.size() <= kMaxPurposeSize) payload.purpose = input;
  }
  CheckCodec(payload);
  if (input.size() > kMaxMetadataSize || !IsBoundedJson(input, kMaxMetadataDepth)) return;
  payload.metadata = input;
  // White space around the value is no part of it.
  const Payload parsed = ParsePayload(EncodePayload(payload).text());
  Require(input.find(parsed.metadata) != std::string_view::npos, "metadata comes back as it was written");
  payload.metadata = parsed.metadata;
  CheckCodec(payload);
}

}  // namespace

bool FuzzContext(ByteView input) {
  const std::string_view text = AsText(input);
  CheckJson(text);
  CheckFields(text);
  const std::optional<Payload> payload = Parse(text);
  if (payload) CheckCodec(*payload);

  std::string context;
  if (Rejected(ErrorCode::kContextTooBig, [&] { context = Ring().Seal(input, 0); })) return payload.has_value();
  std::optional<Challenge> challenge;
  (void)Rejected(ErrorCode::kInvalidToken, [&] { challenge = Challenge::Open(Ring(), context); });
  Require(challenge.has_value() == payload.has_value(), "what opens is what parses");
  if (!challenge) return false;
  Require(Same(challenge->payload(), *payload), "what is opened is what was sealed");
  CheckChallenge(*challenge);
  return true;
}

}  // namespace otp_actions::fuzz
