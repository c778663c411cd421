#include "otp_actions/context.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "json.h"
#include "openssl/handles.h"
#include "otp_actions/encoding.h"
#include "otp_actions/error.h"

namespace otp_actions {
namespace {

// The fields in the order they are written, as they stand in a payload of this core's. The first three are not in the
// older release's form.
constexpr std::array<std::string_view, 11> kNames = {R"("v":)",           R"("jti":)",        R"("purpose":)",
                                                     R"("identifier":)",  R"("otp_hash":)",   R"("metadata":)",
                                                     R"("timestamp":)",   R"("otp_expiry":)", R"("session_expiry":)",
                                                     R"("retry_count":)", R"("max_retries":)"};
enum Field : std::size_t {
  kV,
  kJti,
  kPurpose,
  kIdentifier,
  kOtpHash,
  kMetadata,
  kTimestamp,
  kOtpExpiry,
  kSessionExpiry,
  kRetryCount,
  kMaxRetriesField,
};
constexpr unsigned kAllFields = (1U << kNames.size()) - 1;
constexpr unsigned kLegacyFields = kAllFields & ~(1U << kV | 1U << kJti | 1U << kPurpose);

[[noreturn]] void Reject() { throw Error(ErrorCode::kInvalidToken); }

void AppendInt(std::int64_t value, SecretBytes& out) {
  std::array<char, 20> digits;
  const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.Append(std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())));
}

template <std::size_t N>
void AppendHex(const std::array<std::uint8_t, N>& bytes, SecretBytes& out) {
  std::array<char, 2 * N + 2> hex;
  hex.front() = hex.back() = '"';
  HexEncode(bytes, std::span(hex).subspan(1, 2 * N));
  out.Append(std::string_view(hex.data(), hex.size()));
}

void AppendIdentifier(const Identifier& identifier, SecretBytes& out) {
  if (const auto* number = std::get_if<std::int64_t>(&identifier)) return AppendInt(*number, out);
  if (const auto* text = std::get_if<std::string>(&identifier)) return json::AppendString(*text, out);
  out.Append("null");
}

void CheckLimits(const Payload& payload) {
  const auto* text = std::get_if<std::string>(&payload.identifier);
  if (text != nullptr && (text->size() > kMaxIdentifierSize || !json::IsUtf8(*text))) {
    throw std::invalid_argument("an identifier is at most 1024 bytes of UTF-8");
  }
  if (payload.purpose.size() > kMaxPurposeSize || !json::IsUtf8(payload.purpose)) {
    throw std::invalid_argument("a purpose is at most 128 bytes of UTF-8");
  }
  if (payload.metadata.size() > kMaxMetadataSize) throw std::invalid_argument("metadata is at most 4096 bytes of JSON");
  if (payload.metadata != "null" && !IsBoundedJson(payload.metadata, kMaxMetadataDepth)) {
    throw std::invalid_argument("metadata is one JSON value of depth at most 8");
  }
  for (const std::int64_t count : {payload.retry_count, payload.max_retries}) {
    if (count < 0 || count > kMaxRetries) throw std::invalid_argument("a count is between 0 and 1000000");
  }
  for (const UnixTime time : {payload.timestamp, payload.otp_expiry, payload.session_expiry}) {
    if (time < 0 || time >= kMaxTime) throw std::invalid_argument("a time is between 0 and 2^53");
  }
}

template <std::size_t N>
void ReadHex(json::Reader& in, std::array<std::uint8_t, N>& out) {
  const std::optional<std::string_view> hex = in.ConsumeQuoted(2 * N);
  if (!HexDecode(hex ? *hex : in.ReadPlainString(), out)) Reject();
}

Identifier ReadIdentifier(json::Reader& in) {
  switch (in.PeekValue()) {
    case '"': {
      std::string text = in.ReadString();
      if (text.size() > kMaxIdentifierSize) Reject();
      return text;
    }
    case 'n':
      in.ReadNull();
      return std::monostate();
    default: {
      const json::Number number = in.ReadNumber();
      if (!number.is_integer) Reject();
      return number.whole;
    }
  }
}

// The older release wrote times with a fraction. An expiry is rounded up and the time of issue down, so that no code
// lives shorter than it was told to.
UnixTime ReadTime(json::Reader& in, bool is_expiry, bool& saw_fraction) {
  const json::Number number = in.ReadNumber();
  if (number.whole < 0 || number.whole >= kMaxTime) Reject();
  const UnixTime time = number.whole + (is_expiry && number.rounds_up ? 1 : 0);
  if (time >= kMaxTime) Reject();
  saw_fraction = saw_fraction || !number.is_integer;
  return time;
}

std::int64_t ReadCount(json::Reader& in) {
  const json::Number number = in.ReadNumber();
  if (!number.is_integer || number.whole < 0 || number.whole > kMaxRetries) Reject();
  return number.whole;
}

