// Owners for OpenSSL objects, and the one place where its error queue is drained.

#ifndef OTP_ACTIONS_SRC_OPENSSL_HANDLES_H_
#define OTP_ACTIONS_SRC_OPENSSL_HANDLES_H_

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <memory>

namespace otp_actions::openssl {

// IsExiting is true once the process has begun to exit. OpenSSL cleans up then, while threads may still be alive: what
// they own is left to it.
[[nodiscard]] bool IsExiting();

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    if (!IsExiting()) Free(object);
  }
};

using CipherCtx = std::unique_ptr<EVP_CIPHER_CTX, Deleter<EVP_CIPHER_CTX_free>>;
using MacCtx = std::unique_ptr<EVP_MAC_CTX, Deleter<EVP_MAC_CTX_free>>;
using KdfCtx = std::unique_ptr<EVP_KDF_CTX, Deleter<EVP_KDF_CTX_free>>;
using Kdf = std::unique_ptr<EVP_KDF, Deleter<EVP_KDF_free>>;

// Check throws Error{kCrypto} unless `ok`, after emptying OpenSSL's error queue: what it says never reaches a caller.
void Check(bool ok);

// DrainErrors empties this thread's error queue.
void DrainErrors();

// Fetched once for the process and never freed: fetching for each call costs several times the work itself.
EVP_MAC* Hmac();
EVP_CIPHER* Aes128Cbc();

}  // namespace otp_actions::openssl

#endif  // OTP_ACTIONS_SRC_OPENSSL_HANDLES_H_
