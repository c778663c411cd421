#include "openssl/handles.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <atomic>
#include <cstdlib>

#include "otp_actions/error.h"

namespace otp_actions::openssl {
namespace {

std::atomic<bool> exiting{false};

// Exit handlers run last in, first out: OpenSSL has registered its own before this one, which so runs earlier.
void WatchExit() {
  static const bool watched = [] {
    Check(OPENSSL_init_crypto(0, nullptr) == 1);
    return std::atexit([] { exiting.store(true); }) == 0;
  }();
  Check(watched);
}

}  // namespace

bool IsExiting() { return exiting.load(std::memory_order_relaxed); }

void DrainErrors() { ERR_clear_error(); }

void Check(bool ok) {
  if (ok) return;
  DrainErrors();
  throw Error(ErrorCode::kCrypto);
}

EVP_MAC* Hmac() {
  WatchExit();
  static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  Check(mac != nullptr);
  return mac;
}

EVP_CIPHER* Aes128Cbc() {
  WatchExit();
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-128-CBC", nullptr);
  Check(cipher != nullptr);
  return cipher;
}

}  // namespace otp_actions::openssl
