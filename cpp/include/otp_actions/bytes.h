// Byte views and SecretBytes, a buffer that is wiped before its memory is given back.

#ifndef OTP_ACTIONS_BYTES_H_
#define OTP_ACTIONS_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace otp_actions {

using ByteView = std::span<const std::uint8_t>;
using UnixTime = std::int64_t;  // Whole seconds since 1970-01-01T00:00:00Z, as the caller sees them.

// SecondsUntil is `then` - `now`, and the nearest possible number where that does not fit.
[[nodiscard]] constexpr std::int64_t SecondsUntil(UnixTime then, UnixTime now) {
  std::int64_t seconds = 0;
  if (!__builtin_sub_overflow(then, now, &seconds)) return seconds;
  return then > now ? INT64_MAX : INT64_MIN;
}

inline constexpr std::size_t kDigestSize = 32;  // SHA-256.
inline constexpr std::size_t kIdSize = 16;      // A challenge's jti, a ledger key's id: 128 bits.

[[nodiscard]] inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

[[nodiscard]] inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Wipe overwrites `bytes` with zeros in a way the compiler may not remove.
void Wipe(std::span<std::uint8_t> bytes);

// SecretBytes owns key material or plaintext. It moves but never copies, and is wiped when it is destroyed, when it
// grows and when it is shortened.
//
// WARNING: it cannot wipe what the operating system copied (swap, a core dump), nor what was handed to Python.
class SecretBytes {
 public:
  SecretBytes() = default;
  // Zero bytes.
  explicit SecretBytes(std::size_t size);
  explicit SecretBytes(ByteView bytes);

  SecretBytes(SecretBytes&& other) noexcept { Swap(other); }
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    Swap(other);
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { Wipe({data_.get(), size_}); }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] const std::uint8_t* data() const { return data_.get(); }
  [[nodiscard]] std::uint8_t* data() { return data_.get(); }
  [[nodiscard]] ByteView view() const { return {data_.get(), size_}; }
  [[nodiscard]] std::string_view text() const { return AsText(view()); }

  // Reserve makes room for `capacity` bytes in all, so that appending up to there moves nothing.
  void Reserve(std::size_t capacity);
  void Append(std::string_view text) {
    if (capacity_ - size_ < text.size()) Grow(text.size());
    if (!text.empty()) std::memcpy(data_.get() + size_, text.data(), text.size());
    size_ += text.size();
  }
  void Append(char c) { Append(std::string_view(&c, 1)); }
  // Truncate shortens to `size` bytes, at most size(), and wipes the rest.
  void Truncate(std::size_t size);

 private:
  // Makes room for `more` bytes after the last.
  void Grow(std::size_t more);
  void Swap(SecretBytes& other) noexcept {
    data_.swap(other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_ = 0;  // Bytes past it, up to the capacity, never hold a secret.
  std::size_t capacity_ = 0;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_BYTES_H_
