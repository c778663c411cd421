// Keyring and Verdict for Python. Arguments are positional: a keyword costs more than the work.

#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "direct.h"
#include "ledger_adapter.h"
#include "otp_actions/challenge.h"
#include "otp_actions/encoding.h"
#include "otp_actions/error.h"
#include "otp_actions/instant.h"
#include "otp_actions/openssl_library.h"
#include "otp_actions/random.h"
#include "otp_actions/subject.h"
#include "otp_actions/verification.h"
#include "register.h"

namespace otp_actions::bindings {
namespace {

namespace py = pybind11;

py::str Text(std::string_view text) { return {text.data(), text.size()}; }

std::string_view Utf8(py::handle text) {
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (data == nullptr) throw py::error_already_set();
  return {data, static_cast<std::size_t>(size)};
}

// Rules is what a project decides, made once for each state of its settings.
struct Rules {
  Policy policy;
  py::object canonical;  // A function from str to str that gives all spellings of an identifier one form.
  bool folds_ascii;      // What it makes of ASCII is lower case without white space around it.

  // The usual identifier is ASCII, and for that no Python is run.
  [[nodiscard]] Identifier Canonical(const Identifier& identifier) const {
    const auto* const text = std::get_if<std::string>(&identifier);
    if (text == nullptr) return identifier;
    if (folds_ascii && std::ranges::all_of(*text, [](char c) { return c >= 0; })) return FoldedAscii(*text);
    const py::object result = canonical(Text(*text));
    if (!PyUnicode_Check(result.ptr())) throw py::type_error("OTP_CANONICAL_IDENTIFIER must return a str");
    return std::string(Utf8(result));
  }

 private:
  static std::string FoldedAscii(std::string_view text) {
    const auto is_space = [](char c) { return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31); };
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    std::string folded(text);
    for (char& c : folded) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return folded;
  }
};

}  // namespace
}  // namespace otp_actions::bindings

namespace pybind11::detail {
template <>
class type_caster<otp_actions::Keyring> : public otp_actions::bindings::MadeCaster<otp_actions::Keyring> {};
template <>
class type_caster<otp_actions::bindings::Rules>
    : public otp_actions::bindings::MadeCaster<otp_actions::bindings::Rules> {};
}  // namespace pybind11::detail

namespace otp_actions::bindings {
namespace {

// Ascii is Text for what can be nothing else: nobody looks.
py::str Ascii(std::string_view text) {
  PyObject* const made = PyUnicode_New(static_cast<Py_ssize_t>(text.size()), 127);
  if (made == nullptr) throw py::error_already_set();
  if (!text.empty()) std::memcpy(PyUnicode_1BYTE_DATA(made), text.data(), text.size());
  return py::reinterpret_steal<py::str>(made);
}

// TokenText returns the characters of `token` without a copy. What is not an ASCII string is no token, whatever it is.
std::string_view TokenText(py::handle token) {
  if (!PyUnicode_Check(token.ptr()) || PyUnicode_IS_ASCII(token.ptr()) == 0) throw Error(ErrorCode::kInvalidToken);
  return {reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(token.ptr())),
          static_cast<std::size_t>(PyUnicode_GET_LENGTH(token.ptr()))};
}

Identifier IdentifierFrom(py::handle identifier) {
  if (identifier.is_none()) return std::monostate();
  if (PyUnicode_Check(identifier.ptr())) {
    const std::string_view text = Utf8(identifier);
    // Before anything is made of it: folding takes time in proportion to the square of its length, if somebody tries.
    if (text.size() > kMaxIdentifierSize) throw py::value_error("an identifier has at most 1024 bytes");
    return std::string(text);
  }
  if (!PyLong_Check(identifier.ptr()) || PyBool_Check(identifier.ptr()))
    throw py::type_error("an identifier is None, an int or a str");
  int overflow = 0;
  const std::int64_t number = PyLong_AsLongLongAndOverflow(identifier.ptr(), &overflow);
  if (overflow != 0) throw py::value_error("an int identifier has 64 bits");
  return number;
}

// Moment is a caller's time, with what it has beyond whole seconds. Python has looked at its range.
struct Moment {
  explicit Moment(double now)
      : second(static_cast<UnixTime>(now)),
        micros(static_cast<std::int64_t>((now - static_cast<double>(second)) * 1e6)) {}

