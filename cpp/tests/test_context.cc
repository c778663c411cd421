#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "expect.h"
#include "otp_actions/context.h"

namespace otp_actions {
namespace {

using namespace std::string_literals;
using testing::ThrowsError;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

::testing::AssertionResult IsRejected(std::string_view json) {
  return ThrowsError(ErrorCode::kInvalidToken, [&] { (void)ParsePayload(json); });
}

Payload Sample() {
  Payload payload;
  for (std::size_t i = 0; i < payload.jti.size(); ++i) payload.jti[i] = static_cast<std::uint8_t>(0xf0 + i);
  for (std::size_t i = 0; i < payload.otp_hash.size(); ++i) payload.otp_hash[i] = static_cast<std::uint8_t>(3 * i);
  payload.purpose = "login";
  payload.identifier = "user@example.com";
  payload.timestamp = 1'700'000'000;
  payload.otp_expiry = 1'700'000'300;
  payload.session_expiry = 1'700'000'900;
  payload.retry_count = 1;
  payload.max_retries = 5;
  return payload;
}

void ExpectSame(const Payload& a, const Payload& b) {
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.jti, b.jti);
  EXPECT_EQ(a.purpose, b.purpose);
  EXPECT_EQ(a.identifier, b.identifier);
  EXPECT_EQ(a.otp_hash, b.otp_hash);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(a.timestamp, b.timestamp);
  EXPECT_EQ(a.otp_expiry, b.otp_expiry);
  EXPECT_EQ(a.session_expiry, b.session_expiry);
  EXPECT_EQ(a.retry_count, b.retry_count);
  EXPECT_EQ(a.max_retries, b.max_retries);
}

void ExpectRoundTrip(const Payload& payload) { ExpectSame(ParsePayload(EncodePayload(payload).text()), payload); }

// Fields is a payload as JSON texts, to be bent one field at a time.
class Fields {
 public:
  static Fields V2() {
    return Fields({{"v", "2"},
                   {"jti", "\"00112233445566778899aabbccddeeff\""},
                   {"purpose", "\"login\""},
                   {"identifier", "\"user@example.com\""},
                   {"otp_hash", "\"" + std::string(64, 'a') + "\""},
                   {"metadata", "{\"a\":1}"},
                   {"timestamp", "1700000000"},
                   {"otp_expiry", "1700000300"},
                   {"session_expiry", "1700000900"},
                   {"retry_count", "0"},
                   {"max_retries", "3"}});
  }
  static Fields Legacy() {
    return V2()
        .Without("v")
        .Without("jti")
        .Without("purpose")
        .With("timestamp", "1734688500.123456")
        .With("otp_expiry", "1734688800.123456")
        .With("session_expiry", "1734689400.123456");
  }

  [[nodiscard]] Fields With(std::string_view name, std::string value) const {
    Fields other = *this;
    other.Find(name).second = std::move(value);
    return other;
  }
  [[nodiscard]] Fields Without(std::string_view name) const {
    Fields other = *this;
    std::erase_if(other.fields_, [&](const auto& field) { return field.first == name; });
    return other;
  }
  [[nodiscard]] Fields And(std::string name, std::string value) const {
    Fields other = *this;
    other.fields_.emplace_back(std::move(name), std::move(value));
    return other;
  }
  [[nodiscard]] Fields Reversed() const {
    Fields other = *this;
    std::reverse(other.fields_.begin(), other.fields_.end());
    return other;
  }

  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& field : fields_) names.push_back(field.first);
    return names;
  }
  [[nodiscard]] const std::string& Value(std::string_view name) const {
    return const_cast<Fields*>(this)->Find(name).second;
  }
  [[nodiscard]] std::string Json(std::string_view comma = ",", std::string_view colon = ":") const {
    std::string json = "{";
    for (const auto& [name, value] : fields_) {
      if (json.size() > 1) json += comma;
      json.append("\"").append(name).append("\"").append(colon).append(value);
    }
    return json + "}";
  }

 private:
  explicit Fields(std::vector<std::pair<std::string, std::string>> fields) : fields_(std::move(fields)) {}
  std::pair<std::string, std::string>& Find(std::string_view name) {
    const auto found =
        std::find_if(fields_.begin(), fields_.end(), [&](const auto& field) { return field.first == name; });
    if (found == fields_.end()) throw std::runtime_error("no such field");
    return *found;
  }

  std::vector<std::pair<std::string, std::string>> fields_;
};

std::string Nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

std::string NestedObjects(int depth) {
  std::string json = "1";
  for (int i = 0; i < depth; ++i) json = "{\"a\":" + json + "}";
  return json;
}

