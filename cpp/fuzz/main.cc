// What libFuzzer calls. OTP_FUZZ_TARGET is the target of this program.

#include <cstddef>
#include <cstdint>

#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)otp_actions::fuzz::OTP_FUZZ_TARGET({data, size});
  return 0;
}
