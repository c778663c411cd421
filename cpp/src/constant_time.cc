#include "otp_actions/constant_time.h"

#include <openssl/crypto.h>

namespace otp_actions {

bool ConstantTimeEqual(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  return a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace otp_actions