// JSON texts that RFC 8259 does not know, or that we refuse in any place.
const std::vector<std::string>& BadJson() {
  static const auto* const bad = new std::vector<std::string>{
      "", " ", "NaN", "nan", "Infinity", "-Infinity", "-NaN", "inf", "undefined", "None", "True", "False", "nul",
      "nulll", "tru", "truee", "falsee", "NULL", "'a'", "a", "\"", "\"a", "a\"", "\"a\"\"b\"", "[", "]", "{", "}", "[1",
      "[1,", "[1,]", "[,1]", "[,]", "[1 2]", "[1,,2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,\"a\":1}", "{\"a\" 1}",
      "{a:1}", "{'a':1}", "{1:1}", "{\"a\":1 \"b\":2}", "{\"a\":1,,\"b\":2}", "{\"a\":1]", "[1}", "{\"a\":1}}", "[1]]",
      "1 2", "1,2", "null null", "{}{}", "[][]",
      // Numbers.
      "01", "-01", "00", "+1", "-", "--1", "1.", ".5", "-.5", "1.e5", "1e", "1e+", "1E-", "1e1.5", "0x10", "1_000",
      "1,5", "1f", "0b1", "0o7", "١",
      // Comments and white space that JSON has not.
      "/*a*/1", "1//a", "#", "\v1", "\f1",
      "\xc2\xa0"
      "1",
      "\xef\xbb\xbf"
      "1",
      "\xe2\x80\xa8"
      "1",
      "\0"s, "1\0"s,
      "\0"
      "1"s,
      // Control characters and escapes in strings.
      "\"\n\"", "\"\t\"", "\"\0\""s, "\"\x1f\"", "\"a\rb\"", "\"\\\"", "\"\\x41\"", "\"\\'\"", "\"\\0\"", "\"\\a\"",
      "\"\\U0041\"", "\"\\u\"", "\"\\u1\"", "\"\\u12\"", "\"\\u123\"", "\"\\u123g\"", "\"\\u 123\"", "\"\\u+123\"",
      "\"\\u-123\"", "\"\\u12\"34\"", "\"\\", "\"\\u", "\"\\u004", "\"\\ \"",
      // Surrogates that are no pair.
      "\"\\ud800\"", "\"\\udbff\"", "\"\\udc00\"", "\"\\udfff\"", "\"\\ud800a\"", "\"\\ud800\\n\"",
      "\"\\ud800\\u0041\"", "\"\\ud800\\ud800\"", "\"\\udc00\\ud800\"", "\"\\udc00\\udc00\"", "\"\\udfff\\udfff\"",
      "\"\\ud800\\ue000\"", "\"\\ud83d\\\"", "\"\\ud83d\\u\"", "\"\\ud83d\\udc0\"", "\"a\\ud800\"", "\"\\uD800\"",
      "\"\\ud83d\\ude00\\ude00\"",
      // One member twice.
      "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":1,\"\\u0061\":2}", "{\"\\u0061\":1,\"a\":2}",
      "{\"\":1,\"\":2}", "[{\"a\":1,\"a\":2}]", "{\"x\":{\"a\":1,\"a\":2}}", "{\"\\/\":1,\"/\":2}",
      "{\"\\u00e9\":1,\"é\":2}", "{\"\\ud83d\\ude00\":1,\"😀\":2}", "{\"a\":{\"a\":1},\"a\":2}",
      "{\"a\":{\"b\":{}},\"c\":[{\"b\":1}],\"\\u0061\":2}", "{\"\\u0061\":{\"\\u0062\":1},\"\\u0061\":2}"};
  return *bad;
}

// Bytes that are not UTF-8 (RFC 3629).
const std::vector<std::string>& BadUtf8() {
  static const auto* const bad = new std::vector<std::string>{"\x80",
                                                              "\xbf",
                                                              "\xc0\x80",
                                                              "\xc0\xaf",
                                                              "\xc1\xbf",
                                                              "\xe0\x80\x80",
                                                              "\xe0\x9f\xbf",
                                                              "\xf0\x80\x80\x80",
                                                              "\xf0\x8f\xbf\xbf",
                                                              "\xed\xa0\x80",
                                                              "\xed\xaf\xbf",
                                                              "\xed\xb0\x80",
                                                              "\xed\xbf\xbf",
                                                              "\xed\xa0\xbd\xed\xb8\x80",
                                                              "\xf4\x90\x80\x80",
                                                              "\xf5\x80\x80\x80",
                                                              "\xf8\x88\x80\x80\x80",
                                                              "\xfc\x84\x80\x80\x80\x80",
                                                              "\xfe",
                                                              "\xff",
                                                              "\xff\xfe",
                                                              "\xc3",
                                                              "\xc3(",
                                                              "\xe2\x82",
                                                              "\xe2(\xa1",
                                                              "\xe2\x82(",
                                                              "\xf0\x9f\x98",
                                                              "\xf0(\x8c\xbc",
                                                              "\xf0\x90(\xbc",
                                                              "\xf0\x28\x8c\x28",
                                                              "abcdefg\xff",
                                                              "abcdefgh\xff",
                                                              "abcdefghijklmno\xc3",
                                                              "é\xc3",
                                                              "\xe9"};
  return *bad;
}

// ---- Round trips ----

TEST(ContextTest, RoundTripsEveryTypeOfIdentifier) {
  Payload payload = Sample();
  for (const Identifier& identifier :
       {Identifier(), Identifier(std::int64_t{0}), Identifier(std::int64_t{42}), Identifier(std::int64_t{-1}),
        Identifier(kMax), Identifier(kMin), Identifier(""s), Identifier("42"s), Identifier("null"s),
        Identifier("user@example.com"s), Identifier(std::string(kMaxIdentifierSize, 'x'))}) {
    payload.identifier = identifier;
    ExpectRoundTrip(payload);
  }
}

TEST(ContextTest, RoundTripsEveryCharacterThatNeedsCare) {
  Payload payload = Sample();
  std::string controls;
  for (int c = 0; c < 0x80; ++c) controls.push_back(static_cast<char>(c));
  for (const std::string& text : {controls, "\0"s, "a\0b"s, "\"\\/"s, "\\u0041"s, "\\"s, "\n\r\t\b\f"s, "é"s,
                                  "\u0080\u07ff\u0800\ud7fb\ue000\uffff"s, "\U00010000\U0010ffff"s,
                                  "Ünïcødé 🔑 密码 كلمة"s, "\u2028\u2029"s, "\ufeff"s, "</script>"s}) {
    payload.identifier = text;
    payload.purpose = text.substr(0, kMaxPurposeSize);
    ExpectRoundTrip(payload);
  }
}

TEST(ContextTest, RoundTripsNumbersAtTheirLimits) {
  Payload payload = Sample();
  payload.timestamp = payload.otp_expiry = payload.session_expiry = payload.retry_count = payload.max_retries = 0;
  ExpectRoundTrip(payload);
  payload.timestamp = payload.otp_expiry = payload.session_expiry = kMaxTime - 1;
  payload.retry_count = payload.max_retries = kMaxRetries;
  ExpectRoundTrip(payload);
}

TEST(ContextTest, RoundTripsPurposeAndMetadataAtTheirLimits) {
  Payload payload = Sample();
  payload.purpose = std::string(kMaxPurposeSize, 'p');
  payload.metadata = "\"" + std::string(kMaxMetadataSize - 2, 'm') + "\"";
  ExpectRoundTrip(payload);
  payload.purpose = "";
  ExpectRoundTrip(payload);
}

