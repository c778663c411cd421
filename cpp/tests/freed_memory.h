// Looks into memory at the moment it is given back: what is still there then, nobody will wipe.

#ifndef OTP_ACTIONS_TESTS_FREED_MEMORY_H_
#define OTP_ACTIONS_TESTS_FREED_MEMORY_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "otp_actions/bytes.h"

// A sanitizer brings its own operator new and delete and checks that they match; it must keep them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OTP_TEST_CAN_WATCH_DELETE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define OTP_TEST_CAN_WATCH_DELETE 0
#endif
#endif
#ifndef OTP_TEST_CAN_WATCH_DELETE
#define OTP_TEST_CAN_WATCH_DELETE 1
#endif

#define SKIP_UNLESS_DELETE_CAN_BE_WATCHED() \
  if (!OTP_TEST_CAN_WATCH_DELETE) GTEST_SKIP() << "operator delete belongs to the sanitizer in this build"

namespace otp_actions::testing {

// AllZero is true if `size` bytes at `memory` are zero; it really looks, though the memory is about to be freed.
bool AllZero(const void* memory, std::size_t size);

// Watch is what one allocation held when it was given back. One at a time in each thread.
struct Watch {
  const void* memory = nullptr;
  std::size_t size = 0;
  bool freed = false;
  bool was_wiped = false;
};
extern thread_local Watch watch;

inline void StartWatching(const SecretBytes& bytes) { watch = {.memory = bytes.data(), .size = bytes.size()}; }

// Search looks for secrets in every block that C++ or OpenSSL gives back, and in every mapping that the core does, in
// any thread, while it lives. One at a time.
class Search {
 public:
  Search();
  ~Search();
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  // Add has `secret`, 8 to 128 bytes that nothing else holds, looked for from now on. `name` is a literal.
  void Add(const char* name, std::string_view secret);

  // found names the secrets that were in a block that was given back.
  [[nodiscard]] static std::string found();
  // blocks is how many blocks were looked into.
  [[nodiscard]] static std::size_t blocks();
};

}  // namespace otp_actions::testing

#endif  // OTP_ACTIONS_TESTS_FREED_MEMORY_H_
