// mbarriers.cpp: barriers in shared memory that count arrivals of threads and bytes of bulk copies.
#include <cstring>
#include <string>
#include <unordered_map>

#include "access.hpp"
#include "counters.hpp"
#include "memory.hpp"
#include "mbarriers.hpp"
#include "state.hpp"

namespace sim {

namespace {

struct Mbarrier {
  uint32_t expected = 0;   // arrivals in a phase
  uint32_t pending = 0;    // arrivals still to come in this one
  long bytes = 0;          // still to come in this one; below 0 if they came before they were announced
  uint32_t phase = 0;
  uint32_t agent = 0;      // stands for its bulk copies in the vectors
  bool fenced = false;     // initialisation is visible to bulk copies
  uint32_t initialiser = 0;
  uint32_t awaited = 0;    // phases whose end some thread has waited for
  uint32_t loaded = 0;     // phases up to the last that has bytes of bulk copies
  Place load = nullptr;    // the last of these copies
  Knowledge arriving;      // of all who arrived so far
  Knowledge complete;      // the same at the end of the last phase: what a wait teaches
};
std::unordered_map<const uint64_t*, Mbarrier> mbarriers;

Mbarrier& find(const uint64_t* barrier, Place place) {
  const auto found = mbarriers.find(barrier);
  if (found == mbarriers.end()) {
    stop("mbarrier", "no mbarrier was initialised at " + memory.describe(Address(barrier)), place);
  }
  return found->second;
}

void use(uint64_t* barrier, Place place) {
  if (rt.checking) access(Address(barrier), 8, Access::atomic, place);
}

void end_phase_if_complete(uint64_t* barrier, Mbarrier& m) {
  if (m.pending || m.bytes) return;
  m.phase++;
  m.pending = m.expected;
  m.complete = m.arriving;
  count_barrier("mbarrier", nullptr);
  for (size_t i = 0; i < rt.count; i++) {
    Thread& thread = rt.threads[i];
    const bool waits = thread.status == Status::mbarrier && thread.wait.barrier == barrier;
    if (!waits || (m.phase & 1) == (thread.wait.parity & 1)) continue;
    thread.known.join(m.complete);
    thread.status = Status::ready;
    m.awaited = m.phase;
  }
}

}  // namespace

void clear_mbarriers() { mbarriers.clear(); }

std::string describe_mbarrier(const uint64_t* barrier) {
  const Mbarrier& m = mbarriers.at(barrier);
  return "at " + memory.describe(Address(barrier)) + " (phase " + std::to_string(m.phase) + ", " +
         std::to_string(m.pending) + " arrivals and " + std::to_string(m.bytes) + " bytes to come)";
}

void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  if (arrivals < 1 || arrivals >= 1 << 20) {
    stop("mbarrier", "an mbarrier of " + std::to_string(arrivals) + " arrivals; 1 to 1048575 are possible", SIM_CALLER);
  }
  if (rt.checking) access(Address(barrier), 8, Access::write, SIM_CALLER);
  Mbarrier m;
  m.expected = m.pending = arrivals;
  m.agent = uint32_t(rt.count + mbarriers.size() % mbarrier_agents);
  m.initialiser = rt.me->self.thread;
  mbarriers[barrier] = m;
  *barrier = 0;
}

void mbarrier_init_fence() {
  for (auto& [address, m] : mbarriers) {
    if (m.initialiser == rt.me->self.thread) m.fenced = true;
  }
}

void mbarrier_arrive(uint64_t* barrier, uint32_t expected) {
  use(barrier, SIM_CALLER);
  Mbarrier& m = find(barrier, SIM_CALLER);
  if (m.pending == 0) {
    stop("mbarrier", "one arrival more than the " + std::to_string(m.expected) + " of a phase at the mbarrier " +
         describe_mbarrier(barrier), SIM_CALLER);
  }
  m.bytes += expected;
  m.pending--;
  if (rt.checking) m.arriving.join(now());
  end_phase_if_complete(barrier, m);
}

void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
  use(barrier, SIM_CALLER);
  Mbarrier& m = find(barrier, SIM_CALLER);
  if ((m.phase & 1) != (parity & 1)) {
    rt.me->known.join(m.complete);
    m.awaited = m.phase;
    return;
  }
  rt.me->wait = {};
  rt.me->wait.name = "an mbarrier";
  rt.me->wait.place = SIM_CALLER;
  rt.me->wait.barrier = barrier;
  rt.me->wait.parity = parity;
  rt.me->status = Status::mbarrier;
  suspend();
}

Actor begin_transfer(uint64_t* barrier, Place place) {
  use(barrier, place);
  Mbarrier& m = find(barrier, place);
  m.loaded = m.phase + 1;
  m.load = place;
  if (!m.fenced) {
    note("proxy-fence", "a bulk copy uses the mbarrier at " + memory.describe(Address(barrier)) +
         ", whose initialiser has not called barrier_init_fence", place);
  }
  return {m.agent, m.phase + 1};
}

void check_loads() {
  for (const auto& [address, m] : mbarriers) {
    if (m.loaded <= m.awaited) continue;
    note("unawaited-copy", "the block ended and nobody had waited for this copy's mbarrier", m.load);
  }
}

void complete_bytes(uint64_t* barrier, size_t bytes) {
  Mbarrier& m = mbarriers.at(barrier);
  m.bytes -= long(bytes);
  if (rt.checking) m.arriving.add(rt.clocks, m.agent, m.phase + 1);
  end_phase_if_complete(barrier, m);
}

}  // namespace sim