  UnixTime second;
  std::int64_t micros;
};

py::object ToPython(const Identifier& identifier) {
  if (const auto* number = std::get_if<std::int64_t>(&identifier)) return py::int_(*number);
  if (const auto* text = std::get_if<std::string>(&identifier)) return Text(*text);
  return py::none();
}

// Request is what both kinds of issue are asked for.
struct Request {
  Payload payload;
  Instant issued_at = 0;
};

// `issued_at` is 0 for the next instant at `now`.
Request RequestFrom(py::handle identifier, py::handle metadata, py::handle purpose, std::int64_t max_retries,
                    double now, std::int64_t otp_window, std::int64_t session_window, Instant issued_at) {
  const Moment moment(now);
  Request request;
  request.issued_at = issued_at != 0 ? issued_at : NextInstant(moment.second, moment.micros);
  Payload& payload = request.payload;
  if (!PyUnicode_Check(purpose.ptr())) throw py::type_error("a purpose is a str");
  payload.purpose = Utf8(purpose);
  payload.identifier = IdentifierFrom(identifier);
  if (!metadata.is_none()) payload.metadata = Utf8(metadata);
  payload.timestamp = issued_at != 0 ? issued_at >> kPlaceBits : moment.second;
  payload.otp_expiry = moment.second + otp_window;
  payload.session_expiry = moment.second + session_window;
  payload.max_retries = max_retries;
  return request;
}

// Arguments: identifier, metadata, purpose, length, max_retries, now, otp_window, session_window, issued_at.
py::object Issue(PyObject* self, const Arguments<9>& arguments) {
  Request request = RequestFrom(arguments[0], arguments[1], arguments[2], Integer(arguments[4]), Real(arguments[5]),
                                Integer(arguments[6]), Integer(arguments[7]), Integer(arguments[8]));
  const int length = static_cast<int>(std::clamp<std::int64_t>(Integer(arguments[3]), 0, kMaxCodeLength + 1));
  const Issued issued = IssueChallenge(Held<Keyring>(self), std::move(request.payload), length, request.issued_at);
  py::tuple pair(2);
  PyTuple_SET_ITEM(pair.ptr(), 0, Ascii(issued.code.text()).release().ptr());
  PyTuple_SET_ITEM(pair.ptr(), 1, Ascii(issued.context).release().ptr());
  return pair;
}

py::str Decoy(const Keyring& ring, py::handle identifier, py::handle metadata, py::handle purpose,
              std::int64_t max_retries, double now, std::int64_t otp_window, std::int64_t session_window,
              Instant issued_at) {
  Request request = RequestFrom(identifier, metadata, purpose, max_retries, now, otp_window, session_window, issued_at);
  return Text(IssueDecoy(ring, std::move(request.payload), request.issued_at));
}

Caller CallerOf(const Challenge& challenge, const Rules& rules, py::handle network, const AnyLedger& ledger) {
  Caller caller;
  if (!ledger.counts()) return caller;
  const Payload& payload = challenge.payload();
  if (!std::holds_alternative<std::monostate>(payload.identifier)) {
    caller.identifier =
        SubjectOf(challenge.key(), kIdentifierUse, rules.Canonical(payload.identifier), payload.purpose);
  }
  if (!network.is_none()) {
    caller.network = SubjectOf(challenge.key(), kNetworkUse, std::string(Utf8(network)), "");
  }
  return caller;
}

// A verified dict is copied from a template that has what is usual, and filled: inserting eleven keys one by one costs
// more than opening the token.
class Template {
 public:
  enum Name : std::size_t {
    kV,
    kJti,
    kPurpose,
    kIdentifier,
    kOtpHash,
    kMetadata,
    kTimestamp,
    kOtpExpiry,
    kSessionExpiry,
    kRetryCount,
    kMaxRetriesName
  };

  // Never given back: it lives as long as the process.
  static void Make() {
    if (the_ == nullptr) the_ = new Template();
  }