TEST(ContextTest, KeepsMetadataAsItWasWritten) {
  Payload payload = Sample();
  for (const std::string& metadata :
       {"null"s, "{}"s, "[]"s, "0"s, "-0"s, "1e5"s, "1.50E+3"s, "true"s, "\"\""s, "\"\\u00e9\\/\\n\""s,
        "{\"b\": 1, \"a\" : [ 1 , 2 ]}"s, "{\"é\":\"😀\",\"n\":123456789012345678901234567890.5}"s,
        "\"\\ud83d\\ude00\""s, Nested(kMaxMetadataDepth), NestedObjects(kMaxMetadataDepth)}) {
    payload.metadata = metadata;
    ExpectRoundTrip(payload);
  }
}

TEST(ContextTest, RoundTripsTheOlderForm) {
  const Payload payload = ParsePayload(Fields::Legacy().Json());
  ASSERT_EQ(payload.version, Payload::kLegacyVersion);
  ExpectRoundTrip(payload);
  const std::string text(EncodePayload(payload).text());
  for (const char* const name : {"\"v\"", "\"jti\"", "\"purpose\""})
    EXPECT_EQ(text.find(name), std::string::npos) << name;
}

TEST(ContextTest, WritesTheFieldsUnderTheirNames) {
  const std::string text(EncodePayload(Sample()).text());
  for (const std::string_view member :
       {R"("v":2)", R"("jti":"f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")", R"("purpose":"login")",
        R"("identifier":"user@example.com")",
        R"("otp_hash":"000306090c0f1215181b1e2124272a2d303336393c3f4245484b4e5154575a5d")", R"("metadata":null)",
        R"("timestamp":1700000000)", R"("otp_expiry":1700000300)", R"("session_expiry":1700000900)",
        R"("retry_count":1)", R"("max_retries":5)"}) {
    EXPECT_NE(text.find(member), std::string::npos) << member << " is not in " << text;
  }
}

TEST(ContextTest, RoundTripsASpecialCharacterAtEveryPlace) {
  // Reader and writer may go several bytes at a time; each place of each byte of a step must be looked at.
  Payload payload = Sample();
  for (const char special : {'"', '\\', '\0', '\x01', '\n', '\x1f', ' ', '!', '#', '[', ']', '\x7f'}) {
    for (std::size_t size = 1; size <= 26; ++size) {
      for (std::size_t place = 0; place < size; ++place) {
        for (const std::string& filler : {"x"s, "é"s, "\U0010ffff"s}) {
          std::string text;
          for (std::size_t i = 0; i < size; ++i) text += i == place ? std::string(1, special) : filler;
          payload.identifier = text;
          ASSERT_EQ(ParsePayload(EncodePayload(payload).text()).identifier, payload.identifier)
              << ::testing::PrintToString(text);
        }
      }
    }
  }
}

// ---- What EncodePayload refuses ----

TEST(EncodePayloadTest, RefusesFieldsOverTheirLimit) {
  const auto refuses = [](auto change) {
    Payload payload = Sample();
    change(payload);
    EXPECT_THROW((void)EncodePayload(payload), std::invalid_argument);
  };
  refuses([](Payload& p) { p.identifier = std::string(kMaxIdentifierSize + 1, 'x'); });
  refuses([](Payload& p) { p.purpose = std::string(kMaxPurposeSize + 1, 'x'); });
  refuses([](Payload& p) { p.metadata = "\"" + std::string(kMaxMetadataSize - 1, 'm') + "\""; });
  refuses([](Payload& p) { p.max_retries = kMaxRetries + 1; });
  refuses([](Payload& p) { p.retry_count = kMaxRetries + 1; });
  refuses([](Payload& p) { p.timestamp = kMaxTime; });
  refuses([](Payload& p) { p.otp_expiry = kMaxTime; });
  refuses([](Payload& p) { p.session_expiry = kMaxTime; });
  refuses([](Payload& p) { p.session_expiry = -1; });
  refuses([](Payload& p) { p.retry_count = -1; });
}

TEST(EncodePayloadTest, CountsLimitsInBytesOfUtf8) {
  Payload payload = Sample();
  std::string text;
  while (text.size() < kMaxIdentifierSize) text += "é";
  payload.identifier = text;
  ExpectRoundTrip(payload);
  payload.identifier = text + "é";
  EXPECT_THROW((void)EncodePayload(payload), std::invalid_argument);
}

TEST(EncodePayloadTest, RefusesMetadataThatItCouldNotRead) {
  Payload payload = Sample();
  for (const std::string& metadata : BadJson()) {
    payload.metadata = metadata;
    EXPECT_THROW((void)EncodePayload(payload), std::invalid_argument) << metadata;
  }
  for (const std::string& bytes : BadUtf8()) {
    payload.metadata = "\"" + bytes + "\"";
    EXPECT_THROW((void)EncodePayload(payload), std::invalid_argument) << ::testing::PrintToString(bytes);
  }
  for (const std::string& metadata : {Nested(kMaxMetadataDepth + 1), NestedObjects(kMaxMetadataDepth + 1), Nested(2000),
                                      "1,\"max_retries\":9"s, "1}"s, "null,\"v\":2"s}) {
    payload.metadata = metadata;
    EXPECT_THROW((void)EncodePayload(payload), std::invalid_argument) << metadata.substr(0, 100);
  }
}

