#include "otp_actions/openssl_library.h"

#include <dlfcn.h>
#include <openssl/crypto.h>

namespace otp_actions {

OpenSslLibrary LoadedOpenSsl() {
  OpenSslLibrary library{.version = OpenSSL_version(OPENSSL_VERSION), .path = ""};
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&OpenSSL_version), &info) != 0 && info.dli_fname != nullptr) {
    library.path = info.dli_fname;
  }
  return library;
}

}  // namespace otp_actions
