// products.cpp: asynchronous matrix products (wgmma). Queued by a warp, computed in order at the wait.
#include <cstring>
#include <string>
#include <vector>

#include "state.hpp"

namespace sim {

namespace {

struct Accumulators {  // of the 32 lanes of a warp, kept while the kernel's own hold NaN
  float* kernel[32];
  int count;
  std::vector<float> values;  // by lane
  int products;               // that are still to be added
};

struct Queued {
  Product product;
  float* key;      // lane 0's accumulators
  uint32_t group;
  Place place;
};

struct WarpQueue {
  std::vector<Queued> products;
  std::vector<Accumulators> accumulators;
  std::vector<Accumulators> finished;  // as the last wait left them
  uint32_t group = 0;                  // the open one
  Clock clock = 0;                     // of the agent that reads the factors: one tick a wait
  bool fenced = false;
};
std::vector<WarpQueue> queues;

struct Operands {
  float* d;
  int count;
  const uint32_t* a_registers;
  uint64_t a, b;
  bool accumulate;
  void (*compute)(const Product&, float* const (&)[32]);
};

WarpQueue& queue() { return queues[rt.me->self.warp]; }

Accumulators& accumulators_of(WarpQueue& q, float* lane0) {
  for (Accumulators& a : q.accumulators) {
    if (a.kernel[0] == lane0) return a;
  }
  q.accumulators.push_back({});
  q.accumulators.back().kernel[0] = nullptr;
  return q.accumulators.back();
}

void check_fence(const WarpQueue& q, const Accumulators& now_given) {
  if (q.fenced) return;
  for (const Accumulators& old : q.finished) {
    if (old.kernel[0] == now_given.kernel[0] && old.count == now_given.count &&
        !memcmp(old.values.data(), now_given.values.data(), old.values.size() * sizeof(float))) {
      return;  // untouched since the last wait
    }
  }
  note("wgmma-fence", "wgmma on accumulators that ordinary instructions wrote, without wgmma_fence between", rt.place);
}

void enqueue(Lane (&lanes)[32], uint32_t arrived) {
  if (arrived != 0xFFFFFFFFu) return note("warp-mask", "wgmma without all 32 lanes of the warp", rt.place);
  WarpQueue& q = queue();
  const Operands& first = *static_cast<const Operands*>(lanes[0].in);
  Queued entry{};
  entry.key = first.d;
  entry.group = q.group;
  entry.place = rt.place;
  entry.product.a = first.a;
  entry.product.b = first.b;
  entry.product.a_in_registers = first.a_registers != nullptr;
  entry.product.accumulate = first.accumulate;
  entry.product.compute = first.compute;
  Accumulators& acc = accumulators_of(q, first.d);
  const bool fresh = acc.kernel[0] == nullptr;
  if (fresh) {
    acc.count = first.count;
    acc.values.resize(size_t(32 * first.count));
  }
  for (int lane = 0; lane < 32; lane++) {
    const Operands& o = *static_cast<const Operands*>(lanes[lane].in);
    if (o.a != first.a || o.b != first.b || o.accumulate != first.accumulate || o.count != first.count) {
      note("wgmma", "the lanes of a warp give wgmma different operands", rt.place);
    }
    if (o.a_registers) memcpy(entry.product.a_registers[lane], o.a_registers, sizeof entry.product.a_registers[lane]);
    if (!fresh) continue;
    acc.kernel[lane] = o.d;
    memcpy(&acc.values[size_t(lane * acc.count)], o.d, size_t(acc.count) * sizeof(float));
    memset(o.d, 0xFF, size_t(acc.count) * sizeof(float));
  }
  if (fresh && first.accumulate) check_fence(q, acc);
  acc.products++;
  q.products.push_back(entry);
}

void run(WarpQueue& q, const Queued& entry) {
  for (size_t i = 0; i < q.accumulators.size(); i++) {
    Accumulators& acc = q.accumulators[i];
    if (acc.kernel[0] != entry.key) continue;
    float* d[32];
    for (int lane = 0; lane < 32; lane++) d[lane] = &acc.values[size_t(lane * acc.count)];
    const Place place = std::exchange(rt.place, entry.place);
    entry.product.compute(entry.product, d);
    rt.place = place;
    if (--acc.products) return;
    for (int lane = 0; lane < 32; lane++) {
      memcpy(acc.kernel[lane], d[lane], size_t(acc.count) * sizeof(float));
    }
    std::erase_if(q.finished, [&](const Accumulators& old) { return old.kernel[0] == entry.key; });
    q.finished.push_back(std::move(acc));
    q.accumulators.erase(q.accumulators.begin() + long(i));
    return;
  }
}

void run_all_but(Lane (&lanes)[32], uint32_t) {
  WarpQueue& q = queue();
  int pending = 0;
  for (const Lane& lane : lanes) {
    if (lane.in) pending = *static_cast<const int*>(lane.in);
  }
  // The reads end with the wait, for all lanes: whichever of them then releases the factors speaks for the warp.
  rt.actor = {uint32_t(rt.count) + mbarrier_agents + rt.me->self.warp, ++q.clock};
  size_t done = 0;
  for (; done < q.products.size() && int64_t(q.products[done].group) < int64_t(q.group) - pending; done++) {
    run(q, q.products[done]);
  }
  q.products.erase(q.products.begin(), q.products.begin() + long(done));
  if (done && rt.checking) {
    for (uint32_t lane = 0; lane < 32; lane++) {
      rt.threads[rt.me->self.warp * 32 + lane].known.add(rt.clocks, rt.actor.number, rt.actor.clock);
    }
  }
  rt.actor = {};
  if (done) q.fenced = false;
}

void fence(Lane (&)[32], uint32_t) { queue().fenced = true; }
void commit(Lane (&)[32], uint32_t) { queue().group++; }

constexpr uint32_t all_lanes = 0xFFFFFFFFu;

}  // namespace

void clear_products() { queues.assign((rt.count + 31) / 32, {}); }

void drop_unfinished_products() {
  WarpQueue& q = queue();
  if (q.products.empty()) return;
  note("unawaited-product", "the thread returned before its wgmma had ended: wgmma_wait<0> is missing",
       q.products.front().place);
  q.products.clear();
}

void wgmma(float* d, int count, const uint32_t* a_registers, uint64_t a, uint64_t b, bool accumulate,
           void (*compute)(const Product&, float* const (&)[32])) {
  const Operands operands{d, count, a_registers, a, b, accumulate, compute};
  warp_collective_at(SIM_CALLER, all_lanes, enqueue, &operands, nullptr, "wgmma");
}

void wgmma_fence() { warp_collective_at(SIM_CALLER, all_lanes, fence, nullptr, nullptr, "wgmma_fence"); }
void wgmma_commit() { warp_collective_at(SIM_CALLER, all_lanes, commit, nullptr, nullptr, "wgmma_commit"); }
void wgmma_wait(int pending) {
  warp_collective_at(SIM_CALLER, all_lanes, run_all_but, &pending, nullptr, "wgmma_wait");
}

}  // namespace sim
