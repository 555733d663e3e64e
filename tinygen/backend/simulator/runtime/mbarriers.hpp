// mbarriers.hpp: what bulk copies need of mbarriers.
#pragma once
#include "state.hpp"

namespace sim {

// Who writes a bulk copy's bytes: the mbarrier's agent, in its phase.
Actor begin_transfer(uint64_t* barrier, Place place);
void check_loads();  // at the block's end: all have been waited for
void complete_bytes(uint64_t* barrier, size_t bytes);

}  // namespace sim
