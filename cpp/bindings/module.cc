// otp_actions._core: the C++ core as Python sees it. The signatures are in python/otp_actions/_core.pyi.

#include "register.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The C++ core of django-otp-actions. Private: use otp_actions.services.";
  otp_actions::bindings::RegisterErrors(module);
  otp_actions::bindings::RegisterLedgers(module);
  otp_actions::bindings::RegisterKeyring(module);
  otp_actions::bindings::RegisterWatch(module);
}
