// Threads for tests: started at the same moment, and never waited for in vain.

#ifndef OTP_ACTIONS_TESTS_THREADS_H_
#define OTP_ACTIONS_TESTS_THREADS_H_

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace otp_actions::testing {

// Alarm kills a test that waits for itself, so that a deadlock is a failure and not a hang.
class Alarm {
 public:
  Alarm() { alarm(120); }
  ~Alarm() { alarm(0); }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;
};

// RunTogether runs `work(i)` in `threads` threads that start at the same moment.
template <typename Work>
void RunTogether(std::size_t threads, Work work) {
  std::atomic<std::size_t> waiting{threads};
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      waiting.fetch_sub(1);
      while (waiting.load() > 0) std::this_thread::yield();
      work(i);
    });
  }
  for (std::thread& thread : running) thread.join();
}

}  // namespace otp_actions::testing

#endif  // OTP_ACTIONS_TESTS_THREADS_H_
