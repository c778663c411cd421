#include "json.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "otp_actions/error.h"

namespace otp_actions::json {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// A character that stands for itself inside a JSON string.
bool IsPlain(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\'; }

// PlainLength returns how many characters at the start of `text` stand for themselves, eight at a time.
std::size_t PlainLength(std::string_view text) {
  constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101U;
  constexpr std::uint64_t kTops = kOnes << 7;
  // The top bit of each byte of the result says that the byte is zero. Bytes above a zero one may be marked too, so
  // only the lowest mark is to be believed.
  const auto zeros = [](std::uint64_t x) { return (x - kOnes) & ~x & kTops; };
  std::size_t at = 0;
  for (std::uint64_t eight = 0; text.size() - at >= sizeof eight; at += sizeof eight) {
    std::memcpy(&eight, text.data() + at, sizeof eight);
    const std::uint64_t quotes = zeros(eight ^ kOnes * '"');
    const std::uint64_t backslashes = zeros(eight ^ kOnes * '\\');
    const std::uint64_t controls = zeros(eight & kOnes * 0xe0);
    const std::uint64_t stops = quotes | backslashes | controls;
    if (stops == 0) continue;
    if constexpr (std::endian::native == std::endian::little) {
      return at + static_cast<std::size_t>(std::countr_zero(stops)) / 8;
    }
    break;
  }
  while (at < text.size() && IsPlain(text[at])) ++at;
  return at;
}

void AppendUtf8(std::uint32_t point, std::string& out) {
  if (point < 0x80) {
    out.push_back(static_cast<char>(point));
    return;
  }
  if (point < 0x800) {
    out.push_back(static_cast<char>(0xc0 | point >> 6));
  } else {
    if (point < 0x10000) {
      out.push_back(static_cast<char>(0xe0 | point >> 12));
    } else {
      out.push_back(static_cast<char>(0xf0 | point >> 18));
      out.push_back(static_cast<char>(0x80 | (point >> 12 & 0x3f)));
    }
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3f)));
  }
  out.push_back(static_cast<char>(0x80 | (point & 0x3f)));
}

