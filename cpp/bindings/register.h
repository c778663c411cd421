// What module.cc puts together. One function for each group of names in otp_actions._core.

#ifndef OTP_ACTIONS_BINDINGS_REGISTER_H_
#define OTP_ACTIONS_BINDINGS_REGISTER_H_

#include <pybind11/pybind11.h>

namespace otp_actions::bindings {

void RegisterErrors(pybind11::module_& module);
void RegisterLedgers(pybind11::module_& module);
void RegisterKeyring(pybind11::module_& module);
void RegisterWatch(pybind11::module_& module);

}  // namespace otp_actions::bindings

#endif  // OTP_ACTIONS_BINDINGS_REGISTER_H_
