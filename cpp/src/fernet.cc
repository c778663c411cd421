#include "otp_actions/fernet.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "openssl/handles.h"
#include "openssl/keyed_cache.h"
#include "otp_actions/constant_time.h"
#include "otp_actions/encoding.h"
#include "otp_actions/error.h"
#include "otp_actions/random.h"

namespace otp_actions {
namespace {

// version (1) | time (8, big endian) | IV (16) | ciphertext (a multiple of 16, at least 16) | tag (32)
constexpr std::uint8_t kVersion = 0x80;
constexpr std::size_t kTimeAt = 1;
constexpr std::size_t kIvAt = 9;
constexpr std::size_t kCiphertextAt = 25;
constexpr std::size_t kBlock = 16;
constexpr std::size_t kSmallest = kCiphertextAt + kBlock + kDigestSize;

struct Ciphers {
  openssl::CipherCtx encrypt;
  openssl::CipherCtx decrypt;
};

void SetUp(openssl::CipherCtx& ctx, ByteView key, int direction) {
  if (!ctx) ctx.reset(EVP_CIPHER_CTX_new());
  openssl::Check(ctx != nullptr);
  openssl::Check(EVP_CipherInit_ex2(ctx.get(), openssl::Aes128Cbc(), key.data(), nullptr, direction, nullptr) == 1);
}

Ciphers& CiphersFor(std::uint64_t id, ByteView key) {
  static thread_local openssl::KeyedCache<Ciphers> cache;
  return cache.Get(id, [key](Ciphers& slot) {
    SetUp(slot.encrypt, key, 1);
    SetUp(slot.decrypt, key, 0);
  });
}

// Crypt runs `in` through `ctx` with a new IV under the key it already has; -1 if OpenSSL refuses, else the size.
int Crypt(EVP_CIPHER_CTX* ctx, ByteView iv, ByteView in, std::uint8_t* out) {
  int body = 0;
  int last = 0;
  if (EVP_CipherInit_ex2(ctx, nullptr, nullptr, iv.data(), -1, nullptr) != 1) return -1;
  if (EVP_CipherUpdate(ctx, out, &body, in.data(), static_cast<int>(in.size())) != 1) return -1;
  if (EVP_CipherFinal_ex(ctx, out + body, &last) != 1) return -1;
  return body + last;
}

ByteView SecondHalf(ByteView key) {
  if (key.size() != kFernetKeySize) throw std::invalid_argument("a Fernet key has 32 bytes");
  return key.subspan(kFernetKeySize / 2);
}

}  // namespace

FernetToken FernetToken::Decode(std::string_view text) {
  if (text.size() > kMaxTokenSize) throw Error(ErrorCode::kInvalidToken);
  std::optional<SecretBytes> raw = Base64UrlDecode(text);
  if (!raw || raw->size() < kSmallest || raw->data()[0] != kVersion || (raw->size() - kSmallest) % kBlock != 0) {
    throw Error(ErrorCode::kInvalidToken);
  }
  return FernetToken(std::move(*raw));
}

ByteView FernetToken::signed_part() const { return raw_.view().first(raw_.size() - kDigestSize); }
ByteView FernetToken::iv() const { return raw_.view().subspan(kIvAt, kBlock); }
ByteView FernetToken::ciphertext() const { return signed_part().subspan(kCiphertextAt); }
ByteView FernetToken::tag() const { return raw_.view().last(kDigestSize); }

FernetKey::FernetKey(ByteView key)
    : signing_(key.first(std::min(key.size(), kFernetKeySize / 2))),
      id_(openssl::NextKeyId()),
      encryption_(SecondHalf(key)) {}

std::string FernetKey::Seal(ByteView plaintext, UnixTime now) const {
  Iv iv;
  RandomBytes(iv);
  return SealWithChosenIv(plaintext, now, iv);
}

std::string FernetKey::SealWithChosenIv(ByteView plaintext, UnixTime now, const Iv& iv) const {
  if (plaintext.size() > kMaxTokenSize)
    throw Error(ErrorCode::kContextTooBig);  // Keeps the sizes below far from int's end.
  const std::size_t ciphertext_size = plaintext.size() / kBlock * kBlock + kBlock;
  const std::size_t raw_size = kCiphertextAt + ciphertext_size + kDigestSize;
  if (Base64UrlSize(raw_size) > kMaxTokenSize) throw Error(ErrorCode::kContextTooBig);

  std::vector<std::uint8_t> raw(raw_size);
  raw[0] = kVersion;
  const auto time = static_cast<std::uint64_t>(now);
  for (std::size_t i = 0; i < 8; ++i) raw[kTimeAt + i] = static_cast<std::uint8_t>(time >> (8 * (7 - i)));
  std::copy(iv.begin(), iv.end(), raw.begin() + kIvAt);
  EVP_CIPHER_CTX* const ctx = CiphersFor(id_, encryption_.view()).encrypt.get();
  openssl::Check(Crypt(ctx, iv, plaintext, raw.data() + kCiphertextAt) == static_cast<int>(ciphertext_size));
  const ByteView signed_part = ByteView(raw).first(raw_size - kDigestSize);
  const Digest tag = signing_.Sum({signed_part});
  std::copy(tag.begin(), tag.end(), raw.end() - kDigestSize);

  std::string token(Base64UrlSize(raw_size), '\0');
  Base64UrlEncode(raw, token);
  return token;
}

bool FernetKey::Authenticates(const FernetToken& token) const {
  return ConstantTimeEqual(signing_.Sum({token.signed_part()}), token.tag());
}

SecretBytes FernetKey::Decrypt(const FernetToken& token) const {
  const ByteView ciphertext = token.ciphertext();
  SecretBytes plaintext(ciphertext.size() + kBlock);  // EVP may write one block more than it returns.
  EVP_CIPHER_CTX* const ctx = CiphersFor(id_, encryption_.view()).decrypt.get();
  const int size = Crypt(ctx, token.iv(), ciphertext, plaintext.data());
  if (size < 0) {
    openssl::DrainErrors();
    throw Error(ErrorCode::kInvalidToken);
  }
  plaintext.Truncate(static_cast<std::size_t>(size));
  return plaintext;
}

}  // namespace otp_actions
