#include "otp_actions/bytes.h"

#include <openssl/crypto.h>

#include <algorithm>

namespace otp_actions {

void Wipe(std::span<std::uint8_t> bytes) {
  if (!bytes.empty()) OPENSSL_cleanse(bytes.data(), bytes.size());
}

SecretBytes::SecretBytes(std::size_t size)
    : data_(std::make_unique<std::uint8_t[]>(size)), size_(size), capacity_(size) {}

SecretBytes::SecretBytes(ByteView bytes) { Append(AsText(bytes)); }

void SecretBytes::Reserve(std::size_t capacity) {
  if (capacity <= capacity_) return;
  auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
  if (size_ > 0) std::memcpy(larger.get(), data_.get(), size_);
  Wipe({data_.get(), size_});
  data_ = std::move(larger);
  capacity_ = capacity;
}

void SecretBytes::Grow(std::size_t more) { Reserve(std::max(size_ + more, capacity_ * 2)); }

void SecretBytes::Truncate(std::size_t size) {
  Wipe(std::span(data_.get(), size_).subspan(size));
  size_ = size;
}

}  // namespace otp_actions
