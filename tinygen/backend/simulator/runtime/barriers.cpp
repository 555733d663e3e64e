// barriers.cpp: __syncthreads and named barriers.
#include <array>
#include <cstring>
#include <string>

#include "counters.hpp"
#include "shadow.hpp"
#include "state.hpp"

namespace sim {

namespace {

struct NamedBarrier {
  int expected = 0;  // threads; 0: nobody has come yet
  int arrived = 0;
  Knowledge joined;
};
std::array<NamedBarrier, 16> named_barriers;

bool same_line(const Wait& a, const Wait& b) { return a.line == b.line && !strcmp(a.file, b.file); }

void check_meeting() {
  const Thread* first = nullptr;
  for (size_t i = 0; i < rt.count; i++) {
    const Thread& thread = rt.threads[i];
    if (thread.status != Status::block_barrier) continue;
    if (!first) first = &thread;
    if (same_line(first->wait, thread.wait)) continue;
    Thread* me = std::exchange(rt.me, &rt.threads[i]);
    note("divergent-barrier",
         "waits in another " + std::string(thread.wait.name) + " than " + name_of(first->self.thread) +
             ", which is at " + token(first->wait.place) + "; all threads of a block must meet at one",
         thread.wait.place, first->wait.place);
    rt.me = me;
    break;
  }
  if (rt.alive < rt.count && first) {
    Thread* me = std::exchange(rt.me, &rt.threads[first->self.thread]);
    note("barrier-after-exit",
         std::to_string(rt.count - rt.alive) + " threads of the block returned before this " + first->wait.name +
             "; every thread of a block must reach it",
         first->wait.place);
    rt.me = me;
  }
}

NamedBarrier& join_named(int id, int threads, const char* name, Place place) {
  if (id < 1 || id > 15) {
    stop("named-barrier", std::string(name) + ": id " + std::to_string(id) + " is not in 1..15 (0 is __syncthreads)",
         place);
  }
  if (threads < 32 || threads % 32 || size_t(threads) > (rt.count + 31) / 32 * 32) {
    stop("named-barrier",
         std::string(name) + ": " + std::to_string(threads) +
             " threads; it must be a multiple of 32 and no more than the block has",
         place);
  }
  NamedBarrier& barrier = named_barriers[id];
  if (barrier.arrived && barrier.expected != threads) {
    stop("named-barrier",
         std::string(name) + ": barrier " + std::to_string(id) + " of " + std::to_string(threads) +
             " threads, but the threads that wait there expect " + std::to_string(barrier.expected),
         place);
  }
  barrier.expected = threads;
  barrier.arrived++;
  if (rt.checking) barrier.joined.join(now());
  return barrier;
}

// If all have come: lets those go that wait, tells them what the others did, and starts afresh.
bool complete_named(int id, NamedBarrier& barrier) {
  if (barrier.arrived < barrier.expected) return false;
  for (size_t i = 0; i < rt.count; i++) {
    Thread& thread = rt.threads[i];
    if (thread.status != Status::named_barrier || thread.wait.id != id) continue;
    thread.known.join(barrier.joined);
    thread.status = Status::ready;
  }
  return true;
}

}  // namespace

void clear_barriers() { named_barriers.fill({}); }

void synchronise() {
  rt.epoch++;
  forget_accesses();
  end_requests();
  Knowledge all;
  bool any = false;  // mostly there is nothing that the barrier itself does not say
  for (size_t i = 0; i < rt.count; i++) {
    Thread& thread = rt.threads[i];
    thread.clock++;
    any = any || thread.known.own || thread.known.foreign;
    if (thread.known.foreign) all.join({nullptr, thread.known.foreign});
  }
  if (!any) return;
  for (size_t i = 0; i < rt.count; i++) rt.threads[i].known = all;
}

void release_block_barrier() {
  check_meeting();
  int votes = 0, voters = 0;
  Place place = nullptr;
  for (size_t i = 0; i < rt.count; i++) {
    const Thread& thread = rt.threads[i];
    if (thread.status != Status::block_barrier) continue;
    voters++;
    votes += thread.wait.predicate != 0;
    place = thread.wait.place;
  }
  count_barrier("__syncthreads", place);
  if (rt.checking) synchronise();
  for (size_t i = 0; i < rt.count; i++) {
    Thread& thread = rt.threads[i];
    if (thread.status != Status::block_barrier) continue;
    thread.wait.predicate = thread.wait.vote == Vote::count ? votes
                            : thread.wait.vote == Vote::all ? votes == voters
                                                            : votes > 0;
    thread.status = Status::ready;
  }
  rt.at_barrier = 0;
}

int block_barrier(Vote vote, int predicate, const char* file, int line) {
  Wait& wait = rt.me->wait;
  wait = {};
  wait.name = vote == Vote::none    ? "__syncthreads()"
              : vote == Vote::count ? "__syncthreads_count()"
              : vote == Vote::all   ? "__syncthreads_and()"
                                    : "__syncthreads_or()";
  wait.place = SIM_CALLER;
  wait.file = file;
  wait.line = line;
  wait.vote = vote;
  wait.predicate = predicate;
  rt.me->status = Status::block_barrier;
  if (++rt.at_barrier == rt.alive) release_block_barrier();
  suspend();
  return wait.predicate;
}

void named_barrier_sync(int id, int threads) {
  NamedBarrier& barrier = join_named(id, threads, "named_barrier_sync", SIM_CALLER);
  rt.me->wait = {};
  rt.me->wait.name = "named_barrier_sync";
  rt.me->wait.place = SIM_CALLER;
  rt.me->wait.id = id;
  rt.me->status = Status::named_barrier;
  if (complete_named(id, barrier)) {
    count_barrier("named barrier", SIM_CALLER);
    barrier = {};
  }
  suspend();
}

void named_barrier_arrive(int id, int threads) {
  NamedBarrier& barrier = join_named(id, threads, "named_barrier_arrive", SIM_CALLER);
  if (complete_named(id, barrier)) {
    count_barrier("named barrier", SIM_CALLER);
    barrier = {};
  }
}

}  // namespace sim
