#include "otp_actions/error.h"

namespace otp_actions {

const char* Error::what() const noexcept {
  switch (code_) {
    case ErrorCode::kInvalidToken:
      return "not a valid context";
    case ErrorCode::kContextTooBig:
      return "what should be sealed does not fit into a context";
    case ErrorCode::kLedgerFull:
      return "the process ledger is full";
    case ErrorCode::kClockBehind:
      return "this clock is minutes behind another host's";
    case ErrorCode::kCrypto:
      return "OpenSSL failed";
  }
  return "unknown error";
}

}  // namespace otp_actions