TEST(EncodePayloadTest, NeverSealsWhatCannotBeOpened) {
  // A payload is either refused here, where the caller still can do something, or read back as it was.
  std::vector<Payload> payloads;
  const auto add = [&](auto change) {
    for (const int version : {Payload::kVersion, Payload::kLegacyVersion}) {
      Payload payload = version == Payload::kVersion ? Sample() : ParsePayload(Fields::Legacy().Json());
      change(payload);
      payloads.push_back(payload);
    }
  };
  for (const std::int64_t number : {kMin, std::int64_t{-1}, kMaxRetries + 1, kMaxTime - 1, kMaxTime, kMax}) {
    add([&](Payload& p) { p.timestamp = number; });
    add([&](Payload& p) { p.otp_expiry = number; });
    add([&](Payload& p) { p.session_expiry = number; });
    add([&](Payload& p) { p.retry_count = number; });
    add([&](Payload& p) { p.max_retries = number; });
  }
  for (const std::string& bytes : BadUtf8()) {
    add([&](Payload& p) { p.identifier = bytes; });
    add([&](Payload& p) { p.purpose = bytes; });
  }
  for (const Payload& payload : payloads) {
    std::optional<SecretBytes> text;
    try {
      text = EncodePayload(payload);
    } catch (const std::invalid_argument&) {
      continue;
    }
    try {
      const Payload back = ParsePayload(text->text());
      EXPECT_EQ(back.timestamp, payload.timestamp);
      EXPECT_EQ(back.otp_expiry, payload.otp_expiry);
      EXPECT_EQ(back.session_expiry, payload.session_expiry);
      EXPECT_EQ(back.retry_count, payload.retry_count);
      EXPECT_EQ(back.max_retries, payload.max_retries);
      EXPECT_EQ(back.identifier, payload.identifier);
    } catch (const Error&) {
      ADD_FAILURE() << "encoded but not readable: " << text->text();
    }
  }
}

// ---- What ParsePayload accepts ----

TEST(ParsePayloadTest, ReadsVersionTwo) {
  const Payload payload = ParsePayload(Fields::V2().Json());
  EXPECT_EQ(payload.version, 2);
  EXPECT_EQ(payload.jti,
            (Jti{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}));
  EXPECT_EQ(payload.purpose, "login");
  EXPECT_EQ(payload.identifier, Identifier("user@example.com"));
  Digest hash;
  hash.fill(0xaa);
  EXPECT_EQ(payload.otp_hash, hash);
  EXPECT_EQ(payload.metadata, "{\"a\":1}");
  EXPECT_EQ(payload.timestamp, 1'700'000'000);
  EXPECT_EQ(payload.otp_expiry, 1'700'000'300);
  EXPECT_EQ(payload.session_expiry, 1'700'000'900);
  EXPECT_EQ(payload.retry_count, 0);
  EXPECT_EQ(payload.max_retries, 3);
}

TEST(ParsePayloadTest, TakesFieldsInAnyOrder) {
  ExpectSame(ParsePayload(Fields::V2().Reversed().Json()), ParsePayload(Fields::V2().Json()));
  ExpectSame(ParsePayload(Fields::Legacy().Reversed().Json()), ParsePayload(Fields::Legacy().Json()));
}

TEST(ParsePayloadTest, TakesAnyJsonWhiteSpace) {
  const Payload expected = ParsePayload(Fields::V2().Json());
  ExpectSame(ParsePayload(Fields::V2().Json(", ", ": ")), expected);
  ExpectSame(ParsePayload(" \t\r\n" + Fields::V2().Json(" \t\r\n,\n ", "\r \n:\t") + "\n \t\r"), expected);
}

TEST(ParsePayloadTest, TakesEscapesForWhatTheyStandFor) {
  const auto identifier = [](const std::string& json) {
    return std::get<std::string>(ParsePayload(Fields::V2().With("identifier", json).Json()).identifier);
  };
  EXPECT_EQ(identifier(R"("\"\\\/\b\f\n\r\t")"), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(identifier(R"("\u0000\u0041\u00e9\u20AC\uffff")"), "\0A\u00e9\u20ac\uffff"s);
  EXPECT_EQ(identifier(R"("\ud83d\ude00\uD800\uDC00\udbff\udfff")"), "\U0001f600\U00010000\U0010ffff");
  EXPECT_EQ(identifier("\"\x7f\""), "\x7f");
  EXPECT_EQ(ParsePayload(Fields::V2().With("purpose", R"("log\u0069n")").Json()).purpose, "login");
}

TEST(ParsePayloadTest, TakesIntegersOfSixtyFourBits) {
  const auto identifier = [](const std::string& json) {
    return ParsePayload(Fields::V2().With("identifier", json).Json()).identifier;
  };
  EXPECT_EQ(identifier("9223372036854775807"), Identifier(kMax));
  EXPECT_EQ(identifier("-9223372036854775808"), Identifier(kMin));
  EXPECT_EQ(identifier("0"), Identifier(std::int64_t{0}));
  EXPECT_EQ(identifier("null"), Identifier());
}

// ---- What ParsePayload rejects ----

TEST(ParsePayloadTest, RejectsMissingFields) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const std::string& name : fields.names()) EXPECT_TRUE(IsRejected(fields.Without(name).Json())) << name;
  }
  EXPECT_TRUE(IsRejected(Fields::V2().Without("v").Without("jti").Json()));
  EXPECT_TRUE(IsRejected(Fields::V2().Without("v").Without("purpose").Json()));
  EXPECT_TRUE(IsRejected(Fields::V2().Without("jti").Without("purpose").Json()));
  EXPECT_TRUE(IsRejected("{}"));
  EXPECT_TRUE(IsRejected("{\"v\":2}"));
}

TEST(ParsePayloadTest, RejectsExtraFields) {
  for (const char* const name : {"", "V", "vv", "v ", " v", "id", "Purpose", "otp", "nonce", "otp_hash2", "v\\u0000"}) {
    EXPECT_TRUE(IsRejected(Fields::V2().And(name, "1").Json())) << name;
    EXPECT_TRUE(IsRejected(Fields::Legacy().And(name, "1").Json())) << name;
  }
  EXPECT_TRUE(IsRejected(Fields::Legacy().And("v", "1").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().And("v", "2").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().And("purpose", "\"\"").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().And("jti", Fields::V2().Value("jti")).Json()));
}

TEST(ParsePayloadTest, RejectsAnotherNameInPlaceOfAField) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const std::string& name : fields.names()) {
      EXPECT_TRUE(IsRejected(fields.Without(name).And("other", fields.Value(name)).Json())) << name;
    }
  }
}

