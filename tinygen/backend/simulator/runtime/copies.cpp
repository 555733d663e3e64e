// copies.cpp: cp.async, copies of 4, 8 or 16 bytes from global to shared memory that a thread waits for by groups.
#include <cstring>

#include "access.hpp"
#include "counters.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "state.hpp"

namespace sim {

namespace {

void carry_out(const AsyncCopy& copy) {
  memcpy(copy.shared, copy.global, copy.valid);
  memset(static_cast<char*>(copy.shared) + copy.valid, 0, copy.bytes - copy.valid);
}

bool copies_at_once() {  // the two extremes of what the ISA allows
  return rt.schedule == Schedule::reverse || (rt.schedule == Schedule::random && rt.random.below(2));
}

}  // namespace

void copy_async(void* shared, const void* global, uint32_t bytes, uint32_t valid) {
  const Place place = SIM_CALLER;
  if (rt.checking) {
    if (!memory.in_shared(Address(shared))) {
      stop("out-of-bounds", "copy_async to " + memory.describe(Address(shared)) + ", which is not shared memory",
           place);
    }
    if (Address(shared) % bytes || (valid && Address(global) % bytes)) {
      note("misaligned",
           "copy_async of " + std::to_string(bytes) + " bytes between addresses that are not multiples of it", place);
    }
    if (valid) access(Address(global), valid, Access::read, place);
    check_bounds(Address(shared), bytes, Access::write, place);
    count_access(place, Space::shared, Access::write, Address(shared), bytes);
    begin_arrival(Address(shared), bytes, place);
  }
  const AsyncCopy copy{shared, global, bytes, valid};
  if (copies_at_once()) {
    carry_out(copy);
    rt.me->copies.open.push_back({shared, shared, bytes, bytes});
  } else {
    memset(shared, 0xFF, bytes);
    rt.me->copies.open.push_back(copy);
  }
}

void copy_async_commit() { rt.me->copies.commit(); }

void copy_async_wait(int pending) {
  auto& groups = rt.me->copies.closed;
  const size_t done = groups.size() > size_t(pending) ? groups.size() - size_t(pending) : 0;
  for (size_t i = 0; i < done; i++) {
    for (const AsyncCopy& copy : groups[i]) {
      if (copy.global != copy.shared) carry_out(copy);
      if (rt.checking) {
        end_arrival(Address(copy.shared), copy.bytes, actor(), SIM_CALLER);
      }
    }
  }
  groups.erase(groups.begin(), groups.begin() + long(done));
}

}  // namespace sim
