// scheduler.cpp: runs the blocks of a launch one after another, and the threads of a block by turns.
#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "counters.hpp"
#include "mbarriers.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "state.hpp"

namespace sim {

// The kernel reads these as constants: within one thread they are. (The declarations are in abi.hpp, language.hpp.)
#pragma GCC visibility push(default)
Self self_now asm("_ZN3sim4selfE");
Index3 thread_index asm("threadIdx");
Index3 block_index asm("blockIdx");
Index3 block_size asm("blockDim");
Index3 grid_size asm("gridDim");
#pragma GCC visibility pop

namespace {

std::vector<uint32_t> turns;  // threads, in the order in which they get theirs

void fiber_main() {
  rt.accounting = true;
  rt.body(rt.arguments);
  rt.accounting = false;
  finish_stores();
  drop_unfinished_products();
  rt.me->status = Status::done;
  rt.alive--;
  suspend();
  __builtin_unreachable();
}

void resume(Thread& thread) {
  rt.me = &thread;
  self_now = thread.self;
  thread_index = thread.index;
  sim_switch(&rt.scheduler, thread.stack_pointer);
}

// A thread has returned: others may have waited for it alone.
void after_exit(const Thread& gone) {
  if (rt.alive == 0) return;
  if (rt.at_barrier == rt.alive) return release_block_barrier();
  leave_warp(gone);
}

std::string what_it_waits_for(const Thread& thread) {
  const Wait& wait = thread.wait;
  char mask[32];
  switch (thread.status) {
    case Status::warp:
      snprintf(mask, sizeof mask, " with mask 0x%08x", wait.mask);
      return wait.name + std::string(mask);
    case Status::named_barrier:
      return "named barrier " + std::to_string(wait.id);
    case Status::mbarrier:
      return "the mbarrier " + describe_mbarrier(wait.barrier) + " with parity " + std::to_string(wait.parity);
    default:
      return wait.name;
  }
}

void report_deadlock() {
  struct Crowd {
    uint32_t first;
    int threads;
  };
  std::map<std::pair<Place, std::string>, Crowd> crowds;
  for (uint32_t i = 0; i < rt.count; i++) {
    const Thread& thread = rt.threads[i];
    if (thread.status == Status::done) continue;
    crowds.try_emplace({thread.wait.place, what_it_waits_for(thread)}, Crowd{i, 0}).first->second.threads++;
  }
  std::string message = "no thread can go on:";
  const char* before = " ";
  for (const auto& [where, crowd] : crowds) {
    message += before + std::to_string(crowd.threads) + (crowd.threads == 1 ? " thread (" : " threads (from ") +
               name_of(crowd.first) + ") in " + where.second + " at " + token(where.first);
    before = ", ";
  }
  if (rt.alive < rt.count) message += ", and " + std::to_string(rt.count - rt.alive) + " have returned";
  const auto smallest = std::min_element(crowds.begin(), crowds.end(), [](const auto& a, const auto& b) {
    return a.second.threads < b.second.threads;
  });
  rt.me = &rt.threads[smallest->second.first];
  note("deadlock", message, smallest->first.first);
}

void begin_block() {
  rt.epoch++;
  rt.block_number++;
  rt.alive = static_cast<uint32_t>(rt.count);
  rt.at_barrier = 0;
  rt.aborted = false;
  block_index = rt.block;
  clear_barriers();
  begin_warps();
  clear_mbarriers();
  clear_transfers();
  clear_products();
  poison_shared();
  for (uint32_t i = 0; i < rt.count; i++) {
    Thread& thread = rt.threads[i];
    thread.self = {i, i / 32, i % 32};
    thread.index = {i % block_size.x, i / block_size.x % block_size.y, i / (block_size.x * block_size.y)};
    thread.stack = stack_number(i);
    thread.stack_pointer = new_fiber(thread.stack, fiber_main);
    thread.status = Status::ready;
    thread.clock = 1;
    thread.known = thread.released = thread.observed = {};
    thread.proxy_fence = {};
    thread.copies.clear();
    thread.stores.clear();
  }
}

void run_block() {
  begin_block();
  while (rt.alive) {
    if (rt.schedule == Schedule::random) {
      for (size_t i = turns.size() - 1; i > 0; i--) std::swap(turns[i], turns[rt.random.below(uint32_t(i) + 1)]);
    }
    bool ran = false;
    for (uint32_t i : turns) {
      Thread& thread = rt.threads[i];
      if (thread.status != Status::ready) continue;
      ran = true;
      resume(thread);
      if (rt.aborted) return;
      if (thread.status == Status::done) after_exit(thread);
    }
    if (!advance_transfers(!ran) && !ran) return report_deadlock();
  }
  if (!rt.checking) return;
  check_loads();
  end_requests();
}

}  // namespace

void suspend() {
  const bool accounting = std::exchange(rt.accounting, false);
  Thread& thread = *rt.me;
  count_switch();
  sim_switch(&thread.stack_pointer, rt.scheduler);
  rt.accounting = accounting;
}

void abort_block() {
  rt.aborted = true;
  rt.accounting = false;
  rt.actor = {};
  rt.place = nullptr;
  sim_switch(&rt.me->stack_pointer, rt.scheduler);
  __builtin_unreachable();
}

void run_launch() {
  turns.resize(rt.count);
  std::iota(turns.begin(), turns.end(), 0);
  if (rt.schedule == Schedule::reverse) std::reverse(turns.begin(), turns.end());
  const uint64_t blocks = uint64_t(rt.grid.x) * rt.grid.y * rt.grid.z;
  std::vector<uint64_t> shuffled;
  if (rt.schedule == Schedule::random) {
    shuffled.resize(blocks);
    std::iota(shuffled.begin(), shuffled.end(), 0);
    for (uint64_t i = blocks; i-- > 1;) std::swap(shuffled[i], shuffled[rt.random.below(uint32_t(i) + 1)]);
  }
  rt.aborted = false;
  for (uint64_t n = 0; n < blocks && !rt.aborted; n++) {
    const uint64_t i = rt.schedule == Schedule::random    ? shuffled[n]
                       : rt.schedule == Schedule::reverse ? blocks - 1 - n
                                                          : n;
    rt.block = {uint32_t(i % rt.grid.x), uint32_t(i / rt.grid.x % rt.grid.y), uint32_t(i / rt.grid.x / rt.grid.y)};
    run_block();
  }
  rt.me = nullptr;
}

}  // namespace sim
