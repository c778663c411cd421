#include "otp_actions/random.h"

#include <openssl/rand.h>
#include <sys/mman.h>

#include <climits>
#include <cstring>
#include <stdexcept>

#include "openssl/handles.h"

namespace otp_actions {
namespace {

void FromOpenSsl(std::span<std::uint8_t> out) {
  openssl::Check(out.size() <= INT_MAX && RAND_bytes(out.data(), static_cast<int>(out.size())) == 1);
}

// Page is one thread's stock of random bytes. A call of RAND_bytes costs the same for 16 bytes as for a thousand, and
// it was the largest single cost of issuing a code. The page is marked MADV_WIPEONFORK: in a child it reads as zeros,
// the sentinel among them, so the child draws its own bytes before it hands out any.
class Page {
 public:
  Page() {
#ifdef MADV_WIPEONFORK
    void* const memory = mmap(nullptr, sizeof(Stock), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    if (madvise(memory, sizeof(Stock), MADV_WIPEONFORK) != 0) {
      munmap(memory, sizeof(Stock));
      return;
    }
    stock_ = new (memory) Stock;
#endif
  }
  ~Page() {
    if (stock_ == nullptr) return;
    Wipe(stock_->bytes);
    munmap(stock_, sizeof(Stock));
  }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  void Draw(std::span<std::uint8_t> out) {
    if (stock_ == nullptr || out.size() > kLargestDraw) {
      FromOpenSsl(out);
      return;
    }
    // Zero means "wiped" here, so the position is kept one-based.
    if (stock_->sentinel != kFilled || stock_->used + out.size() > kStockSize) Fill();
    const std::span<std::uint8_t> bytes = std::span(stock_->bytes).subspan(stock_->used, out.size());
    std::memcpy(out.data(), bytes.data(), bytes.size());
    Wipe(bytes);
    stock_->used += out.size();
  }

 private:
  static constexpr std::size_t kStockSize = 2048;
  static constexpr std::size_t kLargestDraw = 256;
  static constexpr std::uint64_t kFilled = 0x6f74705f616374ULL;
  struct Stock {
    std::uint64_t sentinel = 0;
    std::size_t used = 0;
    std::uint8_t bytes[kStockSize] = {};
  };

  void Fill() {
    stock_->sentinel = 0;  // If OpenSSL fails now, the next draw fills again.
    FromOpenSsl(stock_->bytes);
    stock_->used = 0;
    stock_->sentinel = kFilled;
  }

  Stock* stock_ = nullptr;
};

}  // namespace

void RandomBytes(std::span<std::uint8_t> out) {
  static thread_local Page page;
  if (!out.empty()) page.Draw(out);
}

SecretBytes CodeFromDraws(int length, const std::function<std::uint64_t()>& draw) {
  if (length < kMinCodeLength || length > kMaxCodeLength) throw std::invalid_argument("a code has 4 to 12 digits");
  std::uint64_t codes = 1;
  for (int i = 0; i < length; ++i) codes *= 10;
  // 2^64 is not a multiple of `codes`: the draws past the last whole block would make small codes more likely.
  const std::uint64_t incomplete = (UINT64_MAX % codes + 1) % codes;
  const std::uint64_t last_accepted = UINT64_MAX - incomplete;
  std::uint64_t value = draw();
  while (value > last_accepted) value = draw();
  value %= codes;
  SecretBytes code(static_cast<std::size_t>(length));
  for (int i = length - 1; i >= 0; --i) {
    code.data()[i] = static_cast<std::uint8_t>('0' + value % 10);
    value /= 10;
  }
  return code;
}

SecretBytes RandomCode(int length) {
  return CodeFromDraws(length, [] {
    std::uint64_t value = 0;
    RandomBytes({reinterpret_cast<std::uint8_t*>(&value), sizeof value});
    return value;
  });
}

}  // namespace otp_actions
