// Watch for Python: whether dicts are as they were, without looking into them. Each call that issues or verifies asks
// it whether the settings have changed, and comparing them took longer than parsing a context.

#include <pybind11/pybind11.h>

#include <cstdint>

#include "direct.h"
#include "register.h"

namespace otp_actions::bindings {
namespace {

namespace py = pybind11;

#if PY_VERSION_HEX >= 0x030c0000

// Changes to watched dicts are counted, whichever dict it was: one too many costs a second look, and no more.
std::uint64_t changes = 0;  // Guarded by the GIL.

int Count(PyDict_WatchEvent /*event*/, PyObject* /*dict*/, PyObject* /*key*/, PyObject* /*value*/) {
  ++changes;
  return 0;
}

// An interpreter has eight watchers for all who want one. Without any left, every look finds a change.
int watcher = -1;

void FindWatcher() {
  if (watcher < 0) watcher = PyDict_AddWatcher(Count);
  if (watcher < 0) PyErr_Clear();
}

void Begin(PyObject* dict) {
  if (watcher >= 0 && PyDict_Watch(watcher, dict) != 0) throw py::error_already_set();
}

std::uint64_t VersionOf(PyObject* /*dict*/) { return watcher >= 0 ? changes : ++changes; }

#else

void FindWatcher() {}

void Begin(PyObject* /*dict*/) {}

// Different after every change (PEP 509).
std::uint64_t VersionOf(PyObject* dict) { return reinterpret_cast<PyDictObject*>(dict)->ma_version_tag; }

#endif

class Watch {
 public:
  Watch(py::dict first, py::dict second) : first_(std::move(first)), second_(std::move(second)) {
    Begin(first_.ptr());
    Begin(second_.ptr());
    first_version_ = VersionOf(first_.ptr());
    second_version_ = VersionOf(second_.ptr());
  }

  [[nodiscard]] bool IsQuiet() const {
    return VersionOf(first_.ptr()) == first_version_ && VersionOf(second_.ptr()) == second_version_;
  }

 private:
  py::dict first_;
  py::dict second_;
  std::uint64_t first_version_ = 0;
  std::uint64_t second_version_ = 0;
};

py::object IsQuiet(PyObject* self) { return py::bool_(Held<Watch>(self).IsQuiet()); }

}  // namespace

void RegisterWatch(py::module_& module) {
  FindWatcher();
  py::class_<Watch> watch(module, "Watch", "Two dicts, and whether they have changed since it was made.",
                          py::is_final());
  Closed(watch).def(py::init<py::dict, py::dict>());
  AddDirect<IsQuiet, 0>(watch, "is_quiet", "True while nothing was set or deleted in either dict.");
}

}  // namespace otp_actions::bindings
