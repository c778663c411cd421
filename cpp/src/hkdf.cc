#include "otp_actions/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include <stdexcept>

#include "openssl/handles.h"

namespace otp_actions {
namespace {

// OpenSSL's parameters are not const-correct: nothing is written through this pointer. It refuses a null one, which is
// what an empty view may hold.
OSSL_PARAM OctetString(const char* name, ByteView bytes) {
  static std::uint8_t nothing = 0;
  return OSSL_PARAM_construct_octet_string(name, bytes.empty() ? &nothing : const_cast<std::uint8_t*>(bytes.data()),
                                           bytes.size());
}

}  // namespace

SecretBytes Hkdf(ByteView key, ByteView salt, ByteView info, std::size_t size) {
  if (size == 0 || size > 255 * kDigestSize) throw std::invalid_argument("HKDF-SHA256 makes 1 to 8160 bytes");
  const openssl::Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  openssl::Check(kdf != nullptr);
  const openssl::KdfCtx ctx(EVP_KDF_CTX_new(kdf.get()));
  openssl::Check(ctx != nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OctetString(OSSL_KDF_PARAM_KEY, key),
      OctetString(OSSL_KDF_PARAM_SALT, salt),
      OctetString(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  SecretBytes out(size);
  openssl::Check(EVP_KDF_derive(ctx.get(), out.data(), out.size(), params) == 1);
  return out;
}

}  // namespace otp_actions
