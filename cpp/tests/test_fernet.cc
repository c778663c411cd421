#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"
#include "otp_actions/encoding.h"
#include "otp_actions/fernet.h"
#include "vectors.h"

namespace otp_actions {
namespace {

using testing::ReadVectors;
using testing::TestKey;
using testing::ThrowsError;
using testing::ToHex;
using testing::Vector;

constexpr std::size_t kHeader = 25;              // version, time stamp, IV
constexpr std::size_t kOverhead = 57;            // header and tag
constexpr std::size_t kLargestPlaintext = 6079;  // 380 blocks with at least one byte of padding: 8184 characters.
static_assert(kLargestPlaintext == kMaxPlaintextSize);

std::vector<std::uint8_t> Decode64(std::string_view text) {
  const std::optional<SecretBytes> bytes = Base64UrlDecode(text);
  if (!bytes) throw std::runtime_error("not base64url");
  return {bytes->data(), bytes->data() + bytes->size()};
}

std::string Encode64(ByteView bytes) {
  std::string text(Base64UrlSize(bytes.size()), '\0');
  Base64UrlEncode(bytes, text);
  return text;
}

// Open is what a keyring does with one key.
SecretBytes Open(const FernetKey& key, std::string_view token) {
  const FernetToken decoded = FernetToken::Decode(token);
  if (!key.Authenticates(decoded)) throw Error(ErrorCode::kInvalidToken);
  return key.Decrypt(decoded);
}

::testing::AssertionResult IsRejected(const FernetKey& key, std::string_view token) {
  return ThrowsError(ErrorCode::kInvalidToken, [&] { (void)Open(key, token); });
}

// SignedByHand returns `signed_part` with the tag that `key` would give it: an authentic token of any content.
std::string SignedByHand(const SecretBytes& key, std::vector<std::uint8_t> signed_part) {
  const Digest tag = HmacKey(key.view().first(16)).Sum({signed_part});
  signed_part.insert(signed_part.end(), tag.begin(), tag.end());
  return Encode64(signed_part);
}

// EncryptedByHand returns a signed part whose plaintext is `blocks`, padding and all as they come.
std::vector<std::uint8_t> EncryptedByHand(const SecretBytes& key, ByteView blocks) {
  std::vector<std::uint8_t> signed_part(kHeader + blocks.size() + EVP_MAX_BLOCK_LENGTH);
  signed_part[0] = 0x80;
  const Iv iv{};
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> ctx(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int size = 0;
  if (EVP_EncryptInit_ex(ctx.get(), EVP_aes_128_cbc(), nullptr, key.view().subspan(16).data(), iv.data()) != 1 ||
      EVP_CIPHER_CTX_set_padding(ctx.get(), 0) != 1 ||
      EVP_EncryptUpdate(ctx.get(), signed_part.data() + kHeader, &size, blocks.data(),
                        static_cast<int>(blocks.size())) != 1) {
    throw std::runtime_error("EVP failed");
  }
  signed_part.resize(kHeader + static_cast<std::size_t>(size));
  return signed_part;
}

TEST(FernetTest, GeneratesTheTokensOfTheSpecification) {
  int count = 0;
  for (const Vector& vector : ReadVectors("fernet.txt")) {
    if (vector.Text("kind") != "generate") continue;
    ++count;
    Iv iv;
    std::ranges::copy(vector.Hex("iv"), iv.begin());
    const FernetKey key(Decode64(vector.Text("secret")));
    EXPECT_EQ(key.SealWithChosenIv(AsBytes(vector.Text("src")), std::stoll(vector.Text("now")), iv),
              vector.Text("token"));
  }
  EXPECT_EQ(count, 1);
}

TEST(FernetTest, OpensTheTokensOfTheSpecification) {
  int count = 0;
  for (const Vector& vector : ReadVectors("fernet.txt")) {
    if (vector.Text("kind") != "verify") continue;
    ++count;
    EXPECT_EQ(Open(FernetKey(Decode64(vector.Text("secret"))), vector.Text("token")).text(), vector.Text("src"));
  }
  EXPECT_EQ(count, 1);
}

TEST(FernetTest, RejectsTheInvalidTokensOfTheSpecification) {
  int count = 0;
  for (const Vector& vector : ReadVectors("fernet.txt")) {
    if (vector.Text("kind") != "invalid") continue;
    ++count;
    EXPECT_TRUE(IsRejected(FernetKey(Decode64(vector.Text("secret"))), vector.Text("token"))) << vector.Text("name");
  }
  EXPECT_EQ(count, 9);
}

TEST(FernetTest, OpensWhatItSealed) {
  const FernetKey key(TestKey(1).view());
  for (std::size_t size = 0; size <= 100; ++size) {
    std::vector<std::uint8_t> plaintext(size);
    for (std::size_t i = 0; i < size; ++i) plaintext[i] = static_cast<std::uint8_t>(i * 37 + size);
    const std::string token = key.Seal(plaintext, 1'700'000'000);
    EXPECT_EQ(token.substr(0, 5), "gAAAA");
    EXPECT_EQ(ToHex(Open(key, token).view()), ToHex(plaintext)) << size;
  }
}

TEST(FernetTest, LaysOutItsPartsAsTheSpecificationSays) {
  const SecretBytes key_bytes = TestKey(1);
  const FernetKey key(key_bytes.view());
  const std::string text = key.Seal(AsBytes("0123456789abcdef"), 0x0102030405060708);
  const std::vector<std::uint8_t> raw = Decode64(text);
  ASSERT_EQ(raw.size(), kOverhead + 32);
  EXPECT_EQ(ToHex(ByteView(raw).first(9)), "800102030405060708");
  const FernetToken token = FernetToken::Decode(text);
  EXPECT_EQ(ToHex(token.signed_part()), ToHex(ByteView(raw).first(raw.size() - 32)));
  EXPECT_EQ(ToHex(token.iv()), ToHex(ByteView(raw).subspan(9, 16)));
  EXPECT_EQ(ToHex(token.ciphertext()), ToHex(ByteView(raw).subspan(kHeader, 32)));
  EXPECT_EQ(ToHex(token.tag()), ToHex(ByteView(raw).last(32)));
  EXPECT_EQ(ToHex(token.tag()), ToHex(HmacKey(key_bytes.view().first(16)).Sum({token.signed_part()})));
}

TEST(FernetTest, DrawsAFreshIvForEveryToken) {
  const FernetKey key(TestKey(1).view());
  std::set<std::string> ivs;
  for (int i = 0; i < 1000; ++i) ivs.insert(ToHex(FernetToken::Decode(key.Seal(AsBytes("same"), 0)).iv()));
  EXPECT_EQ(ivs.size(), 1000U);
}

TEST(FernetTest, RejectsEverySingleBitFlip) {
  const FernetKey key(TestKey(1).view());
  const std::string token = key.Seal(AsBytes("a plaintext of more than one block"), 1'700'000'000);
  const std::vector<std::uint8_t> raw = Decode64(token);
  for (std::size_t bit = 0; bit < 8 * raw.size(); ++bit) {
    std::vector<std::uint8_t> flipped = raw;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    ASSERT_TRUE(IsRejected(key, Encode64(flipped))) << "bit " << bit << " of the token";
  }
  for (std::size_t bit = 0; bit < 8 * token.size(); ++bit) {
    std::string flipped = token;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ static_cast<char>(1U << bit % 8));
    ASSERT_TRUE(IsRejected(key, flipped)) << "bit " << bit << " of the text";
  }
}

TEST(FernetTest, RejectsEveryTruncation) {
  const FernetKey key(TestKey(1).view());
  const std::string token = key.Seal(AsBytes("a plaintext of more than one block"), 1'700'000'000);
  for (std::size_t size = 0; size < token.size(); ++size) {
    EXPECT_TRUE(IsRejected(key, std::string_view(token).substr(0, size))) << size;
    EXPECT_TRUE(IsRejected(key, std::string_view(token).substr(token.size() - size))) << size;
  }
  const std::vector<std::uint8_t> raw = Decode64(token);
  for (std::size_t size = 0; size < raw.size(); ++size) {
    EXPECT_TRUE(IsRejected(key, Encode64(ByteView(raw).first(size)))) << size;
  }
}

// SealedWithPadding returns a token whose text ends with `padding` times "=". The size of a plaintext decides.
std::string SealedWithPadding(const FernetKey& key, std::size_t padding) {
  for (std::size_t size = 0; size < 64; size += 16) {
    std::string token = key.Seal(std::vector<std::uint8_t>(size), 1'700'000'000);
    if (token.size() - token.find_last_not_of('=') - 1 == padding) return token;
  }
  throw std::runtime_error("no such token");
}

TEST(FernetTest, RejectsTokenWithTrailingBits) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const FernetKey key(TestKey(1).view());
  for (const std::size_t padding : {1U, 2U}) {
    const std::string token = SealedWithPadding(key, padding);
    const std::size_t place = token.size() - padding - 1;
    for (const char c : kAlphabet) {
      if (c == token[place]) continue;
      std::string other = token;
      other[place] = c;
      EXPECT_TRUE(IsRejected(key, other)) << padding << ", " << c;
    }
  }
}

TEST(FernetTest, RejectsEveryOtherSpelling) {
  const FernetKey key(TestKey(1).view());
  for (const std::size_t padding : {0U, 1U, 2U}) {
    const std::string token = SealedWithPadding(key, padding);
    ASSERT_EQ(Open(key, token).size() % 16, 0U);
    for (std::size_t missing = 1; missing <= padding; ++missing) {
      EXPECT_TRUE(IsRejected(key, token.substr(0, token.size() - missing))) << "missing padding";
    }
    using namespace std::string_literals;
    for (const std::string& extra : {"="s, "=="s, "==="s, "===="s, " "s, "    "s, "\n"s, "\r\n"s, "\t"s, "\0"s,
                                     "\0\0\0\0"s, "A"s, "AAAA"s, "trailingdata"s, "."s, "%3D"s, "\xc2\xa0"s}) {
      EXPECT_TRUE(IsRejected(key, token + extra)) << padding << " + " << ::testing::PrintToString(extra);
      EXPECT_TRUE(IsRejected(key, extra + token)) << ::testing::PrintToString(extra) << " + " << padding;
      EXPECT_TRUE(IsRejected(key, std::string(token).insert(token.size() / 2, extra)))
          << ::testing::PrintToString(extra);
    }
    EXPECT_TRUE(IsRejected(key, token + token));
    EXPECT_TRUE(IsRejected(key, "\"" + token + "\""));
    EXPECT_TRUE(IsRejected(key, "b'" + token + "'"));
  }
}

TEST(FernetTest, RejectsTheOtherBase64Alphabet) {
  const FernetKey key(TestKey(1).view());
  int plus = 0;
  int slash = 0;
  while (plus == 0 || slash == 0) {
    const std::string token = key.Seal(AsBytes("text"), 1'700'000'000);
    std::string other = token;
    std::replace(other.begin(), other.end(), '-', '+');
    plus += other != token;
    if (other != token) {
      EXPECT_TRUE(IsRejected(key, other));
    }
    other = token;
    std::replace(other.begin(), other.end(), '_', '/');
    slash += other != token;
    if (other != token) {
      EXPECT_TRUE(IsRejected(key, other));
    }
  }
}

TEST(FernetTest, RejectsAnyOtherVersionThoughAuthentic) {
  const SecretBytes key_bytes = TestKey(1);
  const FernetKey key(key_bytes.view());
  const std::vector<std::uint8_t> padding(16, 16);
  for (int version = 0; version < 256; ++version) {
    std::vector<std::uint8_t> signed_part = EncryptedByHand(key_bytes, padding);
    signed_part[0] = static_cast<std::uint8_t>(version);
    const std::string token = SignedByHand(key_bytes, signed_part);
    if (version == 0x80) {
      EXPECT_TRUE(Open(key, token).empty()) << "the token made by hand is not one, so this shows nothing";
    } else {
      EXPECT_TRUE(IsRejected(key, token)) << version;
    }
  }
}

TEST(FernetTest, RejectsWrongPaddingThoughAuthentic) {
  const SecretBytes key_bytes = TestKey(1);
  const FernetKey key(key_bytes.view());
  const auto sealed = [&](std::vector<std::uint8_t> blocks) {
    return SignedByHand(key_bytes, EncryptedByHand(key_bytes, blocks));
  };
  std::vector<std::uint8_t> good(16, 'x');
  good[13] = good[14] = good[15] = 3;
  ASSERT_EQ(Open(key, sealed(good)).text(), std::string(13, 'x'));

  for (int last = 0; last < 256; ++last) {
    // 'x' everywhere else: right only for the one byte of padding 0x01.
    std::vector<std::uint8_t> blocks(32, 'x');
    blocks.back() = static_cast<std::uint8_t>(last);
    if (last == 1) {
      EXPECT_EQ(Open(key, sealed(blocks)).size(), 31U);
      continue;
    }
    EXPECT_TRUE(IsRejected(key, sealed(blocks))) << last;
    EXPECT_EQ(ERR_peek_error(), 0U) << "what OpenSSL said must not wait for the next caller";
  }
  std::vector<std::uint8_t> almost = good;
  almost[13] = 2;
  EXPECT_TRUE(IsRejected(key, sealed(almost)));
  EXPECT_TRUE(IsRejected(key, sealed(std::vector<std::uint8_t>(16, 17))));
  EXPECT_TRUE(IsRejected(key, sealed(std::vector<std::uint8_t>(16, 0))));
  EXPECT_EQ(Open(key, sealed(good)).size(), 13U) << "a rejection must not spoil the key's context";
  EXPECT_EQ(Open(key, key.Seal(AsBytes("after"), 0)).text(), "after");
}

TEST(FernetTest, RejectsCiphertextOfNoWholeBlocksThoughAuthentic) {
  const SecretBytes key_bytes = TestKey(1);
  const FernetKey key(key_bytes.view());
  for (std::size_t size = 0; size < 50; ++size) {
    std::vector<std::uint8_t> signed_part(kHeader + size);
    signed_part[0] = 0x80;
    const std::string token = SignedByHand(key_bytes, signed_part);
    const auto decode = [&] { (void)FernetToken::Decode(token); };
    if (size == 16 || size == 32 || size == 48) {
      EXPECT_NO_THROW(decode()) << size;
    } else {
      EXPECT_TRUE(ThrowsError(ErrorCode::kInvalidToken, decode)) << size;
    }
  }
}

TEST(FernetTest, RejectsTokenShorterThanAHeader) {
  const SecretBytes key_bytes = TestKey(1);
  for (std::size_t size = 0; size < kHeader; ++size) {
    std::vector<std::uint8_t> signed_part(size, 0x80);
    EXPECT_TRUE(IsRejected(FernetKey(key_bytes.view()), SignedByHand(key_bytes, signed_part))) << size;
  }
}

TEST(FernetTest, RefusesTokensOverTheSizeThoughAuthentic) {
  const SecretBytes key_bytes = TestKey(1);
  const FernetKey key(key_bytes.view());
  const auto of_size = [&](std::size_t ciphertext) {
    std::vector<std::uint8_t> blocks(ciphertext, 16);  // A whole block of padding at the end.
    return SignedByHand(key_bytes, EncryptedByHand(key_bytes, blocks));
  };
  const std::string largest = of_size(kLargestPlaintext + 1);
  ASSERT_LE(largest.size(), kMaxTokenSize);
  EXPECT_EQ(Open(key, largest).size(), kLargestPlaintext + 1 - 16);
  const std::string too_large = of_size(kLargestPlaintext + 17);
  ASSERT_GT(too_large.size(), kMaxTokenSize);
  EXPECT_TRUE(IsRejected(key, too_large));
  EXPECT_TRUE(IsRejected(key, of_size(1 << 20)));
  EXPECT_TRUE(IsRejected(key, std::string(kMaxTokenSize + 4, 'A')));
  EXPECT_TRUE(IsRejected(key, std::string(kMaxTokenSize, 'A')));
}

TEST(FernetTest, SealsUpToTheSizeThatItOpens) {
  const FernetKey key(TestKey(1).view());
  const std::string token = key.Seal(std::vector<std::uint8_t>(kLargestPlaintext, 'x'), 0);
  EXPECT_LE(token.size(), kMaxTokenSize);
  EXPECT_EQ(Open(key, token).size(), kLargestPlaintext);
  for (const std::size_t size : {kLargestPlaintext + 1, kMaxTokenSize, kMaxTokenSize + 1, std::size_t{1} << 20}) {
    const std::vector<std::uint8_t> plaintext(size);
    EXPECT_TRUE(ThrowsError(ErrorCode::kContextTooBig, [&] { (void)key.Seal(plaintext, 0); })) << size;
  }
}

TEST(FernetTest, OnlyTheRightKeyAuthenticates) {
  const SecretBytes key_bytes = TestKey(1);
  const FernetToken token = FernetToken::Decode(FernetKey(key_bytes.view()).Seal(AsBytes("text"), 0));
  EXPECT_TRUE(FernetKey(key_bytes.view()).Authenticates(token));
  EXPECT_FALSE(FernetKey(TestKey(2).view()).Authenticates(token));
  // The signing half is what counts; every bit of it does.
  for (std::size_t bit = 0; bit < 8 * 16; ++bit) {
    SecretBytes other(key_bytes.view());
    other.data()[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    EXPECT_FALSE(FernetKey(other.view()).Authenticates(token)) << bit;
  }
}

TEST(FernetTest, KeyHasExactlyThirtyTwoBytes) {
  for (std::size_t size = 0; size <= 64; ++size) {
    const SecretBytes bytes(size);
    if (size == kFernetKeySize) {
      EXPECT_NO_THROW(FernetKey(bytes.view()));
    } else {
      EXPECT_THROW(FernetKey(bytes.view()), std::invalid_argument) << size;
    }
  }
}

TEST(FernetTest, ManyKeysInTurnAreNotMixedUp) {
  std::vector<FernetKey> keys;
  std::vector<std::string> tokens;
  for (std::uint8_t i = 0; i < 100; ++i) {
    keys.emplace_back(TestKey(i).view());
    tokens.push_back(keys.back().Seal(AsBytes(std::to_string(i)), 0));
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(Open(keys[i], tokens[i]).text(), std::to_string(i));
    EXPECT_TRUE(IsRejected(keys[i], tokens[(i + 32) % keys.size()]));
  }
}

TEST(FernetTest, SafeFromAnyThread) {
  const FernetKey key(TestKey(1).view());
  const std::string token = key.Seal(AsBytes("shared"), 0);
  std::vector<int> wrong(16);
  std::vector<std::thread> threads;
  for (int& mine : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        mine += Open(key, token).text() != "shared";
        mine += Open(key, key.Seal(AsBytes("mine"), i)).text() != "mine";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(16));
}

}  // namespace
}  // namespace otp_actions
