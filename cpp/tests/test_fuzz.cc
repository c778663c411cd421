#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "targets.h"

namespace otp_actions::fuzz {
namespace {

using Target = bool (*)(ByteView);

std::vector<std::filesystem::path> FilesOf(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  if (!std::filesystem::exists(folder)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string Read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  EXPECT_TRUE(in) << file;
  return {std::istreambuf_iterator<char>(in), {}};
}

// A seed's name says whether it is accepted: what is named "good" reaches the end of its target.
void Replay(const std::string& name, Target target) {
  const std::filesystem::path home = std::filesystem::path(OTP_FUZZ_HOME) / name;
  std::size_t good = 0;
  for (const auto& file : FilesOf(home / "seeds")) {
    SCOPED_TRACE(file);
    const bool is_good = file.filename().string().starts_with("good-");
    good += is_good ? 1 : 0;
    EXPECT_EQ(target(AsBytes(Read(file))), is_good);
  }
  EXPECT_GT(good, 0U) << "no seeds in " << home;
  for (const auto& file : FilesOf(home / "findings")) {
    SCOPED_TRACE(file);
    EXPECT_NO_THROW((void)target(AsBytes(Read(file))));
  }
}

TEST(FuzzTest, EverySeedAndFindingOfTokenHolds) { Replay("token", FuzzToken); }
TEST(FuzzTest, EverySeedAndFindingOfContextHolds) { Replay("context", FuzzContext); }
TEST(FuzzTest, EverySeedAndFindingOfEncodingHolds) { Replay("encoding", FuzzEncoding); }

TEST(FuzzTest, WhatDoesNotHoldIsThrown) { EXPECT_THROW(Require(false, "no"), Broken); }

}  // namespace
}  // namespace otp_actions::fuzz
