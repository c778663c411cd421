// The core's own ledgers for Python.

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "direct.h"
#include "otp_actions/process_ledger.h"
#include "register.h"
#include "script_ledger.h"

namespace pybind11::detail {
template <>
class type_caster<otp_actions::Ledger> : public otp_actions::bindings::MadeCaster<otp_actions::Ledger> {};
template <>
class type_caster<otp_actions::ProcessLedger> : public otp_actions::bindings::MadeCaster<otp_actions::ProcessLedger> {};
}  // namespace pybind11::detail

namespace otp_actions::bindings {
namespace {

namespace py = pybind11;

LedgerKey KeyFrom(py::handle key) {
  if (!PyBytes_Check(key.ptr()) || PyBytes_GET_SIZE(key.ptr()) != 1 + kIdSize) {
    throw py::value_error("a ledger key is 17 bytes: a kind and a 16-byte id");
  }
  const ByteView bytes = AsBytes({PyBytes_AS_STRING(key.ptr()), 1 + kIdSize});
  LedgerKey result;
  result.kind = bytes[0];
  std::copy(bytes.begin() + 1, bytes.end(), result.id.begin());
  return result;
}

std::int64_t IntFrom(py::handle number) {
  const std::int64_t value = PyLong_AsLongLong(number.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

// Read by hand: pybind11's converters for nested sequences cost several times what the take itself does.
template <typename Item, std::size_t Size>
std::size_t ReadTuples(const py::tuple& tuples, std::array<Item, ProcessLedger::kMaxKeysPerTake>& items,
                       Item (*convert)(PyObject*)) {
  if (tuples.size() > items.size()) throw py::value_error("a take names at most 8 keys");
  for (std::size_t i = 0; i < tuples.size(); ++i) {
    PyObject* const tuple = PyTuple_GET_ITEM(tuples.ptr(), static_cast<Py_ssize_t>(i));
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != Size)
      throw py::value_error("a claim is (bucket, limit, ttl), a barrier (mark, above), a release (claim, units)");
    items[i] = convert(tuple);
  }
  return tuples.size();
}

Claim ClaimFrom(PyObject* tuple) {
  return {KeyFrom(PyTuple_GET_ITEM(tuple, 0)), IntFrom(PyTuple_GET_ITEM(tuple, 1)),
          IntFrom(PyTuple_GET_ITEM(tuple, 2))};
}

Barrier BarrierFrom(PyObject* tuple) {
  return {KeyFrom(PyTuple_GET_ITEM(tuple, 0)), IntFrom(PyTuple_GET_ITEM(tuple, 1))};
}

Release ReleaseFrom(PyObject* tuple) {
  PyObject* const claim = PyTuple_GET_ITEM(tuple, 0);
  if (!PyTuple_Check(claim) || PyTuple_GET_SIZE(claim) != 3) throw py::value_error("a claim is (bucket, limit, ttl)");
  return {.claim = ClaimFrom(claim), .units = std::max<std::int64_t>(IntFrom(PyTuple_GET_ITEM(tuple, 1)), 0)};
}

py::tuple Take(Ledger& ledger, const py::tuple& claims, const py::tuple& barriers, UnixTime now) {
  std::array<Claim, ProcessLedger::kMaxKeysPerTake> claim_items;
  std::array<Barrier, ProcessLedger::kMaxKeysPerTake> barrier_items;
  const std::size_t claim_count = ReadTuples<Claim, 3>(claims, claim_items, ClaimFrom);
  const std::size_t barrier_count = ReadTuples<Barrier, 2>(barriers, barrier_items, BarrierFrom);
  const auto result =
      ledger.Take(std::span(claim_items).first(claim_count), std::span(barrier_items).first(barrier_count), now);
  if (const auto* denied = std::get_if<Denied>(&result))
    return py::make_tuple(py::none(), denied->index, denied->retry_after);
  const auto& taken = std::get<Taken>(result);
  py::tuple counts(taken.counts.size());  // NOLINT(misc-const-correctness): it is filled below
  for (std::size_t i = 0; i < taken.counts.size(); ++i) counts[i] = taken.counts[i];
  return py::make_tuple(std::move(counts), 0, 0);
}

bool Advance(Ledger& ledger, py::handle mark, std::int64_t value, std::int64_t ttl, UnixTime now,
             const py::tuple& releases) {
  std::array<Release, ProcessLedger::kMaxKeysPerTake> items;
  const std::size_t count = ReadTuples<Release, 2>(releases, items, ReleaseFrom);
  return ledger.Advance(KeyFrom(mark), value, ttl, now, std::span(items).first(count));
}

}  // namespace

void RegisterLedgers(py::module_& module) {
  py::class_<Ledger> ledger(module, "Ledger", "A ledger of the core.");
  Closed(ledger)
      .def("take", &Take, "(counts, 0, 0) if taken, (None, index, retry_after) if denied.")
      .def("advance", &Advance)
      .def("give_back", [](Ledger& self, const py::tuple& release, UnixTime now) {
        if (release.size() != 2) throw py::value_error("a release is (claim, units)");
        self.GiveBack(ReleaseFrom(release.ptr()), now);
      });
  py::class_<NoLedger, Ledger>(module, "NoLedger", "Counts nothing.", py::is_final()).def(py::init<>());
  py::class_<ScriptLedger, Ledger>(module, "ScriptLedger", "Counters and marks in a store that runs scripts.",
                                   py::is_final())
      .def(py::init([](const py::bytes& prefix, py::object run, py::object nonsense) {
        return std::make_unique<ScriptLedger>(std::string(prefix), std::move(run), std::move(nonsense));
      }));
  py::class_<ProcessLedger, Ledger>(module, "ProcessLedger", "Counters and marks of one process, bounded and expiring.",
                                    py::is_final())
      .def(py::init<std::size_t>())
      .def_property_readonly("size", &ProcessLedger::size)
      .def_property_readonly("capacity", &ProcessLedger::capacity)
      .def_property_readonly("memory", &ProcessLedger::memory);
}

}  // namespace otp_actions::bindings