TEST(ParsePayloadTest, RejectsAFieldTwice) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const std::string& name : fields.names()) {
      EXPECT_TRUE(IsRejected(fields.And(name, fields.Value(name)).Json())) << name;
      // Twice, and another missing: the number of fields is right.
      const std::string other = name == "metadata" ? "retry_count" : "metadata";
      EXPECT_TRUE(IsRejected(fields.Without(other).And(name, fields.Value(name)).Json())) << name;
    }
  }
  EXPECT_TRUE(IsRejected(Fields::V2().And("\\u0076", "2").Json()));
}

TEST(ParsePayloadTest, RejectsEscapesWhereNoWriterNeedsThem) {
  // Names and hexadecimal are ASCII: whoever escapes them is looking for a second spelling.
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    EXPECT_TRUE(IsRejected(fields.Without("metadata").And(R"(m\u0065tadata)", fields.Value("metadata")).Json()));
    EXPECT_TRUE(IsRejected(fields.With("otp_hash", R"("\u0061)" + std::string(63, 'a') + "\"").Json()));
  }
  EXPECT_TRUE(IsRejected(Fields::V2().With("jti", R"("\u0030)" + std::string(31, '0') + "\"").Json()));
}

TEST(ParsePayloadTest, RejectsOtherVersions) {
  for (const char* const version : {"1", "3", "0", "-2", "22", "\"2\"", "2.0", "2e0", "null", "true", "[2]", "{}", "02",
                                    "+2", "18446744073709551618"}) {
    EXPECT_TRUE(IsRejected(Fields::V2().With("v", version).Json())) << version;
  }
}

TEST(ParsePayloadTest, RejectsWrongTypes) {
  const std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> table = {
      {{"jti", "otp_hash", "purpose"}, {"null", "1", "true", "false", "[]", "{}", "[\"a\"]", "1.5"}},
      {{"identifier"}, {"true", "false", "[]", "{}", "1.0", "1.5", "-0.5", "1e3", "[1]", "{\"a\":1}"}},
      {{"timestamp", "otp_expiry", "session_expiry", "retry_count", "max_retries"},
       {"null", "true", "\"1700000000\"", "\"\"", "[]", "{}", "[1]", "1e9", "1E9", "1e+9", "17e-1"}}};
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const auto& [names, values] : table) {
      for (const std::string& name : names) {
        for (const std::string& value : values) {
          if (std::ranges::count(fields.names(), name) == 0) continue;
          EXPECT_TRUE(IsRejected(fields.With(name, value).Json())) << name << " = " << value;
        }
      }
    }
  }
}

TEST(ParsePayloadTest, RejectsFractionsInVersionTwo) {
  for (const char* const name :
       {"timestamp", "otp_expiry", "session_expiry", "retry_count", "max_retries", "identifier", "v"}) {
    for (const char* const value : {"2.0", "1700000000.5", "0.0", "2.000000"}) {
      EXPECT_TRUE(IsRejected(Fields::V2().With(name, value).Json())) << name << " = " << value;
    }
  }
  EXPECT_TRUE(IsRejected(Fields::Legacy().With("retry_count", "1.0").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().With("max_retries", "3.0").Json()));
}

TEST(ParsePayloadTest, RejectsNumbersOutOfRange) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const char* const name :
         {"timestamp", "otp_expiry", "session_expiry", "retry_count", "max_retries", "identifier"}) {
      for (const char* const value :
           {"9223372036854775808", "-9223372036854775809", "18446744073709551616", "18446744073709551617",
            "100000000000000000000", "99999999999999999999999999999999999999", "-99999999999999999999"}) {
        EXPECT_TRUE(IsRejected(fields.With(name, value).Json())) << name << " = " << value;
      }
      if (name == "identifier"s) continue;
      for (const char* const value : {"-1", "-9223372036854775808"})
        EXPECT_TRUE(IsRejected(fields.With(name, value).Json())) << name << " = " << value;
    }
    EXPECT_TRUE(IsRejected(fields.With("retry_count", "1000001").Json()));
    EXPECT_TRUE(IsRejected(fields.With("max_retries", "1000001").Json()));
    EXPECT_NO_THROW((void)ParsePayload(fields.With("max_retries", "1000000").Json()));
  }
  for (const char* const name : {"timestamp", "otp_expiry", "session_expiry"}) {
    for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
      EXPECT_NO_THROW((void)ParsePayload(fields.With(name, std::to_string(kMaxTime - 1)).Json())) << name;
      EXPECT_TRUE(IsRejected(fields.With(name, std::to_string(kMaxTime)).Json())) << name;
    }
    EXPECT_TRUE(IsRejected(Fields::Legacy().With(name, "-1.5").Json())) << name;
    EXPECT_TRUE(IsRejected(Fields::Legacy().With(name, "9223372036854775807.5").Json())) << name;
    EXPECT_TRUE(IsRejected(Fields::Legacy().With(name, "9223372036854775808.5").Json())) << name;
  }
}

TEST(LegacyContextTest, RejectsAnExpiryThatRoundingPutsOutOfRange) {
  const std::string last = std::to_string(kMaxTime - 1);
  EXPECT_NO_THROW((void)ParsePayload(Fields::Legacy().With("timestamp", last + ".5").Json()));
  EXPECT_NO_THROW((void)ParsePayload(Fields::Legacy().With("otp_expiry", last + ".0").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().With("otp_expiry", last + ".5").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().With("session_expiry", last + ".5").Json()));
}

