// What the tests expect of failures, and keys to fail with.

#ifndef OTP_ACTIONS_TESTS_EXPECT_H_
#define OTP_ACTIONS_TESTS_EXPECT_H_

#include <gtest/gtest.h>

#include <exception>
#include <initializer_list>
#include <optional>
#include <vector>

#include "otp_actions/bytes.h"
#include "otp_actions/error.h"
#include "otp_actions/fernet.h"
#include "otp_actions/keyring.h"

namespace otp_actions::testing {

// ThrowsError is a success if `call` throws Error{expected}, and nothing else.
template <typename Call>
::testing::AssertionResult ThrowsError(ErrorCode expected, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() == expected) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "threw Error: " << error.what();
  } catch (const std::exception& error) {
    return ::testing::AssertionFailure() << "threw another exception: " << error.what();
  }
  return ::testing::AssertionFailure() << "threw nothing";
}

// TestKey returns a Fernet key made of the bytes `fill`, `fill` + 1, ...
inline SecretBytes TestKey(std::uint8_t fill) {
  SecretBytes key(kFernetKeySize);
  for (std::size_t i = 0; i < key.size(); ++i) key.data()[i] = static_cast<std::uint8_t>(fill + i);
  return key;
}

// TestRing returns a keyring of TestKey(fill) for each fill, the primary first.
inline Keyring TestRing(std::initializer_list<std::uint8_t> fills) {
  std::vector<SecretBytes> keys;
  for (const std::uint8_t fill : fills) keys.push_back(TestKey(fill));
  return Keyring(keys);
}

}  // namespace otp_actions::testing

#endif  // OTP_ACTIONS_TESTS_EXPECT_H_
