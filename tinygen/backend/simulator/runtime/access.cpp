// access.cpp: everything that is asked of one load, store or atomic operation; and the fences.
#include <string>
#include <unordered_map>

#include "access.hpp"
#include "counters.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "state.hpp"

namespace sim {

namespace {

// What the atomic operations on one address have told: knowledge that was released by a device_fence before them.
struct Told {
  uint32_t block;  // `knowledge.own` is about the threads of this block
  Knowledge knowledge;
};
std::unordered_map<Address, Told> told;

void tell_and_observe(Address a) {
  Thread& me = *rt.me;
  if (!me.released.own && !me.released.foreign && told.empty()) return;
  Told& here = told[a];
  if (here.block != rt.block_number) {
    here.block = rt.block_number;
    here.knowledge.own = nullptr;
  }
  me.observed.join(here.knowledge);
  here.knowledge.join(me.released);
}

[[noreturn]] void out_of_bounds(Address a, size_t n, Access kind, Place place) {
  if (a < 1 << 20) stop("null-pointer", "access through a null pointer, at byte " + std::to_string(a), place);
  const char* verb = kind == Access::read ? "read" : kind == Access::write ? "write" : "atomic operation";
  stop("out-of-bounds", std::string(verb) + " of " + std::to_string(n) + " bytes at " + memory.describe(a), place);
}

bool is_hidden(Address a) {
  for (Address hidden : memory.hidden) {
    if (a - hidden < 8) return true;
  }
  return false;
}

}  // namespace

void clear_told() { told.clear(); }

void check_bounds(Address a, size_t n, Access kind, Place place) {
  if (memory.in_dynamic(a)) {
    if (n > memory.dynamic_begin + memory.dynamic_bytes - a) out_of_bounds(a, n, kind, place);
  } else {
    const SharedArray* array = memory.array_at(a);
    if (!array || n > array->end - a) out_of_bounds(a, n, kind, place);
  }
}

bool check_access(Address a, size_t n, Access kind, Place place) {
  if (n == 0 || a - Address(rt.me->stack) < stack_bytes) return false;  // a thread's own memory
  if ((n == 2 || n == 4 || n == 8 || n == 16) && a % n) {
    note("misaligned", "access of " + std::to_string(n) + " bytes at " + memory.describe(a) +
         ", which is not a multiple of " + std::to_string(n), place);
  }
  if (memory.in_shared(a)) {
    if (memory.in_static(a) && is_hidden(a)) return false;
    check_bounds(a, n, kind, place);
    check_shared(a, n, kind, place);
  } else if (Buffer* buffer = memory.buffer_at(a)) {
    if (n > buffer->end - a) out_of_bounds(a, n, kind, place);
    if (kind != Access::read && buffer->read_only) {
      stop("write-to-const", "write to " + memory.describe(a) + ", which is a constant input", place);
    }
    check_global(*buffer, a, n, kind, place);
  } else if (a - memory.image_begin < memory.image_end - memory.image_begin) {
    if (kind != Access::read) stop("write-to-const", "write to data of the module that is not __shared__", place);
    return false;
  } else {
    out_of_bounds(a, n, kind, place);
  }
  if (kind == Access::atomic) tell_and_observe(a);
  return true;
}

bool access(Address a, size_t n, Access kind, Place place) {
  if (!check_access(a, n, kind, place)) return false;
  count_access(place, memory.in_shared(a) ? Space::shared : Space::global, kind, a, n);
  return true;
}

void maybe_preempt() {
  if (rt.preempt && rt.random.below(1000) < rt.preempt) suspend();
}

void touch(const void* pointer, size_t bytes, Access kind) {
  if (!rt.checking) return;
  if (access(Address(pointer), bytes, kind, rt.place ? rt.place : SIM_CALLER) && !rt.place) maybe_preempt();
}

void touch_async_proxy(const void* pointer, size_t bytes, Access kind) {
  if (!rt.checking) return;
  const Place place = rt.place ? rt.place : SIM_CALLER;
  if (!check_access(Address(pointer), bytes, kind, place)) return;
  if (!memory.in_shared(Address(pointer))) return count_bulk(place, Space::global, kind, bytes);
  count_bulk(place, Space::shared, kind, bytes);
  check_proxy(Address(pointer), bytes, place);
}

void device_fence() {
  if (!rt.checking) return;
  Thread& me = *rt.me;
  me.known.join(me.observed);
  me.observed = {};
  const Release mine{rt.block_number, rt.epoch, me.self.thread, me.clock, me.known.own};
  Releases released = std::make_shared<const std::vector<Release>>(1, mine);
  me.released = now();
  me.released.join({nullptr, released});
}

void fence_async_proxy() {
  if (!rt.checking) return;
  rt.me->proxy_fence = {rt.epoch, rt.me->clock, rt.me->known.own};
  tick();
}

}  // namespace sim
