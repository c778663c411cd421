// A ledger in a store that runs scripts, such as Redis: the core packs each operation into one command and judges the
// reply; Python has the scripts and the connection.

#ifndef OTP_ACTIONS_BINDINGS_SCRIPT_LEDGER_H_
#define OTP_ACTIONS_BINDINGS_SCRIPT_LEDGER_H_

#include <pybind11/pybind11.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "otp_actions/ledger.h"

namespace otp_actions::bindings {

// ScriptLedger calls `run(script, words, tail)` with the number of a script (0 take, 1 advance, 2 give back) and the
// end of a Redis command: how many keys, the keys, and all numbers as one string of big-endian doubles, `words` words
// in all. A key begins with `prefix`. `run` returns the reply or raises. A reply that the script cannot have given
// makes it call `nonsense()`, which raises.
class ScriptLedger final : public Ledger {
 public:
  ScriptLedger(std::string prefix, pybind11::object run, pybind11::object nonsense)
      : prefix_(std::move(prefix)), run_(std::move(run)), nonsense_(std::move(nonsense)) {}

  [[nodiscard]] std::variant<Taken, Denied> Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                                 UnixTime now) override;
  [[nodiscard]] bool Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                             std::span<const Release> releases) override;
  void GiveBack(const Release& release, UnixTime now) override;

 private:
  [[noreturn]] void Nonsense() const;

  std::string prefix_;
  pybind11::object run_;
  pybind11::object nonsense_;
};

}  // namespace otp_actions::bindings

#endif  // OTP_ACTIONS_BINDINGS_SCRIPT_LEDGER_H_
