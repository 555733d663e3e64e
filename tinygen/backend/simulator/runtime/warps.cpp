// warps.cpp: operations in which the lanes of a warp take part together.
#include <algorithm>
#include <string>

#include "counters.hpp"
#include "state.hpp"

namespace sim {

namespace {

void synchronise_lanes(uint32_t first, uint32_t lanes) {
  Knowledge all;
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (lanes >> lane & 1) all.join(rt.threads[first + lane].known);
  }
  auto vector = all.own ? std::vector<Clock>(*all.own) : std::vector<Clock>(rt.clocks, 0);
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (lanes >> lane & 1) vector[first + lane] = rt.threads[first + lane].clock++;
  }
  all.own = std::make_shared<const std::vector<Clock>>(std::move(vector));
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (lanes >> lane & 1) rt.threads[first + lane].known = all;
  }
}

void meet(const Wait& wait) {
  rt.me->wait = wait;
  rt.me->status = Status::warp;
  if (!(wait.mask >> rt.me->self.lane & 1)) {
    note("warp-mask", std::string(wait.name) + ": the calling lane is not in its own mask", wait.place);
  }
  if (!try_collective(rt.me->self.warp, wait)) suspend();
}

void order_lanes(Lane (&)[32], uint32_t) {}  // marks __syncwarp: try_collective orders the memory accesses

}  // namespace

bool try_collective(uint32_t warp, const Wait& given) {
  const Wait wait = given;  // a lane's own copy changes when it goes on
  const uint32_t first = warp * 32;
  const uint32_t lanes = std::min<uint32_t>(32, uint32_t(rt.count) - first);
  uint32_t alive = 0, arrived = 0;
  for (uint32_t lane = 0; lane < lanes; lane++) {
    const Thread& thread = rt.threads[first + lane];
    if (thread.status != Status::done) alive |= 1u << lane;
    const bool here = thread.status == Status::warp && thread.wait.mask == wait.mask &&
                      thread.wait.function == wait.function;
    if (here) arrived |= 1u << lane;
  }
  if ((wait.mask & alive & ~arrived) != 0) return false;
  if (wait.function == order_lanes) {
    if (rt.checking) {
      end_requests(warp);
      synchronise_lanes(first, arrived);
    }
    count_barrier("__syncwarp", wait.place);
  } else {
    Lane taking_part[32] = {};
    for (uint32_t lane = 0; lane < lanes; lane++) {
      if (arrived >> lane & 1) taking_part[lane] = rt.threads[first + lane].wait.lane;
    }
    count_collective();
    const bool accounting = std::exchange(rt.accounting, false);
    const Place place = std::exchange(rt.place, wait.place);
    wait.function(taking_part, arrived);
    rt.place = place;
    rt.accounting = accounting;
  }
  for (uint32_t lane = 0; lane < lanes; lane++) {
    if (arrived >> lane & 1) rt.threads[first + lane].status = Status::ready;
  }
  return true;
}

void warp_collective_at(Place place, uint32_t mask, WarpFunction function, const void* in, void* out,
                        const char* name) {
  Wait wait;
  wait.name = name;
  wait.place = place;
  wait.mask = mask;
  wait.function = function;
  wait.lane = {in, out};
  meet(wait);
}

void warp_collective(uint32_t mask, WarpFunction function, const void* in, void* out, const char* name) {
  warp_collective_at(SIM_CALLER, mask, function, in, out, name);
}

void warp_barrier(uint32_t mask) {
  Wait wait;
  wait.name = "__syncwarp()";
  wait.place = SIM_CALLER;
  wait.mask = mask;
  wait.function = order_lanes;
  meet(wait);
}

}  // namespace sim
