// The fuzz targets: what must hold for any bytes at all. libFuzzer calls them with inputs of its own (see main.cc), the
// unit tests with every seed and every finding.

#ifndef OTP_ACTIONS_FUZZ_TARGETS_H_
#define OTP_ACTIONS_FUZZ_TARGETS_H_

#include <cstdint>
#include <stdexcept>

#include "otp_actions/bytes.h"

namespace otp_actions::fuzz {

// Broken is thrown when something did not hold. It is no Error, so nothing on the way takes it for a rejection.
class Broken : public std::logic_error {
  using std::logic_error::logic_error;
};

// Require throws Broken unless `holds`.
inline void Require(bool holds, const char* what) {
  if (!holds) throw Broken(what);
}

// Each target is true if `input` was accepted in the role it is named for, false if it was rejected as it may be. It
// throws Broken if a property does not hold; any other exception is a finding too.
//
// `input` is the text of a token; the body of a token, to which a sound tag is added; a plaintext to seal.
bool FuzzToken(ByteView input);
// `input` is the plaintext of a context, which is sealed under a known key: this is what lies behind the tag. And it is
// an identifier, a purpose and metadata.
bool FuzzContext(ByteView input);
// `input` is bytes to encode and text to decode.
bool FuzzEncoding(ByteView input);

}  // namespace otp_actions::fuzz

#endif  // OTP_ACTIONS_FUZZ_TARGETS_H_
