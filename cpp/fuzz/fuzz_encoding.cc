#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "otp_actions/encoding.h"
#include "targets.h"

namespace otp_actions::fuzz {
namespace {

std::string Base64Url(ByteView bytes) {
  std::string text(Base64UrlSize(bytes.size()), '\0');
  Base64UrlEncode(bytes, text);
  return text;
}

std::string Hex(ByteView bytes) {
  std::string text(2 * bytes.size(), '\0');
  HexEncode(bytes, text);
  return text;
}

std::optional<SecretBytes> FromHex(std::string_view text) {
  SecretBytes bytes(text.size() / 2);
  if (!HexDecode(text, {bytes.data(), bytes.size()})) return std::nullopt;
  return bytes;
}

// Every byte string has one spelling: it comes back from it, and what can be read at all is that spelling.
template <typename Encode, typename Decode>
bool HasOneSpelling(ByteView input, Encode encode, Decode decode) {
  const std::optional<SecretBytes> bytes = decode(encode(input));
  Require(bytes && std::ranges::equal(bytes->view(), input), "decode(encode(x)) is x");
  const std::optional<SecretBytes> read = decode(AsText(input));
  Require(!read || encode(read->view()) == AsText(input), "encode(decode(x)) is x, if x can be decoded");
  return read.has_value();
}

}  // namespace

bool FuzzEncoding(ByteView input) {
  const bool is_base64 = HasOneSpelling(input, Base64Url, Base64UrlDecode);
  const bool is_base32 = HasOneSpelling(input, Base32Encode, Base32Decode);
  const bool is_hex = HasOneSpelling(input, Hex, FromHex);
  return is_base64 || is_base32 || is_hex;
}

}  // namespace otp_actions::fuzz
