#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <filesystem>
#include <string>

#include "otp_actions/openssl_library.h"

namespace otp_actions {
namespace {

TEST(OpenSslLibraryTest, TellsTheLoadedVersionAndItsFile) {
  const OpenSslLibrary library = LoadedOpenSsl();
  EXPECT_TRUE(library.version.starts_with(std::string("OpenSSL ") + OpenSSL_version(OPENSSL_VERSION_STRING)));
  EXPECT_TRUE(std::filesystem::exists(library.path)) << library.path;
  EXPECT_NE(std::filesystem::path(library.path).filename().string().find("crypto"), std::string::npos);
}

}  // namespace
}  // namespace otp_actions
