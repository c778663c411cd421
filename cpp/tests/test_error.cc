#include <gtest/gtest.h>

#include <set>
#include <string>

#include "otp_actions/error.h"

namespace otp_actions {
namespace {

constexpr ErrorCode kAllCodes[] = {ErrorCode::kInvalidToken, ErrorCode::kContextTooBig, ErrorCode::kLedgerFull,
                                   ErrorCode::kClockBehind, ErrorCode::kCrypto};

TEST(ErrorTest, CarriesItsCode) {
  for (const ErrorCode code : kAllCodes) EXPECT_EQ(Error(code).code(), code);
}

TEST(ErrorTest, HasOneFixedTextForEachCode) {
  std::set<std::string> texts;
  for (const ErrorCode code : kAllCodes) {
    const std::string text = Error(code).what();
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text, Error(code).what());
    EXPECT_TRUE(texts.insert(text).second) << "two codes say: " << text;
  }
}

TEST(ErrorTest, IsAStandardException) {
  try {
    throw Error(ErrorCode::kLedgerFull);
  } catch (const std::exception& error) {
    EXPECT_STREQ(error.what(), Error(ErrorCode::kLedgerFull).what());
  }
}

}  // namespace
}  // namespace otp_actions
