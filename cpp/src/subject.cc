#include "otp_actions/subject.h"

#include <algorithm>

namespace otp_actions {

TaggedIdentifier::TaggedIdentifier(const Identifier& identifier) {
  if (const auto* number = std::get_if<std::int64_t>(&identifier)) {
    tag = 'i';
    digits = std::to_string(*number);
    text = digits;
  } else if (const auto* string = std::get_if<std::string>(&identifier)) {
    tag = 's';
    text = *string;
  }
}

void AppendWithLength(std::string_view part, SecretBytes& out) {
  const auto n = static_cast<std::uint32_t>(part.size());
  const std::array<char, 4> length = {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                                      static_cast<char>(n)};
  out.Append(std::string_view(length.data(), length.size()));
  out.Append(part);
}

Digest StoreDigest(const RingKey& key, std::string_view use, const Identifier& whom, std::string_view scope) {
  const TaggedIdentifier tagged(whom);
  SecretBytes message;
  message.Reserve(3 * std::size_t{4} + 1 + use.size() + tagged.text.size() + scope.size());
  AppendWithLength(use, message);
  message.Append(tagged.tag);
  AppendWithLength(tagged.text, message);
  AppendWithLength(scope, message);
  return key.store.Sum({message.view()});
}

SubjectId SubjectOf(const RingKey& key, std::string_view use, const Identifier& whom, std::string_view scope) {
  const Digest digest = StoreDigest(key, use, whom, scope);
  SubjectId id{};
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

}  // namespace otp_actions
