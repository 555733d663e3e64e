// clocks.hpp: what a thread knows to have happened before, by vector clocks.
//
// Every thread counts its own synchronisations (`clock`). An access at clock c by thread u happens before whatever
// thread t does now if t is u, if a barrier of the whole block lies between (see `epoch` in state.hpp), or if t's
// vector holds at least c for u. A vector is shared, never changed after it was made, and absent until a thread
// synchronises by anything finer than a block barrier: so a kernel with __syncthreads alone never makes one.
// (Mattern 1989; FastTrack, Flanagan and Freund 2009.)
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace sim {

using Clock = uint32_t;
using Vector = std::shared_ptr<const std::vector<Clock>>;  // by thread, then by asynchronous agent

// What one thread of another block had done, and seen done, when it released that knowledge.
struct Release {
  uint32_t block;   // number in the order of running
  uint32_t epoch;   // everything of that block's earlier epochs is known
  uint32_t thread;  // and everything of this thread up to `clock`
  Clock clock;
  Vector vector;    // and what that thread knew of the others
};
using Releases = std::shared_ptr<const std::vector<Release>>;

struct Knowledge {
  Vector own;        // of this block; null: nothing but the block barriers
  Releases foreign;  // of other blocks; null: nothing

  bool covers(uint32_t thread, Clock clock) const { return own && (*own)[thread] >= clock; }

  bool covers_foreign(uint32_t block, uint32_t epoch, uint32_t thread, Clock clock) const {
    if (!foreign) return false;
    return std::any_of(foreign->begin(), foreign->end(), [&](const Release& r) {
      if (r.block != block) return false;
      return epoch < r.epoch || (thread == r.thread && clock <= r.clock) || (r.vector && (*r.vector)[thread] >= clock);
    });
  }

  void join(const Knowledge& other) {
    own = joined(own, other.own);
    if (!foreign) {
      foreign = other.foreign;
    } else if (other.foreign && other.foreign != foreign) {
      auto both = *foreign;
      both.insert(both.end(), other.foreign->begin(), other.foreign->end());
      foreign = std::make_shared<const std::vector<Release>>(std::move(both));
    }
  }

  // Knows thread (or agent) `who` up to `clock`.
  void add(size_t size, uint32_t who, Clock clock) {
    auto next = own ? std::make_shared<std::vector<Clock>>(*own) : std::make_shared<std::vector<Clock>>(size, 0);
    (*next)[who] = std::max((*next)[who], clock);
    own = std::move(next);
  }

 private:
  static Vector joined(const Vector& a, const Vector& b) {
    if (!a || a == b) return b;
    if (!b) return a;
    auto both = std::make_shared<std::vector<Clock>>(*a);
    for (size_t i = 0; i < both->size(); i++) (*both)[i] = std::max((*both)[i], (*b)[i]);
    return both;
  }
};

}  // namespace sim
