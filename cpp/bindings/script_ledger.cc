#include "script_ledger.h"

#include <algorithm>
#include <array>
#include <bit>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace otp_actions::bindings {
namespace {

namespace py = pybind11;

constexpr int kTake = 0;
constexpr int kAdvance = 1;
constexpr int kGiveBack = 2;

void AppendWord(std::string_view word, std::string& out) {
  out += '$';
  out += std::to_string(word.size());
  out += "\r\n";
  out += word;
  out += "\r\n";
}

// Command collects the keys and numbers of a call.
class Command {
 public:
  explicit Command(UnixTime now) { Add(now); }

  // IndexOf returns the place of `key` among the keys, from 1 on as Lua counts; each is named once.
  std::int64_t IndexOf(const LedgerKey& key) {
    auto* const end = keys_.begin() + static_cast<std::ptrdiff_t>(size_);
    auto* const found = std::find(keys_.begin(), end, key);
    if (found == end) {
      if (size_ == keys_.size()) throw std::invalid_argument("too many keys for one operation");
      keys_[size_++] = key;
    }
    return found - keys_.begin() + 1;
  }

  void Add(std::int64_t number) {
    const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(number));
    for (int shift = 56; shift >= 0; shift -= 8) numbers_ += static_cast<char>(bits >> shift);
  }
  void Add(const LedgerKey& key, std::int64_t first) {
    Add(IndexOf(key));
    Add(first);
  }
  void Add(const LedgerKey& key, std::int64_t first, std::int64_t second) {
    Add(key, first);
    Add(second);
  }

  [[nodiscard]] py::object Run(const py::object& run, int script, std::string_view prefix) const {
    std::string tail;
    tail.reserve(64 + size_ * 32 + numbers_.size());
    AppendWord(std::to_string(size_), tail);
    for (std::size_t i = 0; i < size_; ++i) {
      std::string key(prefix);
      key += static_cast<char>(keys_[i].kind);
      key.append(reinterpret_cast<const char*>(keys_[i].id.data()), keys_[i].id.size());
      AppendWord(key, tail);
    }
    AppendWord(numbers_, tail);
    return run(script, size_ + 2, py::bytes(tail));
  }

 private:
  std::array<LedgerKey, 16> keys_{};
  std::size_t size_ = 0;
  std::string numbers_;
};

// Integers returns the numbers of a reply that is a list of nothing else; else none.
std::vector<std::int64_t> Integers(py::handle reply) {
  std::vector<std::int64_t> numbers;
  if (!PyList_Check(reply.ptr())) return numbers;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(reply.ptr()); ++i) {
    PyObject* const item = PyList_GET_ITEM(reply.ptr(), i);
    int overflow = 0;
    const std::int64_t number = PyLong_CheckExact(item) ? PyLong_AsLongLongAndOverflow(item, &overflow) : -1;
    if (!PyLong_CheckExact(item) || overflow != 0) return {};
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace

void ScriptLedger::Nonsense() const {
  nonsense_();
  throw py::type_error("nonsense() must raise");
}

std::variant<Taken, Denied> ScriptLedger::Take(std::span<const Claim> claims, std::span<const Barrier> barriers,
                                               UnixTime now) {
  Command command(now);
  command.Add(static_cast<std::int64_t>(barriers.size()));
  for (const Barrier& barrier : barriers) command.Add(barrier.mark, barrier.above);
  for (const Claim& claim : claims) command.Add(claim.bucket, claim.limit, claim.ttl);
  const std::vector<std::int64_t> reply = Integers(command.Run(run_, kTake, prefix_));
  if (reply.size() == 1 + claims.size() && reply[0] == 0) {
    Taken taken;
    taken.counts.assign(reply.begin() + 1, reply.end());
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (taken.counts[i] < 1 || taken.counts[i] > claims[i].limit) Nonsense();
    }
    return taken;
  }
  const auto obstacles = static_cast<std::int64_t>(barriers.size() + claims.size());
  if (reply.size() != 2 || reply[0] < 1 || reply[0] > obstacles || reply[1] < 0) Nonsense();
  return Denied{static_cast<std::size_t>(reply[0] - 1), reply[1]};
}

bool ScriptLedger::Advance(const LedgerKey& mark, std::int64_t value, std::int64_t ttl, UnixTime now,
                           std::span<const Release> releases) {
  Command command(now);
  (void)command.IndexOf(mark);
  command.Add(value);
  command.Add(ttl);
  for (const Release& release : releases) command.Add(release.claim.bucket, release.claim.limit, release.units);
  const py::object reply = command.Run(run_, kAdvance, prefix_);
  const std::int64_t moved = PyLong_CheckExact(reply.ptr()) ? PyLong_AsLongLong(reply.ptr()) : -1;
  if (moved == -1) PyErr_Clear();
  if (moved != 0 && moved != 1) Nonsense();
  return moved == 1;
}

void ScriptLedger::GiveBack(const Release& release, UnixTime now) {
  Command command(now);
  command.Add(release.claim.bucket, release.claim.limit, release.units);
  (void)command.Run(run_, kGiveBack, prefix_);
}

}  // namespace otp_actions::bindings
