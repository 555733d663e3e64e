// transfers.cpp: bulk copies (TMA). Loads land when the scheduler lets them and then complete on an mbarrier; stores
// are carried out by the wait for their group.
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "access.hpp"
#include "counters.hpp"
#include "mbarriers.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "state.hpp"

namespace sim {

namespace {

struct Load {
  std::vector<Piece> pieces;
  uint64_t* barrier;
  Actor by;
  Place place;
};
std::vector<Load> in_flight;

void check_piece(const Piece& piece, Place place) {
  if (!memory.in_shared(Address(piece.shared))) {
    stop("out-of-bounds", "bulk copy with " + memory.describe(Address(piece.shared)) + ", which is not shared memory",
         place);
  }
  check_bounds(Address(piece.shared), piece.bytes, Access::write, place);
}

void land(size_t i) {
  const Load load = std::move(in_flight[i]);
  in_flight.erase(in_flight.begin() + long(i));
  size_t bytes = 0;
  for (const Piece& piece : load.pieces) {
    if (piece.global) {
      memcpy(piece.shared, piece.global, piece.bytes);
    } else {
      memset(piece.shared, 0, piece.bytes);
    }
    bytes += piece.bytes;
    if (rt.checking) {
      end_arrival(Address(piece.shared), piece.bytes, load.by, load.place);
    }
  }
  complete_bytes(load.barrier, bytes);
}

void store(const std::vector<Piece>& pieces) {
  for (const Piece& piece : pieces) {
    if (piece.global) memcpy(piece.global, piece.shared, piece.bytes);
    if (rt.checking) set_leaving(Address(piece.shared), piece.bytes, false);
  }
}

}  // namespace

void clear_transfers() { in_flight.clear(); }

bool advance_transfers(bool must) {
  if (in_flight.empty()) return false;
  if (rt.schedule == Schedule::reverse) {  // as early as possible
    while (!in_flight.empty()) land(0);
    return true;
  }
  bool any = false;
  if (rt.schedule == Schedule::random) {
    for (size_t i = in_flight.size(); i-- > 0;) {
      if (rt.random.below(4)) continue;
      land(i);
      any = true;
    }
  }
  if (must && !any) {
    land(rt.schedule == Schedule::random ? rt.random.below(uint32_t(in_flight.size())) : 0);
    any = true;
  }
  return any;
}

void bulk_load(const Piece* pieces, size_t count, uint64_t* barrier) {
  const Place place = rt.place ? rt.place : SIM_CALLER;
  const Actor by = begin_transfer(barrier, place);
  size_t bytes = 0;
  for (const Piece* piece = pieces; piece < pieces + count; piece++) {
    bytes += piece->bytes;
    if (rt.checking) {
      check_piece(*piece, place);
      check_proxy(Address(piece->shared), piece->bytes, place);
      if (piece->global) check_access(Address(piece->global), piece->bytes, Access::read, place);
      begin_arrival(Address(piece->shared), piece->bytes, place);
    }
    memset(piece->shared, 0xFF, piece->bytes);
  }
  count_bulk(place, Space::global, Access::read, bytes);
  count_bulk(place, Space::shared, Access::write, bytes);
  in_flight.push_back({{pieces, pieces + count}, barrier, by, place});
}

void bulk_store(const Piece* pieces, size_t count) {
  const Place place = rt.place ? rt.place : SIM_CALLER;
  rt.me->last_store = place;
  size_t bytes = 0;
  for (const Piece* piece = pieces; piece < pieces + count; piece++) {
    bytes += piece->bytes;
    if (rt.checking) {
      check_piece(*piece, place);
      check_shared(Address(piece->shared), piece->bytes, Access::read, place);
      check_proxy(Address(piece->shared), piece->bytes, place);
      if (piece->global) check_access(Address(piece->global), piece->bytes, Access::write, place);
      set_leaving(Address(piece->shared), piece->bytes, true);
    }
    rt.me->stores.open.push_back(*piece);
  }
  count_bulk(place, Space::shared, Access::read, bytes);
  count_bulk(place, Space::global, Access::write, bytes);
}

void bulk_store_commit() { rt.me->stores.commit(); }

void bulk_store_wait(int pending) {
  auto& groups = rt.me->stores.closed;
  const size_t done = groups.size() > size_t(pending) ? groups.size() - size_t(pending) : 0;
  for (size_t i = 0; i < done; i++) store(groups[i]);
  groups.erase(groups.begin(), groups.begin() + long(done));
}

void finish_stores() {
  auto& stores = rt.me->stores;
  if (stores.empty()) return;
  note("unawaited-store",
       "the thread returned before its bulk stores had read shared memory: tma_store_wait<0> is missing",
       rt.me->last_store);
  if (!stores.open.empty()) stores.commit();
  bulk_store_wait(0);
}

}  // namespace sim
