// The one exception type of the core.

#ifndef OTP_ACTIONS_ERROR_H_
#define OTP_ACTIONS_ERROR_H_

#include <exception>

namespace otp_actions {

enum class ErrorCode {
  kInvalidToken,   // Not a token of this ring, or not the payload that was asked for. Deliberately says no more.
  kContextTooBig,  // What should be sealed would not fit into a context.
  kLedgerFull,     // The process ledger holds as many live entries as it may.
  kClockBehind,    // Another host revoked at a time that is minutes ahead of this one's.
  kCrypto,         // OpenSSL failed: out of memory, no entropy, an algorithm switched off.
};

// Error is thrown for a rejection or for a failure below us. Misuse by the calling code (a key of the wrong size, a
// length out of range) is std::invalid_argument instead. The text is fixed for each code: it never carries input.
class Error : public std::exception {
 public:
  explicit Error(ErrorCode code) : code_(code) {}

  [[nodiscard]] ErrorCode code() const { return code_; }
  [[nodiscard]] const char* what() const noexcept override;

 private:
  ErrorCode code_;
};

}  // namespace otp_actions

#endif  // OTP_ACTIONS_ERROR_H_
