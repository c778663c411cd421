#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "freed_memory.h"
#include "otp_actions/random.h"

namespace otp_actions {
namespace {

using Id = std::array<std::uint8_t, kIdSize>;

// Shared is memory that forked children write and their parent reads.
class Shared {
 public:
  explicit Shared(std::size_t ids) : ids_(ids) {
    void* const memory = mmap(nullptr, ids * sizeof(Id), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<Id*>(memory);
  }
  ~Shared() { munmap(memory_, ids_ * sizeof(Id)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  [[nodiscard]] std::span<Id> ids() { return {memory_, ids_}; }

 private:
  Id* memory_ = nullptr;
  std::size_t ids_;
};

void DrawAll(std::span<Id> out) {
  for (Id& id : out) RandomBytes(id);
}

// ForkAndDraw forks a child that fills `out` and exits.
pid_t ForkAndDraw(std::span<Id> out) {
  const pid_t child = fork();
  if (child != 0) return child;
  alarm(60);
  DrawAll(out);
  _exit(0);
}

bool EndedWell(pid_t child) {
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::size_t Duplicates(std::span<Id> ids) {
  const auto less = [](const Id& a, const Id& b) { return std::memcmp(a.data(), b.data(), a.size()) < 0; };
  std::sort(ids.begin(), ids.end(), less);
  std::size_t duplicates = 0;
  for (std::size_t i = 1; i < ids.size(); ++i) duplicates += ids[i] == ids[i - 1];
  return duplicates;
}

std::string CodeText(int length, std::vector<std::uint64_t> draws, std::size_t expected_draws) {
  std::size_t used = 0;
  const SecretBytes code = CodeFromDraws(length, [&] { return draws.at(used++); });
  EXPECT_EQ(used, expected_draws);
  return std::string(code.text());
}

// Stocks is what lies in the mappings that a fork wipes: the stocks of all threads. Empty if the system does not show
// them, or has no such mappings.
std::string Stocks() {
  std::string stocks;
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  const char* begin = nullptr;
  const char* end = nullptr;
  while (std::getline(maps, line)) {
    unsigned long from = 0;
    unsigned long to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      begin = reinterpret_cast<const char*>(from);
      end = reinterpret_cast<const char*>(to);
    } else if (line.starts_with("VmFlags:") && line.find(" wf") != std::string::npos) {
      stocks.append(begin, end);
    }
  }
  return stocks;
}

TEST(RandomBytesTest, FillsEveryByteAndNoOther) {
  // Sizes around those of the per-thread stock, and beyond it.
  for (const std::size_t size : {1U, 8U, 15U, 16U, 17U, 255U, 256U, 257U, 2047U, 2048U, 2049U, 10'000U}) {
    std::vector<std::uint8_t> seen(size);
    for (int round = 0; round < 16; ++round) {
      std::vector<std::uint8_t> out(size + 2);
      RandomBytes(std::span(out).subspan(1, size));
      ASSERT_EQ(out.front(), 0);
      ASSERT_EQ(out.back(), 0);
      for (std::size_t i = 0; i < size; ++i) seen[i] |= out[i + 1];
    }
    // A byte that is drawn is zero sixteen times in a row once in 2^128.
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 0), 0) << size;
  }
}

TEST(RandomBytesTest, AcceptsNothing) { RandomBytes({}); }

TEST(RandomBytesTest, NeverRepeats) {
  // Draws of odd sizes in between move the stock's end to every place.
  std::vector<Id> ids(20'000);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    RandomBytes(ids[i]);
    std::array<std::uint8_t, 300> other;
    RandomBytes(std::span(other).first(i % other.size()));
  }
  EXPECT_EQ(Duplicates(ids), 0U);
}

TEST(RandomBytesTest, ThreadsDrawDistinctBytes) {
  constexpr std::size_t kThreads = 16;
  constexpr std::size_t kDraws = 1000;
  std::vector<Id> ids(kThreads * kDraws);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([out = std::span(ids).subspan(i * kDraws, kDraws)] { DrawAll(out); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Duplicates(ids), 0U);
}

TEST(RandomBytesTest, WipesWhatItHandsOutFromItsStock) {
  std::thread([] {  // Its stock is new, and not at its end.
    std::array<Id, 2> ids;
    RandomBytes(ids[0]);
    const std::string before = Stocks();
    if (before.empty()) GTEST_SKIP() << "the system does not show the stock";
    RandomBytes(ids[1]);
    const std::string after = Stocks();
    EXPECT_EQ(before.find(AsText(ids[0])), std::string::npos);
    EXPECT_NE(before.find(AsText(ids[1])), std::string::npos) << "this is the stock";
    EXPECT_EQ(after.find(AsText(ids[1])), std::string::npos);
  })
      .join();
}

TEST(RandomBytesTest, WipesItsStockBeforeItIsGivenBack) {
  SKIP_UNLESS_DELETE_CAN_BE_WATCHED();
  testing::Search search;
  std::string stocks;  // Given back after the search.
  std::thread([&] {
    Id id;
    RandomBytes(id);
    stocks = Stocks();
    if (stocks.empty()) GTEST_SKIP() << "the system does not show the stock";
    RandomBytes(id);
    const std::size_t next = stocks.find(AsText(id)) + id.size();
    ASSERT_GT(next, id.size());
    search.Add("what was not handed out", std::string_view(stocks).substr(next, 64));
  }).join();
  EXPECT_EQ(testing::Search::found(), "");
}

TEST(RandomForkTest, NextDrawOfChildAndParentDiffer) {
  // The plainest case first: the parent has a stock of which both would take the next 16 bytes.
  Shared shared(3);
  DrawAll(shared.ids().first(1));
  const pid_t child = ForkAndDraw(shared.ids().subspan(1, 1));
  DrawAll(shared.ids().subspan(2, 1));
  ASSERT_TRUE(EndedWell(child));
  EXPECT_EQ(Duplicates(shared.ids()), 0U);
}

TEST(RandomForkTest, GrandchildDiffersToo) {
  Shared shared(4);
  DrawAll(shared.ids().first(1));
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    DrawAll(shared.ids().subspan(1, 1));
    const bool ended_well = EndedWell(ForkAndDraw(shared.ids().subspan(2, 1)));
    _exit(ended_well ? 0 : 1);
  }
  DrawAll(shared.ids().subspan(3, 1));
  ASSERT_TRUE(EndedWell(child));
  EXPECT_EQ(Duplicates(shared.ids()), 0U);
}

TEST(RandomForkTest, ChildOfAnotherThreadDiffersToo) {
  Shared shared(3);
  pid_t child = 0;
  std::thread([&] {
    DrawAll(shared.ids().first(1));
    child = ForkAndDraw(shared.ids().subspan(1, 1));
    DrawAll(shared.ids().subspan(2, 1));
  }).join();
  ASSERT_TRUE(EndedWell(child));
  EXPECT_EQ(Duplicates(shared.ids()), 0U);
}

TEST(RandomForkTest, SixtyFourChildrenNeverRepeatAnId) {
  constexpr std::size_t kChildren = 64;
  constexpr std::size_t kIds = 10'000;       // Of each child.
  constexpr std::size_t kIdsBetween = 1000;  // Of the parent, for each child.
  constexpr std::size_t kIdsEach = kIds + kIdsBetween;
  Shared shared(kIds + kChildren * kIdsEach);
  std::array<pid_t, kChildren> children;
  DrawAll(shared.ids().first(kIds));
  const auto of_parent = [&](std::size_t i) { return shared.ids().subspan(kIds + i * kIdsEach, kIdsBetween); };
  const auto of_child = [&](std::size_t i) { return shared.ids().subspan(kIds + i * kIdsEach + kIdsBetween, kIds); };
  for (std::size_t i = 0; i < kChildren; ++i) {
    // The parent draws a little between forks, so each child finds the stock at another place.
    DrawAll(of_parent(i).first(i + 1));
    children[i] = ForkAndDraw(of_child(i));
  }
  for (std::size_t i = 0; i < kChildren; ++i) {
    ASSERT_TRUE(EndedWell(children[i])) << i;
    DrawAll(of_parent(i).subspan(i + 1));
  }
  EXPECT_EQ(Duplicates(shared.ids()), 0U);
}

TEST(RandomCodeTest, HasTheLengthAskedForAndDigitsOnly) {
  for (int length = kMinCodeLength; length <= kMaxCodeLength; ++length) {
    for (int i = 0; i < 200; ++i) {
      const SecretBytes code = RandomCode(length);
      ASSERT_EQ(code.size(), static_cast<std::size_t>(length));
      ASSERT_TRUE(std::all_of(code.text().begin(), code.text().end(), [](char c) { return c >= '0' && c <= '9'; }));
    }
  }
}

TEST(RandomCodeTest, EveryDigitAppearsInEveryPlace) {
  // A digit is missing from 2000 fair draws of a place once in 10^91.
  std::array<std::set<char>, 6> seen;
  for (int i = 0; i < 2000; ++i) {
    const SecretBytes code = RandomCode(6);
    for (std::size_t place = 0; place < seen.size(); ++place) seen[place].insert(code.text()[place]);
  }
  for (const std::set<char>& digits : seen) EXPECT_EQ(digits.size(), 10U);
}

TEST(RandomCodeTest, RejectsLengthsOutOfRange) {
  for (const int length : {INT_MIN, -1, 0, 1, kMinCodeLength - 1, kMaxCodeLength + 1, 19, 20, 64, INT_MAX}) {
    EXPECT_THROW((void)RandomCode(length), std::invalid_argument) << length;
    EXPECT_THROW((void)CodeFromDraws(length, [] { return std::uint64_t{0}; }), std::invalid_argument) << length;
  }
}

TEST(CodeFromDrawsTest, KeepsLeadingZeros) {
  EXPECT_EQ(CodeText(4, {0}, 1), "0000");
  EXPECT_EQ(CodeText(6, {7}, 1), "000007");
  EXPECT_EQ(CodeText(12, {1'000'000'000'042}, 1), "000000000042");
  EXPECT_EQ(CodeText(6, {123'456}, 1), "123456");
}

TEST(CodeFromDrawsTest, RejectsExactlyTheIncompleteBlock) {
  std::uint64_t codes = 1000;
  for (int length = kMinCodeLength; length <= kMaxCodeLength; ++length) {
    codes *= 10;
    SCOPED_TRACE(length);
    // The number of whole blocks, counted without 2^64 itself; no power of ten above 1 divides 2^64, so the last block
    // is never whole and UINT64_MAX is never in a whole one.
    const std::uint64_t blocks = UINT64_MAX / codes;
    const std::uint64_t first_rejected = blocks * codes;
    ASSERT_NE(UINT64_MAX % codes, codes - 1);
    const auto digits = static_cast<std::size_t>(length);
    EXPECT_EQ(CodeText(length, {first_rejected - 1}, 1), std::string(digits, '9'));
    EXPECT_EQ(CodeText(length, {first_rejected - codes}, 1), std::string(digits, '0'));
    EXPECT_EQ(CodeText(length, {first_rejected, 5}, 2), std::string(digits - 1, '0') + "5");
    EXPECT_EQ(CodeText(length, {UINT64_MAX, 5}, 2), std::string(digits - 1, '0') + "5");
    EXPECT_EQ(CodeText(length, {UINT64_MAX, first_rejected, first_rejected + 1, 5}, 4),
              std::string(digits - 1, '0') + "5");
  }
}

}  // namespace
}  // namespace otp_actions