// Utf8Length is the size of the well-formed sequence that starts at `bytes[at]`; 0 if there is none.
std::size_t Utf8Length(ByteView bytes, std::size_t at) {
  const std::uint8_t lead = bytes[at];
  if (lead < 0x80) return 1;
  const std::size_t left = bytes.size() - at;
  const auto continues = [&](std::size_t i, std::uint8_t low = 0x80, std::uint8_t high = 0xbf) {
    return bytes[at + i] >= low && bytes[at + i] <= high;
  };
  if (lead >= 0xc2 && lead <= 0xdf) return left >= 2 && continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const std::uint8_t low = lead == 0xe0 ? 0xa0 : 0x80;   // Below: an overlong form.
    const std::uint8_t high = lead == 0xed ? 0x9f : 0xbf;  // Above: a surrogate.
    return left >= 3 && continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const std::uint8_t low = lead == 0xf0 ? 0x90 : 0x80;
    const std::uint8_t high = lead == 0xf4 ? 0x8f : 0xbf;  // Above: beyond U+10FFFF.
    return left >= 4 && continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  const ByteView bytes = AsBytes(text);
  std::size_t at = 0;
  while (at < bytes.size()) {
    // Nearly all of it is ASCII: eight bytes at a time while none has its top bit set.
    std::uint64_t eight = 0;
    if (bytes.size() - at >= sizeof eight) {
      std::memcpy(&eight, bytes.data() + at, sizeof eight);
      if ((eight & 0x8080'8080'8080'8080U) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const std::size_t length = Utf8Length(bytes, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

void AppendString(std::string_view text, SecretBytes& out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out.Append('"');
  while (!text.empty()) {
    const std::size_t plain = PlainLength(text);
    out.Append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const char c = text.front();
    text.remove_prefix(1);
    out.Append('\\');
    if (c == '"' || c == '\\') {
      out.Append(c);
    } else {
      out.Append("u00");
      out.Append(kHex[static_cast<unsigned char>(c) >> 4]);
      out.Append(kHex[static_cast<unsigned char>(c) & 15]);
    }
  }
  out.Append('"');
}

void Reader::Fail() { throw Error(ErrorCode::kInvalidToken); }

void Reader::SkipSpace() {
  while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
    ++at_;
}

void Reader::ExpectEnd() {
  SkipSpace();
  if (at_ != text_.size()) Fail();
}

char Reader::PeekValue() {
  SkipSpace();
  return Next();
}

void Reader::ExpectWord(std::string_view word) {
  SkipSpace();
  if (text_.substr(at_, word.size()) != word) Fail();
  at_ += word.size();
}

void Reader::ReadNull() { ExpectWord("null"); }

std::uint32_t Reader::ReadHex4() {
  if (text_.size() - at_ < 4) Fail();
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = text_[at_++];
    const char lower = static_cast<char>(c | 0x20);
    if (IsDigit(c)) {
      value = value << 4 | static_cast<std::uint32_t>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = value << 4 | static_cast<std::uint32_t>(lower - 'a' + 10);
    } else {
      Fail();
    }
  }
  return value;
}

// Reads one escape, the backslash already taken, and returns its code point. A surrogate counts only in a pair.
std::uint32_t Reader::ReadEscape() {
  if (at_ == text_.size()) Fail();
  switch (text_[at_++]) {
    case '"':
      return '"';
    case '\\':
      return '\\';
    case '/':
      return '/';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'u':
      break;
    default:
      Fail();
  }
  const std::uint32_t unit = ReadHex4();
  if (unit < 0xd800 || unit > 0xdfff) return unit;
  if (unit > 0xdbff || text_.substr(at_, 2) != "\\u") Fail();
  at_ += 2;
  const std::uint32_t low = ReadHex4();
  if (low < 0xdc00 || low > 0xdfff) Fail();
  return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

std::string_view Reader::RawString() {
  Expect('"');
  const std::size_t start = at_;
  for (;;) {
    at_ += PlainLength(text_.substr(at_));
    if (at_ == text_.size()) Fail();
    const char c = text_[at_++];
    if (c == '"') return text_.substr(start, at_ - 1 - start);
    if (c != '\\') Fail();
    (void)ReadEscape();
  }
}

std::string_view Reader::ReadPlainString() {
  Expect('"');
  const std::string_view plain = text_.substr(at_, PlainLength(text_.substr(at_)));
  at_ += plain.size();
  if (Next() != '"') Fail();
  ++at_;
  return plain;
}

std::string Reader::ReadString() {
  const std::string_view raw = RawString();
  if (raw.find('\\') == std::string_view::npos) return std::string(raw);
  Reader inside(raw);
  std::string text;
  while (inside.at_ < raw.size()) {
    const char c = raw[inside.at_++];
    if (c == '\\') {
      AppendUtf8(inside.ReadEscape(), text);
    } else {
      text.push_back(c);
    }
  }
  return text;
}

Number Reader::ReadNumber() {
  SkipSpace();
  const bool negative = Next() == '-';
  if (negative) ++at_;
  const std::size_t start = at_;
  Number number;
  for (; at_ < text_.size() && IsDigit(text_[at_]); ++at_) {
    // Built up below zero, where int64 has one value more.
    if (__builtin_mul_overflow(number.whole, 10, &number.whole) ||
        __builtin_sub_overflow(number.whole, text_[at_] - '0', &number.whole)) {
      Fail();
    }
  }
  const std::size_t digits = at_ - start;
  if (digits == 0 || (digits > 1 && text_[start] == '0')) Fail();
  if (!negative && __builtin_sub_overflow(std::int64_t{0}, number.whole, &number.whole)) Fail();
  if (Next() == '.') {
    ++at_;
    number.is_integer = false;
    const std::size_t fraction = at_;
    SkipDigits();
    const std::string_view digits_cut_off = text_.substr(fraction, at_ - fraction);
    number.rounds_up = !negative && digits_cut_off.find_first_not_of('0') != std::string_view::npos;
  }
  if (Next() == 'e' || Next() == 'E') Fail();
  return number;
}

void Reader::SkipDigits() {
  const std::size_t start = at_;
  while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
  if (at_ == start) Fail();
}

void Reader::SkipNumber() {
  if (Next() == '-') ++at_;
  const std::size_t start = at_;
  SkipDigits();
  if (at_ - start > 1 && text_[start] == '0') Fail();
  if (Next() == '.') {
    ++at_;
    SkipDigits();
  }
  if (Next() == 'e' || Next() == 'E') {
    ++at_;
    if (Next() == '+' || Next() == '-') ++at_;
    SkipDigits();
  }
}

std::string_view Reader::ReadName() {
  const std::size_t start = at_;
  const std::string_view raw = RawString();
  if (raw.find('\\') == std::string_view::npos) return raw;
  at_ = start;
  return unescaped_.emplace_front(ReadString());
}

// Recursion is bounded by `depth_left`, which the callers fix.
void Reader::SkipValue(int depth_left) {  // NOLINT(misc-no-recursion)
  switch (PeekValue()) {
    case '"':
      (void)RawString();
      return;
    case 't':
      return ExpectWord("true");
    case 'f':
      return ExpectWord("false");
    case 'n':
      return ExpectWord("null");
    case '[':
      if (depth_left == 0) Fail();
      Expect('[');
      if (Consume(']')) return;
      do SkipValue(depth_left - 1);
      while (Consume(','));
      return Expect(']');
    case '{': {
      if (depth_left == 0) Fail();
      Expect('{');
      if (Consume('}')) return;
      if (names_.capacity() == 0) names_.reserve(16);
      const auto first = static_cast<std::ptrdiff_t>(names_.size());
      do {
        names_.push_back(ReadName());
        Expect(':');
        SkipValue(depth_left - 1);
      } while (Consume(','));
      std::sort(names_.begin() + first, names_.end());
      if (std::adjacent_find(names_.begin() + first, names_.end()) != names_.end()) Fail();
      names_.erase(names_.begin() + first, names_.end());
      return Expect('}');
    }
    default:
      return SkipNumber();
  }
}

std::string_view Reader::ReadRaw(int max_depth) {
  SkipSpace();
  const std::size_t start = at_;
  SkipValue(max_depth);
  return text_.substr(start, at_ - start);
}

}  // namespace otp_actions::json