// ReadName reads a name with its colon and returns its place among the fields. `guess` is looked at first: whoever
// wrote the payload, the fields come in our order.
std::size_t ReadName(json::Reader& in, std::size_t guess) {
  if (guess < kNames.size() && in.ConsumeText(kNames[guess])) return guess;
  const std::string_view name = in.ReadPlainString();
  const auto* const field = std::find_if(kNames.begin(), kNames.end(), [name](std::string_view whole) {
    return whole.substr(1, whole.size() - std::string_view(R"("":)").size()) == name;
  });
  if (field == kNames.end()) Reject();
  in.Expect(':');
  return static_cast<std::size_t>(field - kNames.begin());
}

// The ledger id of a challenge that brought none: a hash of everything a retry leaves as it was.
Jti DeriveLegacyJti(Payload payload) {
  payload.retry_count = 0;
  const SecretBytes fixed = EncodePayload(payload);
  Digest digest;
  unsigned int size = 0;
  openssl::Check(EVP_Digest(fixed.data(), fixed.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  Jti jti;
  std::copy_n(digest.begin(), jti.size(), jti.begin());
  return jti;
}

}  // namespace

bool IsBoundedJson(std::string_view json, int max_depth) {
  if (!json::IsUtf8(json)) return false;
  try {
    json::Reader reader(json);
    (void)reader.ReadRaw(max_depth);
    reader.ExpectEnd();
    return true;
  } catch (const Error&) {
    return false;
  }
}

SecretBytes EncodePayload(const Payload& payload) {
  CheckLimits(payload);
  SecretBytes out;
  out.Reserve(384 + payload.metadata.size());  // A typical payload without metadata has some 300 bytes.
  if (payload.version == Payload::kLegacyVersion) {
    out.Append(R"({"identifier":)");
  } else {
    out.Append(R"({"v":2,"jti":)");
    AppendHex(payload.jti, out);
    out.Append(R"(,"purpose":)");
    json::AppendString(payload.purpose, out);
    out.Append(R"(,"identifier":)");
  }
  AppendIdentifier(payload.identifier, out);
  out.Append(R"(,"otp_hash":)");
  AppendHex(payload.otp_hash, out);
  out.Append(R"(,"metadata":)");
  out.Append(payload.metadata);
  out.Append(R"(,"timestamp":)");
  AppendInt(payload.timestamp, out);
  out.Append(R"(,"otp_expiry":)");
  AppendInt(payload.otp_expiry, out);
  out.Append(R"(,"session_expiry":)");
  AppendInt(payload.session_expiry, out);
  out.Append(R"(,"retry_count":)");
  AppendInt(payload.retry_count, out);
  out.Append(R"(,"max_retries":)");
  AppendInt(payload.max_retries, out);
  out.Append('}');
  return out;
}

Payload ParsePayload(std::string_view json) {
  if (!json::IsUtf8(json)) Reject();
  json::Reader in(json);
  Payload payload;
  std::int64_t version = 0;
  unsigned seen = 0;
  bool saw_fraction = false;
  std::size_t next = 0;
  in.Expect('{');
  do {
    const std::size_t field = ReadName(in, next);
    next = field + 1;
    if ((seen & 1U << field) != 0) Reject();
    seen |= 1U << field;
    switch (field) {
      case kV:
        version = ReadCount(in);
        break;
      case kJti:
        ReadHex(in, payload.jti);
        break;
      case kPurpose:
        payload.purpose = in.ReadString();
        break;
      case kIdentifier:
        payload.identifier = ReadIdentifier(in);
        break;
      case kOtpHash:
        ReadHex(in, payload.otp_hash);
        break;
      case kMetadata:
        payload.metadata = in.ReadRaw(kMaxMetadataDepth);
        break;
      case kTimestamp:
        payload.timestamp = ReadTime(in, /*is_expiry=*/false, saw_fraction);
        break;
      case kOtpExpiry:
        payload.otp_expiry = ReadTime(in, /*is_expiry=*/true, saw_fraction);
        break;
      case kSessionExpiry:
        payload.session_expiry = ReadTime(in, /*is_expiry=*/true, saw_fraction);
        break;
      case kRetryCount:
        payload.retry_count = ReadCount(in);
        break;
      default:
        payload.max_retries = ReadCount(in);
        break;
    }
  } while (in.Consume(','));
  in.Expect('}');
  in.ExpectEnd();

  if (payload.purpose.size() > kMaxPurposeSize || payload.metadata.size() > kMaxMetadataSize) Reject();
  if (seen == kAllFields && version == Payload::kVersion && !saw_fraction) return payload;
  if (seen != kLegacyFields) Reject();
  payload.version = Payload::kLegacyVersion;
  payload.jti = DeriveLegacyJti(payload);
  return payload;
}

}  // namespace otp_actions
