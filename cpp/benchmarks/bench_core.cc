// bench_core is loaded by tests/benchmarks/core.py, so that its pieces and Python's take turns in one process. A round
// of a piece is asked for by its place in the list:
//
//   floor_*  the primitives alone, over as many bytes as a token of the typical context has: AES-128-CBC in a context
//            that is set up, HMAC-SHA256 of plain SHA-256 states that have hashed their key blocks, base64.
//   loop_*   the best loop over OpenSSL's EVP interface: contexts reused, only the IV changes, no memory taken.
//   the rest is the core, from the inside out.

// The floor takes SHA-256 as bare as OpenSSL has it. The core cannot: it is built without what is deprecated.
#undef OPENSSL_NO_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "otp_actions/challenge.h"
#include "otp_actions/context.h"
#include "otp_actions/encoding.h"
#include "otp_actions/fernet.h"
#include "otp_actions/instant.h"
#include "otp_actions/keyring.h"
#include "otp_actions/ledger.h"
#include "otp_actions/process_ledger.h"
#include "otp_actions/random.h"
#include "otp_actions/subject.h"
#include "otp_actions/verification.h"

namespace {

using otp_actions::ByteView;

constexpr std::int64_t kNow = 1'800'000'000;
constexpr int kCalls = 400;

void Must(bool ok) {
  if (!ok) std::abort();
}

// Evp is what the loops and the floor work with: contexts that are set up once.
class Evp {
 public:
  explicit Evp(ByteView key) : encrypt_(EVP_CIPHER_CTX_new()), decrypt_(EVP_CIPHER_CTX_new()) {
    EVP_CIPHER* const aes = EVP_CIPHER_fetch(nullptr, "AES-128-CBC", nullptr);
    const std::array<std::uint8_t, 16> iv{};
    Must(EVP_CipherInit_ex2(encrypt_, aes, key.data() + 16, iv.data(), 1, nullptr) == 1);
    Must(EVP_CipherInit_ex2(decrypt_, aes, key.data() + 16, iv.data(), 0, nullptr) == 1);
    Must(SHA256_Init(&keyed_sha_) == 1 && SHA256_Update(&keyed_sha_, in_.data(), 64) == 1);
    mac_ = EVP_MAC_CTX_new(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    Must(EVP_MAC_init(mac_, key.data(), 16, params) == 1);
  }

  void Cipher(EVP_CIPHER_CTX* ctx, std::size_t size) {
    int done = 0;
    Must(EVP_CipherUpdate(ctx, out_.data(), &done, in_.data(), static_cast<int>(size)) == 1);
  }
  void FloorSeal(std::size_t padded) {
    Cipher(encrypt_, padded);
    FloorMac(25 + padded);
    const std::size_t size = 57 + padded;
    otp_actions::Base64UrlEncode(ByteView(out_).first(size), std::span(text_).first(otp_actions::Base64UrlSize(size)));
  }
  void FloorOpen(std::string_view token, std::size_t padded) {
    Must(otp_actions::Base64UrlDecode(token).has_value());
    FloorMac(25 + padded);
    Cipher(decrypt_, padded);
  }

  std::string_view Seal(ByteView plaintext) {
    otp_actions::RandomBytes(std::span(out_).subspan(9, 16));
    std::size_t size = 25 + Crypt(encrypt_, out_.data() + 9, plaintext, out_.data() + 25);
    Mac(ByteView(out_).first(size), out_.data() + size);
    size += 32;
    const std::size_t characters = otp_actions::Base64UrlSize(size);
    otp_actions::Base64UrlEncode(ByteView(out_).first(size), std::span(text_).first(characters));
    return {text_.data(), characters};
  }

  std::size_t Open(std::string_view token) {
    const auto raw = otp_actions::Base64UrlDecode(token);
    Must(raw.has_value());
    const ByteView bytes = raw->view();
    std::array<std::uint8_t, 32> tag{};
    Mac(bytes.first(bytes.size() - 32), tag.data());
    Must(std::equal(tag.begin(), tag.end(), bytes.end() - 32));
    return Crypt(decrypt_, bytes.data() + 9, bytes.subspan(25, bytes.size() - 57), out_.data());
  }

 private:
  static std::size_t Crypt(EVP_CIPHER_CTX* ctx, const std::uint8_t* iv, ByteView in, std::uint8_t* out) {
    int body = 0;
    int last = 0;
    Must(EVP_CipherInit_ex2(ctx, nullptr, nullptr, iv, -1, nullptr) == 1);
    Must(EVP_CipherUpdate(ctx, out, &body, in.data(), static_cast<int>(in.size())) == 1);
    Must(EVP_CipherFinal_ex(ctx, out + body, &last) == 1);
    return static_cast<std::size_t>(body) + static_cast<std::size_t>(last);
  }
  void FloorMac(std::size_t size) {
    std::array<std::uint8_t, 32> digest{};
    SHA256_CTX sha = keyed_sha_;
    Must(SHA256_Update(&sha, in_.data(), size) == 1 && SHA256_Final(digest.data(), &sha) == 1);
    sha = keyed_sha_;
    Must(SHA256_Update(&sha, digest.data(), digest.size()) == 1 && SHA256_Final(digest.data(), &sha) == 1);
  }
  void Mac(ByteView in, std::uint8_t* out) {
    std::size_t size = 0;
    Must(EVP_MAC_init(mac_, nullptr, 0, nullptr) == 1 && EVP_MAC_update(mac_, in.data(), in.size()) == 1 &&
         EVP_MAC_final(mac_, out, &size, 32) == 1);
  }

  EVP_CIPHER_CTX* encrypt_;
  EVP_CIPHER_CTX* decrypt_;
  SHA256_CTX keyed_sha_{};
  EVP_MAC_CTX* mac_ = nullptr;
  std::vector<std::uint8_t> in_ = std::vector<std::uint8_t>(4096, 'x');
  std::vector<std::uint8_t> out_ = std::vector<std::uint8_t>(4096);
  std::vector<char> text_ = std::vector<char>(8192);
};

otp_actions::Payload Typical() {
  otp_actions::Payload payload;
  payload.identifier = std::string("ada.lovelace@example");
  payload.timestamp = kNow;
  payload.otp_expiry = kNow + 300;
  payload.session_expiry = kNow + 900;
  payload.max_retries = 3;
  return payload;
}

struct Piece {
  const char* name;
  std::function<void()> before;  // Not timed.
  std::function<void()> call;
};

// Bench is what the pieces work on, and the pieces.
class Bench {
 public:
  Bench() {
    const auto nothing = [] {};
    pieces_ = {
        {"floor_seal", nothing, [this] { evp_.FloorSeal(padded_); }},
        {"floor_open", nothing, [this] { evp_.FloorOpen(typical_.context, padded_); }},
        {"loop_seal", nothing, [this] { Must(!evp_.Seal(otp_actions::AsBytes(plaintext_)).empty()); }},
        {"loop_open", nothing, [this] { Must(evp_.Open(typical_.context) == plaintext_.size()); }},
        {"seal", nothing, [this] { Must(!key_.fernet.Seal(otp_actions::AsBytes(plaintext_), kNow).empty()); }},
        {"open", nothing, [this] { Must(ring_.Open(typical_.context).plaintext.size() == plaintext_.size()); }},
        {"encode", nothing, [this] { Must(otp_actions::EncodePayload(payload_).size() == plaintext_.size()); }},
        {"parse", nothing, [this] { Must(otp_actions::ParsePayload(plaintext_).version == 2); }},
        {"code_digest", nothing, [this] { Must(otp_actions::Match(payload_, key_, typical_.code.text())); }},
        {"issue", nothing, [this] { Must(!Issue().context.empty()); }},
        {"verify_none", [this] { Prepare(); }, [this] { Verify(none_, false); }},
        {"verify_process", [this] { Prepare(); }, [this] { Verify(process_, true); }},
    };
  }

