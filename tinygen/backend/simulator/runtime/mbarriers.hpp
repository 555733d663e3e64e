// mbarriers.hpp: what bulk copies need of mbarriers.
#pragma once
#include "state.hpp"

namespace sim {

constexpr uint32_t async_agents = 64;  // beyond so many mbarriers two share one, and a race may be missed

// Who writes a bulk copy's bytes, for the vectors: the mbarrier's agent, in its phase.
struct Transfer {
  uint32_t agent;
  Clock clock;
};
Transfer begin_transfer(uint64_t* barrier, Place place);
void complete_bytes(uint64_t* barrier, size_t bytes);

}  // namespace sim