TEST(ParsePayloadTest, RejectsDigestsThatAreNotLowerCaseHexOfTheirSize) {
  for (const auto& [name, size] : {std::pair("jti", std::size_t{32}), std::pair("otp_hash", std::size_t{64})}) {
    const auto rejected = [&](const std::string& text) {
      return IsRejected(Fields::V2().With(name, "\"" + text + "\"").Json());
    };
    EXPECT_NO_THROW((void)ParsePayload(Fields::V2().With(name, "\"" + std::string(size, '0') + "\"").Json()));
    for (const std::size_t wrong : {std::size_t{0}, std::size_t{1}, size - 2, size - 1, size + 1, size + 2, 2 * size}) {
      EXPECT_TRUE(rejected(std::string(wrong, '0'))) << name << wrong;
    }
    for (const char c : {'A', 'F', 'g', ' ', '-', '/', ':', '`'})
      EXPECT_TRUE(rejected(std::string(size - 1, '0') + c)) << name << c;
  }
}

TEST(ParsePayloadTest, RejectsFieldsOverTheirLimit) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    EXPECT_NO_THROW(
        (void)ParsePayload(fields.With("identifier", "\"" + std::string(kMaxIdentifierSize, 'x') + "\"").Json()));
    EXPECT_TRUE(IsRejected(fields.With("identifier", "\"" + std::string(kMaxIdentifierSize + 1, 'x') + "\"").Json()));
    EXPECT_NO_THROW(
        (void)ParsePayload(fields.With("metadata", "\"" + std::string(kMaxMetadataSize - 2, 'x') + "\"").Json()));
    EXPECT_TRUE(IsRejected(fields.With("metadata", "\"" + std::string(kMaxMetadataSize - 1, 'x') + "\"").Json()));
    EXPECT_NO_THROW((void)ParsePayload(fields.With("metadata", Nested(kMaxMetadataDepth)).Json()));
    EXPECT_TRUE(IsRejected(fields.With("metadata", Nested(kMaxMetadataDepth + 1)).Json()));
    EXPECT_TRUE(IsRejected(fields.With("metadata", NestedObjects(kMaxMetadataDepth + 1)).Json()));
    EXPECT_TRUE(IsRejected(fields.With("metadata", std::string(4000, '[')).Json()));
  }
  EXPECT_NO_THROW(
      (void)ParsePayload(Fields::V2().With("purpose", "\"" + std::string(kMaxPurposeSize, 'x') + "\"").Json()));
  EXPECT_TRUE(IsRejected(Fields::V2().With("purpose", "\"" + std::string(kMaxPurposeSize + 1, 'x') + "\"").Json()));
}

TEST(ParsePayloadTest, RejectsBadJsonAsAnyValue) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const std::string& name : fields.names()) {
      for (const std::string& value : BadJson())
        EXPECT_TRUE(IsRejected(fields.With(name, value).Json())) << name << " = " << value;
    }
    for (const std::string& value : BadJson()) {
      if (value == "1,2" || value == "1,5") continue;  // Inside an array, these are two values.
      EXPECT_TRUE(IsRejected(fields.With("metadata", "[" + value + ",0]").Json())) << value;
      EXPECT_TRUE(IsRejected(fields.With("metadata", "{\"k\":" + value + "}").Json())) << value;
    }
  }
}

TEST(ParsePayloadTest, RejectsInvalidUtf8Anywhere) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const std::string& bytes : BadUtf8()) {
      EXPECT_TRUE(IsRejected(fields.With("identifier", "\"" + bytes + "\"").Json())) << ::testing::PrintToString(bytes);
      EXPECT_TRUE(IsRejected(fields.With("metadata", "\"" + bytes + "\"").Json())) << ::testing::PrintToString(bytes);
      EXPECT_TRUE(IsRejected(fields.With("metadata", "{\"" + bytes + "\":1}").Json()))
          << ::testing::PrintToString(bytes);
      EXPECT_TRUE(IsRejected(fields.And(bytes, "1").Json())) << ::testing::PrintToString(bytes);
      EXPECT_TRUE(IsRejected(fields.Json() + bytes)) << ::testing::PrintToString(bytes);
    }
  }
  for (const std::string& bytes : BadUtf8())
    EXPECT_TRUE(IsRejected(Fields::V2().With("purpose", "\"" + bytes + "\"").Json()));
}

TEST(ParsePayloadTest, RejectsBytesAroundTheObject) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    for (const std::string& extra :
         {"x"s, "{}"s, "}"s, ","s, "\0"s, "null"s, "\""s, "//"s, "\xef\xbb\xbf"s, "\v"s, "\f"s, "\xc2\xa0"s}) {
      EXPECT_TRUE(IsRejected(fields.Json() + extra)) << ::testing::PrintToString(extra);
      EXPECT_TRUE(IsRejected(extra + fields.Json())) << ::testing::PrintToString(extra);
    }
    EXPECT_TRUE(IsRejected(fields.Json() + fields.Json()));
    EXPECT_TRUE(IsRejected("[" + fields.Json() + "]"));
    EXPECT_TRUE(IsRejected("{\"a\":" + fields.Json() + "}"));
  }
}

TEST(ParsePayloadTest, RejectsEveryTruncation) {
  for (const Fields& fields : {Fields::V2(), Fields::Legacy()}) {
    const std::string json = fields.Json(", ", ": ");
    for (std::size_t size = 0; size < json.size(); ++size) {
      // A string of its own, so that a sanitizer sees a read past the end.
      EXPECT_TRUE(IsRejected(std::string(json, 0, size))) << size;
    }
  }
}

TEST(ParsePayloadTest, RejectsOtherPunctuation) {
  const Fields fields = Fields::V2();
  EXPECT_TRUE(IsRejected(fields.Json(";", ":")));
  EXPECT_TRUE(IsRejected(fields.Json(",,", ":")));
  EXPECT_TRUE(IsRejected(fields.Json(" ", ":")));
  EXPECT_TRUE(IsRejected(fields.Json(",", "=")));
  EXPECT_TRUE(IsRejected(fields.Json(",", "::")));
  EXPECT_TRUE(IsRejected(fields.Json(",", "")));
  std::string json = fields.Json();
  json.insert(json.size() - 1, ",");
  EXPECT_TRUE(IsRejected(json));
  EXPECT_TRUE(IsRejected("{," + fields.Json().substr(1)));
}

