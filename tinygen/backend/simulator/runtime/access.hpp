// access.hpp: one load, store or atomic operation of the running thread, in the checking build.
#pragma once
#include "state.hpp"

namespace sim {
bool access(Address a, size_t n, Access kind, Place place);  // counts it too; whether others can see it
bool check_access(Address a, size_t n, Access kind, Place place);
void check_bounds(Address a, size_t n, Access kind, Place place);  // of shared memory
void maybe_preempt();  // with schedule "random", sometimes, lets others run
void clear_told();
}  // namespace sim
