#include "freed_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>

namespace otp_actions::testing {
namespace {

// Nothing here may allocate: it would be looked into as well.
struct Secret {
  const char* name = nullptr;
  std::array<char, 128> bytes{};
  std::size_t size = 0;
  bool found = false;
};

std::mutex mutex;
std::atomic<bool> searching{false};
std::array<Secret, 16> secrets;
std::size_t secrets_size = 0;
std::size_t blocks_seen = 0;

// Look looks for the secrets in memory that is about to be given back.
void Look(const void* memory, std::size_t size) {
  if (memory == nullptr || !searching) return;
  const std::lock_guard lock(mutex);
  ++blocks_seen;
  for (std::size_t i = 0; i < secrets_size; ++i) {
    Secret& secret = secrets[i];
    if (memmem(memory, size, secret.bytes.data(), secret.size) != nullptr) secret.found = true;
  }
}

}  // namespace

thread_local Watch watch;

bool AllZero(const void* memory, std::size_t size) {
  // volatile: a compiler knows that nobody reads memory about to be freed. We do.
  const auto* const bytes = static_cast<const volatile unsigned char*>(memory);
  for (std::size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

Search::Search() {
  secrets_size = blocks_seen = 0;
  searching = true;
}

Search::~Search() { searching = false; }

void Search::Add(const char* name, std::string_view secret) {
  const std::lock_guard lock(mutex);
  Secret& added = secrets.at(secrets_size++);
  if (secret.size() < 8 || secret.size() > added.bytes.size()) throw std::invalid_argument("8 to 128 bytes");
  std::memcpy(added.bytes.data(), secret.data(), secret.size());
  added.name = name;
  added.size = secret.size();
  added.found = false;
}

std::string Search::found() {
  searching = false;
  std::string names;
  for (std::size_t i = 0; i < secrets_size; ++i) {
    if (secrets[i].found) names.append(names.empty() ? "" : ", ").append(secrets[i].name);
  }
  return names;
}

std::size_t Search::blocks() { return blocks_seen; }

#if OTP_TEST_CAN_WATCH_DELETE
namespace {

void* Malloc(std::size_t size, const char* /*file*/, int /*line*/) { return std::malloc(size); }
void Free(void* memory, const char* /*file*/, int /*line*/) {
  Look(memory, malloc_usable_size(memory));
  std::free(memory);
}
void* Realloc(void* memory, std::size_t size, const char* /*file*/, int /*line*/) {
  // Always moved, so that the old block is seen.
  void* const moved = std::malloc(size);
  if (moved != nullptr && memory != nullptr) std::memcpy(moved, memory, std::min(size, malloc_usable_size(memory)));
  if (moved != nullptr) Free(memory, nullptr, 0);
  return moved;
}

// Before main, since OpenSSL takes other functions only before it has used its own.
[[maybe_unused]] const bool watches_openssl = CRYPTO_set_mem_functions(Malloc, Realloc, Free) == 1;

}  // namespace
#endif

}  // namespace otp_actions::testing

#if OTP_TEST_CAN_WATCH_DELETE
void* operator new(std::size_t size) {
  void* const memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  using otp_actions::testing::watch;
  if (memory != nullptr && memory == watch.memory) {
    watch.freed = true;
    watch.was_wiped = otp_actions::testing::AllZero(memory, watch.size);
    watch.memory = nullptr;
  }
  otp_actions::testing::Look(memory, malloc_usable_size(memory));
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept { operator delete(memory); }
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete[](void* memory, std::size_t /*size*/) noexcept { operator delete(memory); }

// The core's own call is linked to this one; glibc gives back the stacks of threads by another name.
extern "C" int munmap(void* memory, std::size_t size) noexcept {
  otp_actions::testing::Look(memory, size);
  return static_cast<int>(syscall(SYS_munmap, memory, size));
}
#endif
