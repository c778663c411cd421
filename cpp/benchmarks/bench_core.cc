// bench_core prints one JSON object: nanoseconds a call of each piece, the median of rounds that took turns.
//
//   floor_*  the primitives alone: AES-128-CBC and SHA-256 over as many bytes as a token of the typical context needs,
//            in contexts that are already set up. Nobody can do with less.
//   loop_*   the best loop over OpenSSL's EVP interface: contexts reused, only the IV changes, no memory taken.
//   the rest is the core, from the inside out.

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
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
constexpr int kRounds = 61;
constexpr int kCalls = 400;

void Must(bool ok) {
  if (!ok) std::abort();
}

// Evp is what the loops and the floor work with: contexts that are set up once.
class Evp {
 public:
  explicit Evp(ByteView key) : encrypt_(EVP_CIPHER_CTX_new()), decrypt_(EVP_CIPHER_CTX_new()), sha_(EVP_MD_CTX_new()) {
    EVP_CIPHER* const aes = EVP_CIPHER_fetch(nullptr, "AES-128-CBC", nullptr);
    const std::array<std::uint8_t, 16> iv{};
    Must(EVP_CipherInit_ex2(encrypt_, aes, key.data() + 16, iv.data(), 1, nullptr) == 1);
    Must(EVP_CipherInit_ex2(decrypt_, aes, key.data() + 16, iv.data(), 0, nullptr) == 1);
    Must(EVP_DigestInit_ex2(sha_, EVP_sha256(), nullptr) == 1);
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
  void FloorSeal(std::size_t payload, std::size_t hashed) {
    Cipher(encrypt_, payload);
    Must(EVP_DigestUpdate(sha_, in_.data(), hashed) == 1);
  }
  void FloorOpen(std::size_t payload, std::size_t hashed) {
    Cipher(decrypt_, payload);
    Must(EVP_DigestUpdate(sha_, in_.data(), hashed) == 1);
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
  void Mac(ByteView in, std::uint8_t* out) {
    std::size_t size = 0;
    Must(EVP_MAC_init(mac_, nullptr, 0, nullptr) == 1 && EVP_MAC_update(mac_, in.data(), in.size()) == 1 &&
         EVP_MAC_final(mac_, out, &size, 32) == 1);
  }

  EVP_CIPHER_CTX* encrypt_;
  EVP_CIPHER_CTX* decrypt_;
  EVP_MD_CTX* sha_;
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
  std::vector<double> nanoseconds;
};

}  // namespace

int main() {
  std::vector<otp_actions::SecretBytes> keys;
  keys.emplace_back(32);
  otp_actions::RandomBytes({keys[0].data(), 32});
  const otp_actions::Keyring ring(keys);
  const otp_actions::RingKey& key = *ring.primary();
  Evp evp(keys[0].view());

  const auto issue = [&] { return otp_actions::IssueChallenge(ring, Typical(), 6, otp_actions::NextInstant(kNow, 0)); };
  const otp_actions::Issued typical = issue();
  const otp_actions::Keyring::Opened opened = ring.Open(typical.context);
  const otp_actions::Payload payload = otp_actions::ParsePayload(opened.plaintext.text());
  const std::string plaintext(opened.plaintext.text());
  const std::size_t padded = plaintext.size() / 16 * 16 + 16;
  // The signed part, its padding, and HMAC's two key blocks and its outer digest: 64 bytes each.
  const std::size_t hashed = ((25 + padded + 9 + 63) / 64 + 1) * 64;  // The key blocks are hashed already.

  otp_actions::ProcessLedger ledger(1U << 20);
  otp_actions::NoLedger none;
  const otp_actions::Policy policy{.identifier = {.limit = 30, .seconds = 3600}, .network = {}};
  std::vector<otp_actions::Issued> issued(kCalls);
  std::size_t next = 0;
  const auto prepare = [&] {
    for (otp_actions::Issued& one : issued) one = issue();
    next = 0;
  };
  const auto verify = [&](otp_actions::Ledger& in, bool counts) {
    const otp_actions::Issued& one = issued[next++];
    const otp_actions::Challenge challenge = otp_actions::Challenge::Open(ring, one.context);
    otp_actions::Caller caller;
    if (counts) {
      caller.identifier = otp_actions::SubjectOf(challenge.key(), otp_actions::kIdentifierUse,
                                                 challenge.payload().identifier, challenge.payload().purpose);
    }
    Must(otp_actions::VerifyCode(challenge, one.code.text(), "", kNow, policy, caller, in).verdict ==
         otp_actions::Verdict::kVerified);
  };

  const auto nothing = [] {};
  std::vector<Piece> pieces;
  const auto add = [&](const char* name, std::function<void()> before, std::function<void()> call) {
    pieces.push_back({name, std::move(before), std::move(call), {}});
  };
  add("floor_seal", nothing, [&] { evp.FloorSeal(padded, hashed); });
  add("floor_open", nothing, [&] { evp.FloorOpen(padded, hashed); });
  add("loop_seal", nothing, [&] { Must(!evp.Seal(otp_actions::AsBytes(plaintext)).empty()); });
  add("loop_open", nothing, [&] { Must(evp.Open(typical.context) == plaintext.size()); });
  add("seal", nothing, [&] { Must(!key.fernet.Seal(otp_actions::AsBytes(plaintext), kNow).empty()); });
  add("open", nothing, [&] { Must(ring.Open(typical.context).plaintext.size() == plaintext.size()); });
  add("encode", nothing, [&] { Must(otp_actions::EncodePayload(payload).size() == plaintext.size()); });
  add("parse", nothing, [&] { Must(otp_actions::ParsePayload(plaintext).version == 2); });
  add("code_digest", nothing, [&] { Must(otp_actions::Match(payload, key, typical.code.text())); });
  add("issue", nothing, [&] { Must(!issue().context.empty()); });
  add("verify_none", prepare, [&] { verify(none, false); });
  add("verify_process", prepare, [&] { verify(ledger, true); });

  for (int round = 0; round < kRounds; ++round) {
    for (Piece& piece : pieces) {
      piece.before();
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < kCalls; ++i) piece.call();
      const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
      piece.nanoseconds.push_back(took.count() / kCalls);
    }
  }
  std::printf("{");
  const char* separator = "";
  for (Piece& piece : pieces) {
    std::nth_element(piece.nanoseconds.begin(), piece.nanoseconds.begin() + kRounds / 2, piece.nanoseconds.end());
    std::printf("%s\"%s\": %.1f", separator, piece.name, piece.nanoseconds[kRounds / 2]);
    separator = ", ";
  }
  std::printf("}\n");
}
