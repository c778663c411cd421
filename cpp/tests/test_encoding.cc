#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "otp_actions/encoding.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using testing::ReadVectors;
using testing::ToHex;
using testing::Vector;

constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

std::string Encode64(ByteView bytes) {
  // One character more on either side shows that the encoder writes what it must and nothing else.
  std::string out(Base64UrlSize(bytes.size()) + 2, '#');
  Base64UrlEncode(bytes, std::span(out).subspan(1, out.size() - 2));
  EXPECT_EQ(out.front(), '#');
  EXPECT_EQ(out.back(), '#');
  return out.substr(1, out.size() - 2);
}

std::vector<std::uint8_t> Pattern(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 73 + size * 31 + (i >> 3));
  return bytes;
}

TEST(Base64UrlTest, MatchesRfc4648) {
  const std::vector<Vector> vectors = ReadVectors("rfc4648.txt");
  EXPECT_EQ(vectors.size(), 7U);
  for (const Vector& vector : vectors) {
    const std::string& text = vector.Text("text");
    const std::string& base64 = vector.Text("base64");
    EXPECT_EQ(Encode64(AsBytes(text)), base64);
    const std::optional<SecretBytes> bytes = Base64UrlDecode(base64);
    ASSERT_TRUE(bytes.has_value()) << base64;
    EXPECT_EQ(bytes->text(), text);
  }
}

TEST(Base64UrlTest, AgreesWithOpenSslAtEverySize) {
  for (std::size_t size = 0; size <= 400; ++size) {
    const std::vector<std::uint8_t> bytes = Pattern(size);
    std::vector<std::uint8_t> theirs(Base64UrlSize(size) + 1);
    const int length = EVP_EncodeBlock(theirs.data(), bytes.data(), static_cast<int>(size));
    std::string expected(theirs.begin(), theirs.begin() + length);
    std::replace(expected.begin(), expected.end(), '+', '-');
    std::replace(expected.begin(), expected.end(), '/', '_');
    ASSERT_EQ(Encode64(bytes), expected);
    const std::optional<SecretBytes> back = Base64UrlDecode(expected);
    ASSERT_TRUE(back.has_value());
    ASSERT_EQ(ToHex(back->view()), ToHex(bytes));
  }
}

TEST(Base64UrlTest, UsesTheUrlAlphabet) {
  EXPECT_EQ(Encode64(std::vector<std::uint8_t>{0xfb, 0xff, 0xfe}), "-__-");
  EXPECT_TRUE(Base64UrlDecode("-__-").has_value());
  EXPECT_FALSE(Base64UrlDecode("+//+").has_value());
}

TEST(Base64UrlTest, AcceptsOnlyItsAlphabetInEveryPlace) {
  for (std::size_t place = 0; place < 8; ++place) {
    for (int c = 0; c < 256; ++c) {
      std::string text = "AAAAAAAA";
      text[place] = static_cast<char>(c);
      // "AAAAAAA=" is a spelling of its own: one byte less.
      const bool good = kBase64Url.find(static_cast<char>(c)) != std::string_view::npos || (place == 7 && c == '=');
      EXPECT_EQ(Base64UrlDecode(text).has_value(), good) << "place " << place << ", character " << c;
    }
  }
}

TEST(Base64UrlTest, AcceptsOnlyItsAlphabetBeforePadding) {
  for (const std::string_view last : {"AAA=", "AA=="}) {
    for (std::size_t place = 0; place < last.find('='); ++place) {
      for (int c = 0; c < 256; ++c) {
        if (kBase64Url.find(static_cast<char>(c)) != std::string_view::npos) continue;
        std::string text(last);
        text[place] = static_cast<char>(c);
        // A second or third "=" is no exception here, but "AA==" made of "AAA=" is.
        if (text == "AA==") continue;
        EXPECT_FALSE(Base64UrlDecode(text).has_value()) << text;
      }
    }
  }
}

TEST(Base64UrlTest, EveryByteStringHasExactlyOneSpelling) {
  // All texts of a last group with one or two bytes: of 64^2 and 64^3, only 2^8 and 2^16 have no trailing bits.
  int one = 0;
  for (const char a : kBase64Url) {
    for (const char b : kBase64Url) {
      const std::string text = {a, b, '=', '='};
      const std::optional<SecretBytes> bytes = Base64UrlDecode(text);
      if (!bytes) continue;
      ++one;
      EXPECT_EQ(Encode64(bytes->view()), text);
    }
  }
  EXPECT_EQ(one, 256);
  int two = 0;
  for (const char a : kBase64Url) {
    for (const char b : kBase64Url) {
      for (const char c : kBase64Url) two += Base64UrlDecode(std::string{a, b, c, '='}).has_value();
    }
  }
  EXPECT_EQ(two, 65536);
}