TEST(ParsePayloadTest, RejectsForeignPayloads) {
  for (const char* const foreign :
       {"", "null", "0", "\"text\"", "[]", "[1,2]", "true", "JBSWY3DPEHPK3PXP", R"({"user_id":1})",
        R"({"identifier":"a","metadata":{}})", R"({"v":2,"jti":"00"})", "\x80\x04\x95"}) {
    EXPECT_TRUE(IsRejected(foreign)) << foreign;
  }
}

// ---- The older release's form ----

// As Python's json.dumps wrote it, separators, escapes, floats and all.
constexpr std::string_view kLegacyJson =
    R"({"identifier": "j\u00f6rg+\ud83d\udd11@example.com", "otp_hash": "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92", )"
    R"("metadata": {"a": [1, 2.5, null, true], "t": "\u20ac \ud83d\ude00", "o": {}}, "timestamp": 1734688500.987654, )"
    R"("otp_expiry": 1734688800.123456, "session_expiry": 1734689400.000001, "retry_count": 0, "max_retries": 3})";

TEST(LegacyContextTest, ReadsWhatTheOlderReleaseWrote) {
  const Payload payload = ParsePayload(kLegacyJson);
  EXPECT_EQ(payload.version, Payload::kLegacyVersion);
  EXPECT_EQ(payload.purpose, "");
  EXPECT_EQ(payload.identifier, Identifier("jörg+🔑@example.com"));
  EXPECT_EQ(payload.otp_hash[0], 0x8d);
  EXPECT_EQ(payload.metadata, R"({"a": [1, 2.5, null, true], "t": "\u20ac \ud83d\ude00", "o": {}})");
  EXPECT_EQ(payload.timestamp, 1'734'688'500);
  EXPECT_EQ(payload.otp_expiry, 1'734'688'801);
  EXPECT_EQ(payload.session_expiry, 1'734'689'401);
  EXPECT_EQ(payload.retry_count, 0);
  EXPECT_EQ(payload.max_retries, 3);
  EXPECT_NE(payload.jti, Jti{});
}

TEST(LegacyContextTest, RoundsExpiriesUpAndTheTimestampDown) {
  const auto read = [](const char* time) {
    const Payload payload = ParsePayload(
        Fields::Legacy().With("timestamp", time).With("otp_expiry", time).With("session_expiry", time).Json());
    EXPECT_EQ(payload.otp_expiry, payload.session_expiry);
    return std::pair(payload.timestamp, payload.otp_expiry);
  };
  using Times = std::pair<UnixTime, UnixTime>;
  EXPECT_EQ(read("1734688800"), Times(1'734'688'800, 1'734'688'800));
  EXPECT_EQ(read("1734688800.0"), Times(1'734'688'800, 1'734'688'800));
  EXPECT_EQ(read("1734688800.000000"), Times(1'734'688'800, 1'734'688'800));
  EXPECT_EQ(read("1734688800.000001"), Times(1'734'688'800, 1'734'688'801));
  EXPECT_EQ(read("1734688800.5"), Times(1'734'688'800, 1'734'688'801));
  EXPECT_EQ(read("1734688800.999999"), Times(1'734'688'800, 1'734'688'801));
  EXPECT_EQ(read("0.5"), Times(0, 1));
  EXPECT_EQ(read("0"), Times(0, 0));
}

TEST(LegacyContextTest, TakesAnyJsonAsMetadata) {
  for (const std::string& metadata : {"null"s, "{}"s, "[]"s, "\"text\""s, "1"s, "-1.5e-7"s, "true"s,
                                      "{\"a\": {\"b\": [1, 2]}}"s, R"("\ud83d\ude00")"s, Nested(kMaxMetadataDepth)}) {
    EXPECT_EQ(ParsePayload(Fields::Legacy().With("metadata", metadata).Json(", ", ": ")).metadata, metadata);
  }
}

TEST(LegacyContextTest, RejectsNaNThoughPythonWroteIt) {
  for (const char* const metadata : {"NaN", "[NaN]", "{\"a\": Infinity}", "{\"a\": -Infinity}"}) {
    EXPECT_TRUE(IsRejected(Fields::Legacy().With("metadata", metadata).Json(", ", ": "))) << metadata;
  }
  EXPECT_TRUE(IsRejected(Fields::Legacy().With("otp_expiry", "NaN").Json()));
  EXPECT_TRUE(IsRejected(Fields::Legacy().With("otp_expiry", "Infinity").Json()));
}

TEST(LegacyContextTest, JtiSurvivesARetry) {
  const Payload first = ParsePayload(kLegacyJson);
  std::string retried(kLegacyJson);
  const std::string count = "\"retry_count\": 0";
  retried.replace(retried.find(count), count.size(), "\"retry_count\": 2");
  const Payload second = ParsePayload(retried);
  EXPECT_EQ(second.retry_count, 2);
  EXPECT_EQ(second.jti, first.jti);
}

TEST(LegacyContextTest, JtiSurvivesOurOwnWriting) {
  Payload payload = ParsePayload(kLegacyJson);
  const Jti jti = payload.jti;
  for (int retry = 1; retry <= 3; ++retry) {
    payload.retry_count = retry;
    payload = ParsePayload(EncodePayload(payload).text());
    EXPECT_EQ(payload.version, Payload::kLegacyVersion);
    EXPECT_EQ(payload.retry_count, retry);
    EXPECT_EQ(payload.jti, jti);
  }
}

TEST(LegacyContextTest, JtiDoesNotHangOnSpelling) {
  // The same challenge in other JSON must not have a count of its own.
  const Jti jti = ParsePayload(Fields::Legacy().Json()).jti;
  EXPECT_EQ(ParsePayload(Fields::Legacy().Json(", ", ": ")).jti, jti);
  EXPECT_EQ(ParsePayload(Fields::Legacy().Reversed().Json("\n,", " :")).jti, jti);
  EXPECT_EQ(ParsePayload(Fields::Legacy().With("identifier", R"("us\u0065r@example.com")").Json()).jti, jti);
}

TEST(LegacyContextTest, JtiDiffersWhenAnyOtherFieldDoes) {
  const Fields fields = Fields::Legacy();
  std::vector<Jti> seen = {ParsePayload(fields.Json()).jti};
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"identifier", "\"user2@example.com\""},
                                                        {"identifier", "42"},
                                                        {"identifier", "\"42\""},
                                                        {"identifier", "null"},
                                                        {"identifier", "\"\""},
                                                        {"identifier", "\"null\""},
                                                        {"otp_hash", "\"" + std::string(63, 'a') + "b\""},
                                                        {"metadata", "{\"a\":2}"},
                                                        {"metadata", "null"},
                                                        {"metadata", "\"null\""},
                                                        {"timestamp", "1734688501.123456"},
                                                        {"otp_expiry", "1734688801.123456"},
                                                        {"session_expiry", "1734689401.123456"},
                                                        {"max_retries", "4"}}) {
    const Jti jti = ParsePayload(fields.With(name, value).Json()).jti;
    EXPECT_EQ(std::ranges::count(seen, jti), 0) << name << " = " << value;
    seen.push_back(jti);
  }
}

