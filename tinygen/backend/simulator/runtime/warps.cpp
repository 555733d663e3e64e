// warps.cpp: operations in which the lanes of a warp take part together.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

// Lanes that have come to one collective operation.
struct Meeting {
  WarpFunction function;
  uint32_t mask;
  uint32_t arrived;
  Place place;
};

struct Warp {
  uint32_t alive;  // lanes that have not returned
  std::vector<Meeting> meetings;
};
std::vector<Warp> warps;

void order_lanes(Lane (&)[32], uint32_t) {}  // marks __syncwarp

bool complete(const Warp& warp, const Meeting& meeting) { return !(meeting.mask & warp.alive & ~meeting.arrived); }

void hold(uint32_t first, const Meeting& meeting) {
  if (meeting.function == order_lanes) {
    if (rt.checking) {
      end_requests(first / 32);
      synchronise_lanes(first, meeting.arrived);
    }
    count_barrier("__syncwarp", meeting.place);
  } else {
    Lane lanes[32] = {};
    for (uint32_t lane = 0; lane < 32; lane++) {
      if (meeting.arrived >> lane & 1) lanes[lane] = rt.threads[first + lane].wait.lane;
    }
    count_collective();
    const bool accounting = std::exchange(rt.accounting, false);
    const Place place = std::exchange(rt.place, meeting.place);
    meeting.function(lanes, meeting.arrived);
    rt.place = place;
    rt.accounting = accounting;
  }
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (meeting.arrived >> lane & 1) rt.threads[first + lane].status = Status::ready;
  }
}

void meet(Place place, uint32_t mask, WarpFunction function, Lane lane, const char* name) {
  Thread& me = *rt.me;
  me.wait.name = name;
  me.wait.place = place;
  me.wait.mask = mask;
  me.wait.lane = lane;
  me.status = Status::warp;
  const uint32_t bit = 1u << me.self.lane;
  if (!(mask & bit)) note("warp-mask", std::string(name) + ": the calling lane is not in its own mask", place);
  Warp& warp = warps[me.self.warp];
  auto meeting = std::find_if(warp.meetings.begin(), warp.meetings.end(),
                              [&](const Meeting& m) { return m.function == function && m.mask == mask; });
  if (meeting == warp.meetings.end()) meeting = warp.meetings.insert(meeting, {function, mask, 0, place});
  meeting->arrived |= bit;
  if (!complete(warp, *meeting)) return suspend();
  const Meeting now = *meeting;
  warp.meetings.erase(meeting);
  hold(me.self.warp * 32, now);
}

}  // namespace

void begin_warps() {
  warps.resize((rt.count + 31) / 32);
  for (uint32_t i = 0; i < warps.size(); i++) {
    const uint32_t lanes = std::min<uint32_t>(32, uint32_t(rt.count) - 32 * i);
    warps[i].alive = 0xFFFFFFFFu >> (32 - lanes);
    warps[i].meetings.clear();
  }
}

void leave_warp(const Thread& gone) {
  Warp& warp = warps[gone.self.warp];
  warp.alive &= ~(1u << gone.self.lane);
  for (size_t i = 0; i < warp.meetings.size();) {
    if (!complete(warp, warp.meetings[i])) {
      i++;
      continue;
    }
    const Meeting now = warp.meetings[i];
    warp.meetings.erase(warp.meetings.begin() + long(i));
    hold(gone.self.warp * 32, now);
  }
}

void warp_collective_at(Place place, uint32_t mask, WarpFunction function, const void* in, void* out,
                        const char* name) {
  meet(place, mask, function, {in, out}, name);
}

void warp_collective(uint32_t mask, WarpFunction function, const void* in, void* out, const char* name) {
  warp_collective_at(SIM_CALLER, mask, function, in, out, name);
}

void warp_barrier(uint32_t mask) {
  meet(SIM_CALLER, mask, order_lanes, {}, "__syncwarp()");
}

}  // namespace sim
