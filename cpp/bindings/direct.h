// Methods that Python calls without pybind11's dispatcher. For the two calls that every code is paid with, finding the
// overload and converting eight arguments took 0.3 us of 2.2 in issuing, 0.5 of 3.1 in verifying.

#ifndef OTP_ACTIONS_BINDINGS_DIRECT_H_
#define OTP_ACTIONS_BINDINGS_DIRECT_H_

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>

namespace otp_actions::bindings {

// Closed keeps what a class of this module holds where Find looks for it, and nowhere else: nobody derives from it, and
// nobody writes it down.
template <typename Class>
Class& Closed(Class& type) {
  const auto refuse = [](pybind11::handle self, const pybind11::args&) -> pybind11::object {
    throw pybind11::type_error(std::string(Py_TYPE(self.ptr())->tp_name) + " cannot be copied or pickled");
  };
  type.def("__reduce__", refuse).def("__reduce_ex__", refuse);
  return type;
}

// Find returns the T in `object`, null if that is none. T is a final class of this module.
template <typename T>
T* Find(PyObject* object) {
  namespace py = pybind11;
  static auto* const type =
      reinterpret_cast<PyTypeObject*>(py::type::of<std::remove_const_t<T>>().release().ptr());  // Lives for ever.
  if (!PyObject_TypeCheck(object, type)) return nullptr;
  return static_cast<T*>(reinterpret_cast<py::detail::instance*>(object)->get_value_and_holder().value_ptr());
}

template <typename T>
T& Held(PyObject* object) {
  T* const found = Find<T>(object);
  if (found == nullptr) throw pybind11::type_error("an argument has the wrong type, or was never initialised");
  return *found;
}

// MadeCaster is pybind11's own, but refuses what `__new__` has made and `__init__` has not: pybind11 would hand over
// memory in which nothing was built.
template <typename T>
class MadeCaster : public pybind11::detail::type_caster_base<T> {
 public:
  bool load(pybind11::handle source, bool convert) {
    const bool is_ours = pybind11::isinstance<T>(source);
    auto* const object = reinterpret_cast<pybind11::detail::instance*>(source.ptr());
    if (is_ours && object->get_value_and_holder().value_ptr() == nullptr) return false;
    return pybind11::detail::type_caster_base<T>::load(source, convert);
  }
};

inline std::int64_t Integer(PyObject* object) {
  if (!PyLong_Check(object)) throw pybind11::type_error("an argument must be an int");
  const std::int64_t value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw pybind11::value_error("an int has 64 bits");
  }
  return value;
}

inline double Real(PyObject* object) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
  return value;
}

// Arguments is `Count` of them as an array, so that the compiler and UBSan know its end: ASan sees none in Python's
// stack.
template <Py_ssize_t Count>
using Arguments = PyObject* const[Count];

// Direct is a METH_FASTCALL around `function(self, arguments)`, which has exactly `Count` arguments, or
// `function(self)`.
template <auto Function, Py_ssize_t Count>
// NOLINTNEXTLINE(bugprone-exception-escape): what cannot be translated must end the process, not unwind through C.
PyObject* Direct(PyObject* self, PyObject* const* arguments, Py_ssize_t count) noexcept {
  try {
    if (count != Count) throw pybind11::type_error("wrong number of arguments");
    if constexpr (Count == 0) {
      return Function(self).release().ptr();
    } else {
      return Function(self, *reinterpret_cast<Arguments<Count>*>(arguments)).release().ptr();
    }
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (...) {
    pybind11::detail::try_translate_exceptions();  // errors.cc, as for every other method.
  }
  return nullptr;
}

// AddDirect gives the class `type` a method `name` that is Direct<Function, Count>.
template <auto Function, Py_ssize_t Count>
void AddDirect(pybind11::handle type, const char* name, const char* doc) {
  // By way of a type that any function may be cast to: METH_FASTCALL says what it really is.
  using Any = void (*)();
  static PyMethodDef method = {name, reinterpret_cast<PyCFunction>(reinterpret_cast<Any>(&Direct<Function, Count>)),
                               METH_FASTCALL, doc};
  PyObject* const descriptor = PyDescr_NewMethod(reinterpret_cast<PyTypeObject*>(type.ptr()), &method);
  if (descriptor == nullptr) throw pybind11::error_already_set();
  type.attr(name) = pybind11::reinterpret_steal<pybind11::object>(descriptor);
}

}  // namespace otp_actions::bindings

#endif  // OTP_ACTIONS_BINDINGS_DIRECT_H_