// ---- IsBoundedJson ----

TEST(IsBoundedJsonTest, AcceptsJson) {
  for (const std::string& json : {"null"s,
                                  "true"s,
                                  "false"s,
                                  "0"s,
                                  "-0"s,
                                  "1"s,
                                  "-1"s,
                                  "10"s,
                                  "1.5"s,
                                  "0.0"s,
                                  "1e5"s,
                                  "1E5"s,
                                  "1e+5"s,
                                  "1e-5"s,
                                  "1.5e05"s,
                                  "99999999999999999999999999"s,
                                  "1e999"s,
                                  "\"\""s,
                                  "\"a\""s,
                                  "\"\\u0000\""s,
                                  "\"é😀\""s,
                                  "[]"s,
                                  "[ ]"s,
                                  "{}"s,
                                  "{ }"s,
                                  "[1, 2]"s,
                                  "{\"a\":1,\"A\":2,\"\":3}"s,
                                  " \t\r\n1\n "s,
                                  "[[],[]]"s,
                                  "{\"a\":{\"a\":{\"a\":1}}}"s,
                                  "[{\"a\":1},{\"a\":1}]"s}) {
    EXPECT_TRUE(IsBoundedJson(json, 8)) << json;
  }
}

TEST(IsBoundedJsonTest, AMemberMayHaveANameThatAnotherObjectHas) {
  for (const std::string json : {R"({"b":{"a":1},"a":2})", R"({"a":1,"b":{"a":1}})", R"([{"a":1},{"a":1}])",
                                 R"({"a":{"a":{"a":1}}})", R"({"a":{"b":1,"c":2},"b":{"c":1,"a":2},"c":{"a":1,"b":2}})",
                                 R"({"\u0062":{"\u0061":1},"\u0061":{"\u0062":2}})"}) {
    EXPECT_TRUE(IsBoundedJson(json, 8)) << json;
  }
}

TEST(IsBoundedJsonTest, RejectsWhatIsNotJson) {
  for (const std::string& json : BadJson()) EXPECT_FALSE(IsBoundedJson(json, 8)) << json;
  for (const std::string& bytes : BadUtf8()) {
    EXPECT_FALSE(IsBoundedJson("\"" + bytes + "\"", 8)) << ::testing::PrintToString(bytes);
    EXPECT_FALSE(IsBoundedJson("{\"" + bytes + "\":1}", 8)) << ::testing::PrintToString(bytes);
  }
}

TEST(IsBoundedJsonTest, FindsAControlCharacterAtEveryPlace) {
  for (int c = 0; c < 0x80; ++c) {
    for (std::size_t place = 0; place < 26; ++place) {
      std::string json = "\"" + std::string(26, 'x') + "\"";
      json[place + 1] = static_cast<char>(c);
      EXPECT_EQ(IsBoundedJson(json, 0), c >= 0x20 && c != '"' && c != '\\') << c << " at " << place;
    }
  }
}

TEST(IsBoundedJsonTest, FindsABadByteAtEveryPlace) {
  for (const std::string& bytes : BadUtf8()) {
    for (std::size_t before = 0; before < 20; ++before) {
      for (const std::size_t after : {0U, 1U, 7U, 20U}) {
        const std::string json = "\"" + std::string(before, 'x') + bytes + std::string(after, 'x') + "\"";
        EXPECT_FALSE(IsBoundedJson(json, 0)) << ::testing::PrintToString(json);
      }
    }
  }
}

TEST(IsBoundedJsonTest, CountsDepth) {
  EXPECT_TRUE(IsBoundedJson("1", 0));
  EXPECT_TRUE(IsBoundedJson("\"[[\"", 0));
  EXPECT_FALSE(IsBoundedJson("{}", 0));
  EXPECT_FALSE(IsBoundedJson("[]", 0));
  for (int depth = 1; depth <= 10; ++depth) {
    EXPECT_TRUE(IsBoundedJson(Nested(depth), depth)) << depth;
    EXPECT_FALSE(IsBoundedJson(Nested(depth), depth - 1)) << depth;
    EXPECT_TRUE(IsBoundedJson(NestedObjects(depth), depth)) << depth;
    EXPECT_FALSE(IsBoundedJson(NestedObjects(depth), depth - 1)) << depth;
    EXPECT_FALSE(IsBoundedJson("[1," + Nested(depth) + ",2]", depth)) << depth;
  }
  // Broad is not deep.
  EXPECT_TRUE(IsBoundedJson("[[],[],[],[],[],[],[],[],[],[]]", 2));
}

TEST(IsBoundedJsonTest, SurvivesAnyDepth) {
  const std::string deep(1'000'000, '[');
  EXPECT_FALSE(IsBoundedJson(deep, 8));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(IsBoundedJson(objects, 8));
}

}  // namespace
}  // namespace otp_actions
