// counters.hpp: how often, and how well, a kernel uses memory; by instruction.
//
// The hardware serves a warp's 32 lanes together. Global memory: in sectors of 32 bytes; a request is as good as it
// can be if the sectors hold nothing but what was asked for. Shared memory: 32 banks of 4 bytes; a request takes as
// many passes as the busiest bank has distinct words (lanes of 8 and 16 bytes are served by halves and quarters).
// Lanes run apart here, so the k-th execution of an instruction by each lane since the last synchronisation counts
// as one request of the warp.
#pragma once
#include <cstddef>
#include <string>

#include "abi.hpp"
#include "memory.hpp"
#include "state.hpp"

namespace sim {

struct Counts {
  uint64_t accesses = 0;      // of single threads
  uint64_t bytes = 0;
  uint64_t requests = 0;      // of warps
  uint64_t transactions = 0;  // sectors or passes
  uint64_t ideal = 0;         // the fewest that could serve these requests
};

void count_access(Place place, Space space, Access kind, Address a, size_t n);
// A bulk copy, or the reads of a tensor core: as few transactions as its bytes need, and no request of a warp.
void count_bulk(Place place, Space space, Access kind, size_t n);
void end_requests();               // lanes that have not come will not: at a block barrier, at the block's end
void end_requests(uint32_t warp);

void count_barrier(const char* name, Place place);
void count_collective();
void count_switch();

void clear_counters();
// One line for each instruction: place, "shared" or "global", kind, then the fields of Counts, apart by tabs; and for
// each barrier: place, name, times.
std::string counters_text();

}  // namespace sim