  static py::dict Copy() {
    PyObject* const copy = PyDict_Copy(The().fields_);
    if (copy == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::dict>(copy);
  }

  static void Set(const py::dict& fields, Name name, const py::object& value) {
    if (PyDict_SetItem(fields.ptr(), The().names_[name], value.ptr()) != 0) throw py::error_already_set();
  }

 private:
  Template() : fields_(PyDict_New()) {
    constexpr std::array<const char*, 11> kNames = {
        "v",         "jti",        "purpose",        "identifier",  "otp_hash",   "metadata",
        "timestamp", "otp_expiry", "session_expiry", "retry_count", "max_retries"};
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      names_[i] = PyUnicode_InternFromString(kNames[i]);
      if (PyDict_SetItem(fields_, names_[i], Py_None) != 0) throw py::error_already_set();
    }
    const auto usual = [this](Name name, const py::object& value) {
      if (PyDict_SetItem(fields_, names_[name], value.ptr()) != 0) throw py::error_already_set();
    };
    usual(kV, py::int_(Payload::kVersion));
    usual(kPurpose, py::str());
    usual(kRetryCount, py::int_(0));
  }
  // Made at import. WARNING: not at the first call: Python may then collect garbage and run whatever it likes, while
  // C++ lets nobody else in, and a thread that waits there holds the GIL.
  static const Template& The() { return *the_; }

  static inline const Template* the_ = nullptr;

  PyObject* fields_;
  std::array<PyObject*, 11> names_{};
};

template <std::size_t N>
py::str Hex(const std::array<std::uint8_t, N>& bytes) {
  std::array<char, 2 * N> hex;
  HexEncode(bytes, hex);
  return Ascii({hex.data(), hex.size()});
}

// Fields returns the payload as a dict. Metadata stays JSON text (None for null): Python's own decoder is the one that
// makes Python's own objects.
py::dict Fields(const Payload& payload) {
  py::dict fields = Template::Copy();
  if (payload.version != Payload::kVersion) Template::Set(fields, Template::kV, py::int_(payload.version));
  Template::Set(fields, Template::kJti, Hex(payload.jti));
  if (!payload.purpose.empty()) Template::Set(fields, Template::kPurpose, Text(payload.purpose));
  Template::Set(fields, Template::kIdentifier, ToPython(payload.identifier));
  Template::Set(fields, Template::kOtpHash, Hex(payload.otp_hash));
  if (payload.metadata != "null") Template::Set(fields, Template::kMetadata, Text(payload.metadata));
  Template::Set(fields, Template::kTimestamp, py::int_(payload.timestamp));
  Template::Set(fields, Template::kOtpExpiry, py::int_(payload.otp_expiry));
  Template::Set(fields, Template::kSessionExpiry, py::int_(payload.session_expiry));
  if (payload.retry_count != 0) Template::Set(fields, Template::kRetryCount, py::int_(payload.retry_count));
  Template::Set(fields, Template::kMaxRetriesName, py::int_(payload.max_retries));
  return fields;
}

// A text without a UTF-8 form (a lone surrogate) is nobody's code; it is still counted and compared like any other.
std::string_view CodeText(py::handle code) {
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_AsUTF8AndSize(code.ptr(), &size);
  if (data != nullptr) return {data, static_cast<std::size_t>(size)};
  PyErr_Clear();
  return {};
}

// What is no text, or has no UTF-8 form, is nobody's purpose: longer than any that was ever sealed.
std::string_view PurposeText(py::handle purpose) {
  static const std::string nobodys(kMaxPurposeSize + 1, '?');
  Py_ssize_t size = 0;
  const char* const data = PyUnicode_Check(purpose.ptr()) ? PyUnicode_AsUTF8AndSize(purpose.ptr(), &size) : nullptr;
  if (data != nullptr) return {data, static_cast<std::size_t>(size)};
  PyErr_Clear();
  return nobodys;
}

// SealablePurpose is a purpose that a challenge can have: what is done for any other would be done for nobody.
std::string_view SealablePurpose(py::handle purpose) {
  const std::string_view text = Utf8(purpose);
  if (text.size() > kMaxPurposeSize) throw py::value_error("a purpose is too long");
  return text;
}

// What is said with a verdict: a new context and the attempts left, the seconds to wait, or the attempts allowed.
py::tuple Rejection(const Challenge& challenge, const Verification& result, UnixTime now) {
  const std::int64_t max_retries = challenge.payload().max_retries;
  switch (result.verdict) {
    case Verdict::kWrongCode:
    case Verdict::kAdmitted:
      return py::make_tuple(result.verdict, Text(challenge.Reseal(result.attempts_made, now)),
                            max_retries - result.attempts_made);
    case Verdict::kOverBudget:
      return py::make_tuple(result.verdict, py::none(), result.retry_after);
    default:
      return py::make_tuple(result.verdict, py::none(), max_retries);
  }
}

// Arguments: context, code, purpose, now, rules, network, ledger.
py::object Verify(PyObject* self, const Arguments<7>& arguments) {
  const UnixTime now = Integer(arguments[3]);
  const auto& rules = Held<const Rules>(arguments[4]);
  const Challenge challenge = Challenge::Open(Held<Keyring>(self), TokenText(arguments[0]));
  AnyLedger any(arguments[6]);
  const Verification result = VerifyCode(challenge, CodeText(arguments[1]), PurposeText(arguments[2]), now,
                                         rules.policy, CallerOf(challenge, rules, arguments[5], any), any.get());
  if (result.verdict == Verdict::kVerified) return Fields(challenge.payload());
  return Rejection(challenge, result, now);
}

py::tuple Count(const Keyring& ring, py::handle context, UnixTime now, const Rules& rules, py::handle network,
                py::handle ledger) {
  const Challenge challenge = Challenge::Open(ring, TokenText(context));
  AnyLedger any(ledger);
  return Rejection(
      challenge, CountAttempt(challenge, now, rules.policy, CallerOf(challenge, rules, network, any), any.get()), now);
}

py::tuple Describe(const Keyring& ring, py::handle context) {
  const Challenge challenge = Challenge::Open(ring, TokenText(context));
  return py::make_tuple(Hex(challenge.payload().jti), ToPython(challenge.payload().identifier),
                        Text(challenge.payload().purpose));
}

// A dict key that is no str would become one without a word: Python's encoder writes {1: 2} as {"1": 2}.
// NOLINTBEGIN(misc-no-recursion): bounded by depth_left
bool IsNestedWithin(PyObject* value, int depth_left);

bool IsDictNestedWithin(PyObject* dict, int depth_left) {
  Py_ssize_t at = 0;
  PyObject* key = nullptr;
  PyObject* item = nullptr;
  while (PyDict_Next(dict, &at, &key, &item) != 0) {
    if (!PyUnicode_Check(key)) throw py::type_error(std::string("a key of type ") + Py_TYPE(key)->tp_name);
    if (!IsNestedWithin(item, depth_left - 1)) return false;
  }
  return true;
}

bool IsNestedWithin(PyObject* value, int depth_left) {
  const bool is_dict = PyDict_Check(value) != 0;
  if (!is_dict && !PyList_Check(value) && !PyTuple_Check(value)) return true;
  if (depth_left <= 0) return false;
  if (is_dict) return IsDictNestedWithin(value, depth_left);
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(value); ++i) {
    if (!IsNestedWithin(PySequence_Fast_GET_ITEM(value, i), depth_left - 1)) return false;
  }
  return true;
}
// NOLINTEND(misc-no-recursion)

