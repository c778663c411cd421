// Reader for tests/vectors/*.txt, the data that the C++ and the Python suite share: blocks of `key = value` lines with
// blank lines between them, and `#` comments.

#ifndef OTP_ACTIONS_TESTS_VECTORS_H_
#define OTP_ACTIONS_TESTS_VECTORS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "otp_actions/bytes.h"
#include "otp_actions/encoding.h"

namespace otp_actions::testing {

// FromHex returns the bytes of lower-case hexadecimal. Deliberately not HexDecode, which is under test itself.
inline std::vector<std::uint8_t> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) throw std::runtime_error("odd number of hex digits");
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

inline std::string ToHex(ByteView bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

// Vector is one block. A key that is not there is an error of the file, so it throws.
class Vector {
 public:
  [[nodiscard]] bool empty() const { return fields_.empty(); }
  [[nodiscard]] const std::string& Text(const std::string& key) const { return fields_.at(key); }
  [[nodiscard]] std::vector<std::uint8_t> Hex(const std::string& key) const { return FromHex(Text(key)); }
  void Set(std::string key, std::string value) {
    if (!fields_.emplace(std::move(key), std::move(value)).second) throw std::runtime_error("a key twice in one block");
  }

 private:
  std::map<std::string, std::string> fields_;
};

inline std::string Trim(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// ReadVectors returns the blocks of `file`; never none, so that a missing file cannot pass for a test that passed.
inline std::vector<Vector> ReadVectors(const std::string& file) {
  const std::string path = std::string(OTP_TEST_VECTORS) + "/" + file;
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::vector<Vector> blocks;
  Vector block;
  const auto finish = [&] {
    if (!block.empty()) blocks.push_back(std::move(block));
    block = Vector();
  };
  for (std::string line; std::getline(in, line);) {
    line = Trim(line);
    if (line.empty()) {
      finish();
    } else if (line.front() != '#') {
      // The first "=" divides: values such as base64 hold more of them.
      const std::size_t equals = line.find('=');
      if (equals == std::string::npos) throw std::runtime_error("not `key = value`: " + line);
      block.Set(Trim(line.substr(0, equals)), Trim(line.substr(equals + 1)));
    }
  }
  finish();
  if (blocks.empty()) throw std::runtime_error("no vectors in " + path);
  return blocks;
}

}  // namespace otp_actions::testing

#endif  // OTP_ACTIONS_TESTS_VECTORS_H_
