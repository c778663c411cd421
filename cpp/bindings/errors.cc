// The only place where a C++ exception of ours becomes a Python one. The code decides, never the text.

#include "otp_actions/error.h"
#include "register.h"

namespace otp_actions::bindings {
namespace {

namespace py = pybind11;

// Exception types live as long as the process: references that are never given back.
struct Types {
  PyObject* invalid_token = nullptr;
  PyObject* context_too_big = nullptr;
  PyObject* ledger_full = nullptr;
  PyObject* clock_behind = nullptr;
  PyObject* crypto_failure = nullptr;
};
Types types;

PyObject* New(py::module_& module, const char* name, const char* doc) {
  const std::string qualified = std::string("otp_actions._core.") + name;
  PyObject* const type = PyErr_NewExceptionWithDoc(qualified.c_str(), doc, nullptr, nullptr);
  if (type == nullptr) throw py::error_already_set();
  module.attr(name) = py::handle(type);
  return type;
}

PyObject* TypeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidToken:
      return types.invalid_token;
    case ErrorCode::kContextTooBig:
      return types.context_too_big;
    case ErrorCode::kLedgerFull:
      return types.ledger_full;
    case ErrorCode::kClockBehind:
      return types.clock_behind;
    case ErrorCode::kCrypto:
      return types.crypto_failure;
  }
  return types.crypto_failure;
}

void Translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(std::move(thrown));
  } catch (const Error& error) {
    PyErr_SetString(TypeOf(error.code()), error.what());
  }
}

}  // namespace

void RegisterErrors(py::module_& module) {
  types.invalid_token =
      New(module, "InvalidToken", "Not a token of this keyring, or not a challenge. Says no more on purpose.");
  types.context_too_big = New(module, "ContextTooBig", "What should be sealed does not fit into 8192 characters.");
  types.ledger_full = New(module, "LedgerFull", "The process ledger has no room for a new entry.");
  types.clock_behind = New(module, "ClockBehind", "Another host's clock is minutes ahead of this one.");
  types.crypto_failure = New(module, "CryptoFailure", "OpenSSL failed.");
  py::register_local_exception_translator(Translate);
}

}  // namespace otp_actions::bindings
