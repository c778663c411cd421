#include "otp_actions/keyring.h"

#include <stdexcept>

#include "otp_actions/constant_time.h"
#include "otp_actions/error.h"
#include "otp_actions/hkdf.h"

namespace otp_actions {
namespace {

// One label for each use. They are part of every digest ever made: never change one, add a new one.
SecretBytes Derive(ByteView key, std::string_view use) { return Hkdf(key, {}, AsBytes(use), kDigestSize); }

}  // namespace

RingKey::RingKey(ByteView key)
    : fernet(key), code(Derive(key, "otp_actions/v2/code").view()), store(Derive(key, "otp_actions/v2/store").view()) {}

Keyring::Keyring(std::span<const SecretBytes> keys) {
  if (keys.empty() || keys.size() > kMaxKeys) throw std::invalid_argument("a keyring holds 1 to 8 keys");
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (ConstantTimeEqual(keys[i].view(), keys[j].view()))
        throw std::invalid_argument("a keyring holds each key once");
    }
    keys_.push_back(std::make_shared<const RingKey>(keys[i].view()));
  }
}

Keyring::Opened Keyring::Open(std::string_view token) const {
  const FernetToken decoded = FernetToken::Decode(token);
  for (const std::shared_ptr<const RingKey>& key : keys_) {
    if (key->fernet.Authenticates(decoded)) return {key->fernet.Decrypt(decoded), key};
  }
  throw Error(ErrorCode::kInvalidToken);
}

}  // namespace otp_actions