  [[nodiscard]] std::span<const Piece> pieces() const { return pieces_; }

 private:
  static std::vector<otp_actions::SecretBytes> Keys() {
    std::vector<otp_actions::SecretBytes> keys;
    keys.emplace_back(32);
    otp_actions::RandomBytes({keys[0].data(), 32});
    return keys;
  }
  otp_actions::Issued Issue() {
    return otp_actions::IssueChallenge(ring_, Typical(), 6, otp_actions::NextInstant(kNow, 0));
  }
  void Prepare() {
    for (otp_actions::Issued& one : issued_) one = Issue();
    next_ = 0;
  }
  void Verify(otp_actions::Ledger& in, bool counts) {
    const otp_actions::Issued& one = issued_[next_++];
    const otp_actions::Challenge challenge = otp_actions::Challenge::Open(ring_, one.context);
    otp_actions::Caller caller;
    if (counts) {
      caller.identifier = otp_actions::SubjectOf(challenge.key(), otp_actions::kIdentifierUse,
                                                 challenge.payload().identifier, challenge.payload().purpose);
    }
    Must(otp_actions::VerifyCode(challenge, one.code.text(), "", kNow, policy_, caller, in).verdict ==
         otp_actions::Verdict::kVerified);
  }

  const std::vector<otp_actions::SecretBytes> keys_ = Keys();
  const otp_actions::Keyring ring_{keys_};
  const otp_actions::RingKey& key_ = *ring_.primary();
  Evp evp_{keys_[0].view()};
  const otp_actions::Issued typical_ = Issue();
  const std::string plaintext_{ring_.Open(typical_.context).plaintext.text()};
  const otp_actions::Payload payload_ = otp_actions::ParsePayload(plaintext_);
  const std::size_t padded_ = plaintext_.size() / 16 * 16 + 16;
  const otp_actions::Policy policy_{.identifier = {.limit = 30, .seconds = 3600}, .network = {}};
  otp_actions::ProcessLedger process_{1U << 20};
  otp_actions::NoLedger none_;
  std::vector<otp_actions::Issued> issued_{kCalls};
  std::size_t next_ = 0;
  std::vector<Piece> pieces_;
};

const Piece* PieceAt(std::size_t place) {
  static const Bench bench;
  return place < bench.pieces().size() ? &bench.pieces()[place] : nullptr;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Null past the last piece.
const char* bench_name(std::size_t place) {
  const Piece* const piece = PieceAt(place);
  return piece == nullptr ? nullptr : piece->name;
}

// Returns the nanoseconds of a call.
double bench_round(std::size_t place) {
  const Piece& piece = *PieceAt(place);
  piece.before();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) piece.call();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  return took.count() / kCalls;
}
}
#pragma GCC visibility pop
