// A ledger written in Python, as the core sees it; and the conversions both directions share.

#ifndef OTP_ACTIONS_BINDINGS_LEDGER_ADAPTER_H_
#define OTP_ACTIONS_BINDINGS_LEDGER_ADAPTER_H_

#include <pybind11/pybind11.h>

#include <optional>
#include <span>
#include <variant>

#include "otp_actions/ledger.h"

namespace otp_actions::bindings {

// PythonLedger calls an otp_actions.ledgers.Ledger. What that raises passes through the core to Python unchanged. Made
// for one verification: it keeps what was taken, so that it can be given back.
class PythonLedger final : public Ledger {
 public:
  explicit PythonLedger(pybind11::handle ledger) : ledger_(ledger) {}

  [[nodiscard]] std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                                 UnixTime now) override;
  [[nodiscard]] bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                             std::span<const Release> releases) override;
  void GiveBack(const Release& release, UnixTime now) override;

 private:
  pybind11::handle ledger_;
  pybind11::object taken_;
  pybind11::tuple claims_;
};

// AnyLedger is a ledger of the core as it is, or one written in Python behind an adapter.
class AnyLedger {
 public:
  explicit AnyLedger(pybind11::handle ledger);

  Ledger& get() { return adapter_ ? static_cast<Ledger&>(*adapter_) : *core_; }
  // False of one that remembers nothing, so that nobody need work out whom it could count.
  [[nodiscard]] bool counts() const { return counts_; }

 private:
  std::optional<PythonLedger> adapter_;
  Ledger* core_ = nullptr;  // Kept alive by the Python object, which the caller holds.
  bool counts_ = true;
};

[[nodiscard]] pybind11::bytes KeyBytes(const LedgerKey& key);

}  // namespace otp_actions::bindings

#endif  // OTP_ACTIONS_BINDINGS_LEDGER_ADAPTER_H_