TEST(Base64UrlTest, RejectsEveryOtherSpelling) {
  using namespace std::string_view_literals;
  ASSERT_TRUE(Base64UrlDecode("Zm9vYg==").has_value());
  for (const std::string_view text : {"Zm9vYg"sv,
                                      "Zm9vYg="sv,
                                      "Zm9vYg==="sv,
                                      "Zm9vYg===="sv,
                                      "Zm9vYg==A"sv,
                                      "Zm9vYg==AAAA"sv,
                                      "Zm9vYg==Zg=="sv,
                                      "Zm9v Yg=="sv,
                                      " Zm9vYg=="sv,
                                      "Zm9vYg== "sv,
                                      "Zm9vYg==\n"sv,
                                      "Zm9v\nYg==\n\n\n"sv,
                                      "Zm9v\r\n\r\nYg=="sv,
                                      "Zm9vYh=="sv,
                                      "Zm9vYg=\0"sv,
                                      "Zm9vYg==\0"sv,
                                      "Zm9vYg==\0\0\0\0"sv,
                                      "\0\0\0\0"sv,
                                      "Zg==Zg=="sv,
                                      "Z==="sv,
                                      "===="sv,
                                      "="sv,
                                      "=="sv,
                                      "==="sv,
                                      "A"sv,
                                      "AA"sv,
                                      "AAA"sv,
                                      "A=AA"sv,
                                      "=AAA"sv,
                                      "AA=A"sv,
                                      "Zm9vYm=="sv,
                                      "Zm9vYmF="sv,
                                      "Zm9vYmE=\xc2\xa0"sv,
                                      "\xef\xbc\xa1"
                                      "A"sv}) {
    EXPECT_FALSE(Base64UrlDecode(text).has_value()) << ::testing::PrintToString(text);
  }
}

TEST(Base32Test, MatchesRfc4648WithoutPadding) {
  for (const Vector& vector : ReadVectors("rfc4648.txt")) {
    const std::string& text = vector.Text("text");
    const std::string& padded = vector.Text("base32");
    const std::string base32 = padded.substr(0, padded.find('='));
    EXPECT_EQ(Base32Encode(AsBytes(text)), base32);
    const std::optional<SecretBytes> bytes = Base32Decode(base32);
    ASSERT_TRUE(bytes.has_value()) << base32;
    EXPECT_EQ(bytes->text(), text);
    if (padded != base32) {
      EXPECT_FALSE(Base32Decode(padded).has_value()) << padded;
    }
  }
}

TEST(Base32Test, RoundTripsAtEverySize) {
  for (std::size_t size = 0; size <= 200; ++size) {
    const std::vector<std::uint8_t> bytes = Pattern(size);
    const std::optional<SecretBytes> back = Base32Decode(Base32Encode(bytes));
    ASSERT_TRUE(back.has_value()) << size;
    ASSERT_EQ(ToHex(back->view()), ToHex(bytes));
  }
}

TEST(Base32Test, EveryByteStringHasExactlyOneSpelling) {
  int one = 0;
  for (const char a : kBase32) {
    for (const char b : kBase32) {
      const std::string text = {a, b};
      const std::optional<SecretBytes> bytes = Base32Decode(text);
      if (!bytes) continue;
      ++one;
      EXPECT_EQ(Base32Encode(bytes->view()), text);
    }
  }
  EXPECT_EQ(one, 256);
  // Four characters hold two bytes, five hold three, seven hold four: the last character's spare bits must be zero.
  for (const std::size_t size : {4U, 5U, 7U}) {
    int accepted = 0;
    for (const char last : kBase32) accepted += Base32Decode(std::string(size - 1, 'A') + last).has_value();
    EXPECT_EQ(accepted, size == 4 ? 2 : size == 5 ? 16 : 4) << size;
  }
}

TEST(Base32Test, RejectsImpossibleLengths) {
  for (std::size_t size = 0; size <= 40; ++size) {
    const bool possible = size % 8 != 1 && size % 8 != 3 && size % 8 != 6;
    EXPECT_EQ(Base32Decode(std::string(size, 'A')).has_value(), possible) << size;
  }
}

TEST(Base32Test, AcceptsOnlyUpperCaseAndTheDigitsTwoToSeven) {
  for (std::size_t place = 0; place < 8; ++place) {
    for (int c = 0; c < 256; ++c) {
      std::string text = "AAAAAAAA";
      text[place] = static_cast<char>(c);
      EXPECT_EQ(Base32Decode(text).has_value(), kBase32.find(static_cast<char>(c)) != std::string_view::npos)
          << place << ", " << c;
    }
  }
}

TEST(HexTest, EncodesLowerCase) {
  std::array<char, 10> out;
  out.fill('#');
  HexEncode(std::vector<std::uint8_t>{0x00, 0x0f, 0xa5, 0xff}, std::span(out).subspan(1, 8));
  EXPECT_EQ(std::string_view(out.data(), out.size()), "#000fa5ff#");
}

TEST(HexTest, RoundTripsEveryByte) {
  std::array<std::uint8_t, 256> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  std::array<char, 512> hex;
  HexEncode(bytes, hex);
  std::array<std::uint8_t, 256> back{};
  ASSERT_TRUE(HexDecode(std::string_view(hex.data(), hex.size()), back));
  EXPECT_EQ(back, bytes);
}

TEST(HexTest, AcceptsOnlyLowerCaseDigits) {
  std::array<std::uint8_t, 2> out;
  for (std::size_t place = 0; place < 4; ++place) {
    for (int c = 0; c < 256; ++c) {
      std::string text = "0000";
      text[place] = static_cast<char>(c);
      const bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
      EXPECT_EQ(HexDecode(text, out), good) << place << ", " << c;
    }
  }
}

TEST(HexTest, RejectsAnyOtherLength) {
  std::array<std::uint8_t, 2> out;
  for (std::size_t size = 0; size <= 10; ++size) EXPECT_EQ(HexDecode(std::string(size, 'a'), out), size == 4) << size;
  EXPECT_TRUE(HexDecode("", {}));
}

}  // namespace
}  // namespace otp_actions
