// Comparison that does not tell where two secrets differ.

#ifndef OTP_ACTIONS_CONSTANT_TIME_H_
#define OTP_ACTIONS_CONSTANT_TIME_H_

#include "otp_actions/bytes.h"

namespace otp_actions {

// ConstantTimeEqual is true if `a` and `b` are the same bytes. Its time depends on the sizes only, which are not
// secret.
[[nodiscard]] bool ConstantTimeEqual(ByteView a, ByteView b);

}  // namespace otp_actions

#endif  // OTP_ACTIONS_CONSTANT_TIME_H_
