#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "otp_actions/encoding.h"
#include "otp_actions/error.h"
#include "otp_actions/fernet.h"
#include "otp_actions/keyring.h"
#include "targets.h"

namespace otp_actions::fuzz {
namespace {

// The key of the seeds: the bytes 0, 1, ...
SecretBytes Key() {
  SecretBytes key(kFernetKeySize);
  for (std::size_t i = 0; i < key.size(); ++i) key.data()[i] = static_cast<std::uint8_t>(i);
  return key;
}

const Keyring& Ring() {
  static const Keyring ring(std::array{Key()});
  return ring;
}

std::string Text(const std::vector<std::uint8_t>& raw) {
  std::string text(Base64UrlSize(raw.size()), '\0');
  Base64UrlEncode(raw, text);
  return text;
}

// WithSoundTag returns the token of `body`, whatever that is: what only a holder of the key can make.
std::string WithSoundTag(ByteView body) {
  static const HmacKey signing(Key().view().first(kFernetKeySize / 2));
  std::vector<std::uint8_t> raw(body.begin(), body.end());
  const Digest tag = signing.Sum({body});
  raw.insert(raw.end(), tag.begin(), tag.end());
  return Text(raw);
}

UnixTime TimeOf(ByteView signed_part) {
  std::uint64_t time = 0;
  for (const std::uint8_t byte : signed_part.subspan(1, 8)) time = time << 8 | byte;
  return static_cast<UnixTime>(time);
}

// OpenOne is true if `text` opens. A token has one spelling, so what opens is what sealing would have made of it.
bool OpenOne(std::string_view text) {
  std::optional<FernetToken> token;
  try {
    token = FernetToken::Decode(text);
  } catch (const Error& error) {
    Require(error.code() == ErrorCode::kInvalidToken, "the only rejection is kInvalidToken");
    return false;
  }
  std::vector<std::uint8_t> raw(token->signed_part().begin(), token->signed_part().end());
  raw.insert(raw.end(), token->tag().begin(), token->tag().end());
  Require(Text(raw) == text, "a token that can be decoded is spelt as it would be encoded");
  try {
    const SecretBytes plaintext = Ring().Open(text).plaintext;
    Iv iv;
    std::ranges::copy(token->iv(), iv.begin());
    const FernetKey& key = Ring().primary()->fernet;
    Require(key.SealWithChosenIv(plaintext.view(), TimeOf(token->signed_part()), iv) == text,
            "a token that opens is the one that sealing makes");
    return true;
  } catch (const Error& error) {
    Require(error.code() == ErrorCode::kInvalidToken, "the only rejection is kInvalidToken");
    return false;
  }
}

void SealAndOpen(ByteView plaintext) {
  std::string token;
  try {
    token = Ring().Seal(plaintext, 1'800'000'000);
  } catch (const Error& error) {
    Require(error.code() == ErrorCode::kContextTooBig && plaintext.size() > 6000, "only what is too big is refused");
    return;
  }
  Require(token.size() <= kMaxTokenSize, "no token is longer than may be opened");
  Require(std::ranges::equal(Ring().Open(token).plaintext.view(), plaintext), "open(seal(x)) is x");
  token[plaintext.size() % token.size()] ^= 1;
  Require(!OpenOne(token), "a token with a bit changed does not open");
}

}  // namespace

bool FuzzToken(ByteView input) {
  const bool is_token = OpenOne(AsText(input));
  const bool is_body = OpenOne(WithSoundTag(input));
  SealAndOpen(input);
  return is_token || is_body;
}

}  // namespace otp_actions::fuzz
