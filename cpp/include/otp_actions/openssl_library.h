// Which OpenSSL the core runs on. A wheel brings its own, beside the one that Python or the system has.

#ifndef OTP_ACTIONS_OPENSSL_LIBRARY_H_
#define OTP_ACTIONS_OPENSSL_LIBRARY_H_

#include <string>

namespace otp_actions {

struct OpenSslLibrary {
  std::string version;  // What the library says of itself, like "OpenSSL 3.5.7 9 Jun 2026".
  std::string path;     // The file it was loaded from; empty if the loader cannot tell.
};

// LoadedOpenSsl asks the library and the loader, not the headers that the core was built with. Safe from any thread.
[[nodiscard]] OpenSslLibrary LoadedOpenSsl();

}  // namespace otp_actions

#endif  // OTP_ACTIONS_OPENSSL_LIBRARY_H_
