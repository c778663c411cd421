#include "otp_actions/hmac.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "openssl/handles.h"
#include "openssl/keyed_cache.h"

namespace otp_actions {
namespace {

void SetUp(openssl::MacCtx& ctx, ByteView key) {
  if (!ctx) ctx.reset(EVP_MAC_CTX_new(openssl::Hmac()));
  openssl::Check(ctx != nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                               OSSL_PARAM_construct_end()};
  // A null key would mean "the one before": an empty one must not be null.
  static constexpr std::uint8_t kNothing = 0;
  openssl::Check(EVP_MAC_init(ctx.get(), key.empty() ? &kNothing : key.data(), key.size(), params) == 1);
}

}  // namespace

HmacKey::HmacKey(ByteView key) : id_(openssl::NextKeyId()), key_(key) {}

Digest HmacKey::Sum(std::initializer_list<ByteView> parts) const {
  static thread_local openssl::KeyedCache<openssl::MacCtx> cache;
  EVP_MAC_CTX* const ctx = cache.Get(id_, [this](openssl::MacCtx& slot) { SetUp(slot, key_.view()); }).get();
  // Without a key this starts a new sum under the key the context already has.
  bool ok = EVP_MAC_init(ctx, nullptr, 0, nullptr) == 1;
  for (const ByteView part : parts) ok = ok && EVP_MAC_update(ctx, part.data(), part.size()) == 1;
  Digest digest;
  std::size_t size = 0;
  ok = ok && EVP_MAC_final(ctx, digest.data(), &size, digest.size()) == 1 && size == digest.size();
  openssl::Check(ok);
  return digest;
}

}  // namespace otp_actions
