// Just enough JSON (RFC 8259) for a sealed payload: a strict, bounded, forward-only reader. Private to the core.

#ifndef OTP_ACTIONS_SRC_JSON_H_
#define OTP_ACTIONS_SRC_JSON_H_

#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "otp_actions/bytes.h"

namespace otp_actions::json {

// IsUtf8 is true if `text` is well-formed UTF-8 (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF.
[[nodiscard]] bool IsUtf8(std::string_view text);

// AppendString appends `text` as a JSON string. `text` must be UTF-8.
void AppendString(std::string_view text, SecretBytes& out);

// Number is a JSON number without exponent. `rounds_up` says that a fraction other than zero was cut off.
struct Number {
  std::int64_t whole = 0;
  bool is_integer = true;
  bool rounds_up = false;
};

// Reader walks over `text`, which must be UTF-8 and outlive it. Every syntax error is Error{kInvalidToken}.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  // Consume skips white space, then takes `c` if it is next.
  [[nodiscard]] bool Consume(char c) {
    if (at_ == text_.size() || text_[at_] != c) {
      SkipSpace();
      if (at_ == text_.size() || text_[at_] != c) return false;
    }
    ++at_;
    return true;
  }
  void Expect(char c) {
    if (!Consume(c)) Fail();
  }
  // ConsumeText takes `text` if exactly that is next, white space and spelling included. A short cut: whoever gets
  // false goes the long way.
  [[nodiscard]] bool ConsumeText(std::string_view text) {
    if (!text_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }
  // ConsumeQuoted takes `size` characters between two quotes if those are where they must be. What stands between is
  // not looked at.
  [[nodiscard]] std::optional<std::string_view> ConsumeQuoted(std::size_t size) {
    const std::string_view left = text_.substr(at_);
    if (left.size() < size + 2 || left.front() != '"' || left[size + 1] != '"') return std::nullopt;
    at_ += size + 2;
    return left.substr(1, size);
  }
  void ExpectEnd();

  // PeekValue skips white space and returns the next character, '\0' at the end.
  [[nodiscard]] char PeekValue();

  [[nodiscard]] std::string ReadString();
  // ReadPlainString returns the text of a string that has no escapes; those of our own fields have none.
  [[nodiscard]] std::string_view ReadPlainString();
  [[nodiscard]] Number ReadNumber();
  void ReadNull();

  // ReadRaw returns the text of the next value as it stands, after checking all of it: depth at most `max_depth`, no
  // member name twice in one object.
  [[nodiscard]] std::string_view ReadRaw(int max_depth);

 private:
  [[noreturn]] static void Fail();
  // Next is the character at hand, '\0' at the end.
  [[nodiscard]] char Next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void SkipSpace();
  void ExpectWord(std::string_view word);
  void SkipDigits();
  void SkipNumber();
  void SkipValue(int depth_left);
  // ReadName returns the text of a string for as long as this reader lives.
  [[nodiscard]] std::string_view ReadName();
  // RawString returns what stands between the quotes, escapes checked but not undone.
  [[nodiscard]] std::string_view RawString();
  [[nodiscard]] std::uint32_t ReadHex4();
  [[nodiscard]] std::uint32_t ReadEscape();

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string_view> names_;  // Of the members met so far, in all objects that are not yet at their end.
  std::forward_list<std::string> unescaped_;  // Those of them that cannot be views of `text_`.
};

}  // namespace otp_actions::json

#endif  // OTP_ACTIONS_SRC_JSON_H_
