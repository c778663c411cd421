#include "ledger_adapter.h"

#include <algorithm>
#include <array>

#include "direct.h"
#include "otp_actions/process_ledger.h"
#include "script_ledger.h"

namespace otp_actions::bindings {
namespace {

namespace py = pybind11;
using py::literals::operator""_a;

py::tuple ClaimTuple(const Claim& claim) { return py::make_tuple(KeyBytes(claim.bucket), claim.limit, claim.ttl); }

}  // namespace

py::bytes KeyBytes(const LedgerKey& key) {
  std::array<char, 1 + kIdSize> bytes{};
  bytes[0] = static_cast<char>(key.kind);
  std::copy(key.id.begin(), key.id.end(), bytes.begin() + 1);
  return {bytes.data(), bytes.size()};
}

std::variant<Taken, Denied> PythonLedger::Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                               UnixTime now) {
  py::tuple claim_tuples(claims.size());
  for (std::size_t i = 0; i < claims.size(); ++i) {
    claim_tuples[i] = ClaimTuple(claims[i]);
  }
  py::tuple barrier_tuples(barriers.size());  // NOLINT(misc-const-correctness): it is filled below
  for (std::size_t i = 0; i < barriers.size(); ++i) {
    barrier_tuples[i] = py::make_tuple(KeyBytes(barriers[i].mark), barriers[i].above);
  }
  py::object result = ledger_.attr("take")(claim_tuples, "unless"_a = barrier_tuples, "now"_a = now);
  if (py::hasattr(result, "which")) {
    // `which` is the barrier or the claim that stood in the way, as it was passed in.
    const py::object which = result.attr("which");
    Denied denied;
    denied.retry_after = result.attr("retry_after").cast<std::int64_t>();
    while (denied.index < barriers.size() && !py::object(barrier_tuples[denied.index]).equal(which)) ++denied.index;
    for (std::size_t i = 0; denied.index == barriers.size() + i && i < claims.size(); ++i) {
      if (!py::object(claim_tuples[i]).equal(which)) ++denied.index;
    }
    return denied;
  }
  Taken taken;
  for (const py::handle count : result.attr("counts")) taken.counts.push_back(count.cast<std::int64_t>());
  if (!claims.empty()) {
    taken_ = std::move(result);
    claims_ = std::move(claim_tuples);
  }
  return taken;
}

bool PythonLedger::Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                           std::span<const Release> releases) {
  py::tuple release_tuples(releases.size());  // NOLINT(misc-const-correctness): it is filled below
  for (std::size_t i = 0; i < releases.size(); ++i) {
    release_tuples[i] = py::make_tuple(ClaimTuple(releases[i].claim), releases[i].units);
  }
  return ledger_.attr("advance")(KeyBytes(mark), value, "ttl"_a = ttl, "now"_a = now, "release"_a = release_tuples)
      .cast<bool>();
}

void PythonLedger::GiveBack(const Release& release, UnixTime now) {
  for (const py::handle taken : claims_) {
    if (!py::object(taken[py::int_(0)]).equal(KeyBytes(release.claim.bucket))) continue;
    ledger_.attr("give_back")(taken_, taken, "now"_a = now, "units"_a = release.units);
  }
}

AnyLedger::AnyLedger(py::handle ledger) : core_(Find<ProcessLedger>(ledger.ptr())) {
  if (core_ == nullptr) core_ = Find<ScriptLedger>(ledger.ptr());
  if (core_ != nullptr) return;
  core_ = Find<NoLedger>(ledger.ptr());
  counts_ = core_ == nullptr;
  if (counts_) adapter_.emplace(ledger);
}

}  // namespace otp_actions::bindings