std::vector<SecretBytes> Keys(const std::vector<py::bytes>& keys) {
  std::vector<SecretBytes> secrets;
  secrets.reserve(keys.size());
  for (const py::bytes& key : keys) secrets.emplace_back(AsBytes(static_cast<std::string_view>(key)));
  return secrets;
}

py::tuple OpenSsl() {
  const OpenSslLibrary library = LoadedOpenSsl();
  return py::make_tuple(library.version,
                        py::reinterpret_steal<py::str>(PyUnicode_DecodeFSDefault(library.path.c_str())));
}

}  // namespace

void RegisterKeyring(py::module_& module) {
  Template::Make();
  module.attr("MAX_TOKEN_SIZE") = kMaxTokenSize;
  module.attr("MAX_METADATA_SIZE") = kMaxMetadataSize;
  module.attr("MAX_METADATA_DEPTH") = kMaxMetadataDepth;
  module.attr("MAX_IDENTIFIER_SIZE") = kMaxIdentifierSize;
  module.attr("CLOCK_SKEW") = kClockSkew;
  module.attr("MAX_PURPOSE_SIZE") = kMaxPurposeSize;
  module.attr("MAX_RETRIES") = kMaxRetries;
  module.attr("MAX_KEYS") = kMaxKeys;
  module.attr("MIN_CODE_LENGTH") = kMinCodeLength;
  module.attr("MAX_CODE_LENGTH") = kMaxCodeLength;

  py::native_enum<Verdict>(module, "Verdict", "enum.Enum", "What is said of an attempt, in the order of judging.")
      .value("ADMITTED", Verdict::kAdmitted)
      .value("REFUSED_LEGACY", Verdict::kRefusedLegacy)
      .value("WRONG_PURPOSE", Verdict::kWrongPurpose)
      .value("SESSION_EXPIRED", Verdict::kSessionExpired)
      .value("CODE_EXPIRED", Verdict::kCodeExpired)
      .value("REVOKED", Verdict::kRevoked)
      .value("USED", Verdict::kUsed)
      .value("EXHAUSTED", Verdict::kExhausted)
      .value("OVER_BUDGET", Verdict::kOverBudget)
      .value("WRONG_CODE", Verdict::kWrongCode)
      .value("VERIFIED", Verdict::kVerified)
      .finalize();
  module.def(
      "is_nested_within", [](py::handle value, int depth) { return IsNestedWithin(value.ptr(), std::min(depth, 64)); },
      "Whether dicts and lists in a value nest at most so deep. TypeError for a dict key that is no str.");
  module.def("openssl_library", &OpenSsl, "(version, file) of the OpenSSL that the core runs on.");
  module.def("match_count", &MatchCount, "How many codes this process has compared so far.");

  py::class_<Rules> rules(module, "Rules", "What a project decides about verification.", py::is_final());
  Closed(rules)
      .def(py::init([](bool accept_legacy, bool single_use, std::int64_t identifier_limit,
                       std::int64_t identifier_seconds, std::int64_t network_limit, std::int64_t network_seconds,
                       py::object canonical, bool folds_ascii) {
        return Rules{.policy = {.accept_legacy = accept_legacy,
                                .single_use = single_use,
                                .identifier = {.limit = identifier_limit, .seconds = identifier_seconds},
                                .network = {.limit = network_limit, .seconds = network_seconds}},
                     .canonical = std::move(canonical),
                     .folds_ascii = folds_ascii};
      }))
      .def(
          "canonical",
          [](const Rules& self, py::handle identifier) { return ToPython(self.Canonical(IdentifierFrom(identifier))); },
          "The one form of all spellings of an identifier.");

  py::class_<Keyring> keyring(module, "Keyring",
                              "One primary key and its fallbacks. Shows nothing of itself in a repr.", py::is_final());
  Closed(keyring)
      .def(py::init([](const std::vector<py::bytes>& keys) { return std::make_unique<Keyring>(Keys(keys)); }))
      .def("issue_decoy", &Decoy)
      .def("count_attempt", &Count, "(verdict, new context, number).")
      .def("describe", &Describe, "(jti, identifier, purpose) of a challenge; judges nothing.")
      .def("revoke",
           [](const Keyring& self, py::handle context, UnixTime now, py::handle ledger) {
             AnyLedger any(ledger);
             return Revoke(Challenge::Open(self, TokenText(context)), now, any.get());
           })
      .def(
          "advance_epoch",
          [](const Keyring& self, py::handle identifier, py::handle purpose, double now, std::int64_t ttl,
             const Rules& rules, py::handle ledger) {
            AnyLedger any(ledger);
            const Moment moment(now);
            return AdvanceEpoch(self, rules.Canonical(IdentifierFrom(identifier)), SealablePurpose(purpose),
                                moment.second, moment.micros, ttl, any.get());
          },
          "The instant before which codes are worthless now.")
      .def(
          "digests",
          [](const Keyring& self, py::handle use, py::handle whom, py::handle scope, const Rules& rules) {
            const Identifier identifier = rules.Canonical(IdentifierFrom(whom));
            py::list digests;
            for (const auto& key : self.keys()) {
              const Digest digest = StoreDigest(*key, Utf8(use), identifier, Utf8(scope));
              digests.append(py::bytes(reinterpret_cast<const char*>(digest.data()), digest.size()));
            }
            return digests;
          },
          "A 32-byte digest for each key, the primary's first.")
      .def("seal", [](const Keyring& self, const py::bytes& plaintext,
                      UnixTime now) { return Text(self.Seal(AsBytes(static_cast<std::string_view>(plaintext)), now)); })
      .def("open", [](const Keyring& self, py::handle token) {
        const Keyring::Opened opened = self.Open(TokenText(token));
        return py::bytes(reinterpret_cast<const char*>(opened.plaintext.data()), opened.plaintext.size());
      });
  AddDirect<Issue, 9>(keyring, "issue", "(code, context).");
  AddDirect<Verify, 7>(keyring, "verify",
                       "The fields if verified, else (verdict, new context, number); see Rejection.");
}

}  // namespace otp_actions::bindings
