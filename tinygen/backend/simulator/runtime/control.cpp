// control.cpp: what the driver calls (module.py).
#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include "access.hpp"
#include "counters.hpp"
#include "launch.hpp"
#include "memory.hpp"
#include "report.hpp"
#include "shadow.hpp"
#include "signals.hpp"
#include "state.hpp"

namespace sim {

extern Index3 block_size, grid_size;

#pragma GCC visibility push(default)
namespace {
std::string text;  // lives until the next call that returns text
std::unordered_map<Address, std::vector<uint8_t>> reached;  // by image
}

extern "C" {

struct sim_array {
  uint64_t begin, end;
  const char* name;  // empty: bytes that the compiler put there for itself
};
struct sim_buffer {
  uint64_t begin, end;
  const char* name;
  uint32_t read_only;
};
struct sim_options {
  uint32_t grid[3], block[3];
  uint32_t shared, alignment;   // dynamic shared memory
  uint32_t checking, schedule, preempt;
  uint64_t seed;
  double seconds;               // of computing, before the launch counts as endless
  uint64_t image_begin, image_end;
  uint64_t static_begin, static_end;
  const sim_array* arrays;
  uint64_t array_count;
  const sim_buffer* buffers;
  uint64_t buffer_count;
};

// Runs a kernel; returns the number of findings.
int sim_launch(void (*body)(void*), void* arguments, const sim_options* o) {
  rt.grid = grid_size = {o->grid[0], o->grid[1], o->grid[2]};
  block_size = {o->block[0], o->block[1], o->block[2]};
  rt.count = size_t(o->block[0]) * o->block[1] * o->block[2];
  rt.clocks = rt.count + mbarrier_agents + most_warps;
  rt.body = body;
  rt.arguments = arguments;
  rt.checking = o->checking;
  rt.schedule = Schedule(o->schedule);
  rt.preempt = o->preempt;
  rt.random.state = o->seed * 0x9E3779B97F4A7C15ull + 0x632BE59BD9B4E019ull;
  rt.steps = 0;
  rt.accounting = false;
  rt.place = nullptr;
  if (rt.threads.size() < rt.count) rt.threads.resize(rt.count);
  memory.image_begin = o->image_begin;
  memory.image_end = o->image_end;
  memory.static_begin = o->static_begin;
  memory.static_end = o->static_end;
  memory.arrays.clear();
  memory.hidden.clear();
  for (const sim_array* a = o->arrays; a < o->arrays + o->array_count; a++) {
    if (*a->name) {
      memory.arrays.push_back({a->begin, a->end, a->name});
    } else {
      memory.hidden.push_back(a->begin);
    }
  }
  memory.buffers.clear();
  for (const sim_buffer* b = o->buffers; b < o->buffers + o->buffer_count; b++) {
    memory.buffers.push_back({b->begin, b->end, b->read_only != 0, b->name, {}});
  }
  place_dynamic_shared(o->shared, o->alignment);
  clear_findings();
  clear_counters();
  clear_told();
  forget_accesses();
  reset_global_shadows();
  rt.reached = &reached[o->image_begin];
  rt.reached->resize(rt.checking ? o->image_end - o->image_begin : 0);
  if (rt.checking) memory.static_words.resize((o->static_end - o->static_begin) / 4 + 2);
  {
    const Signals signals(o->seconds);
    run_launch();
  }
  return int(count_findings());
}

// A byte for each place of an image: whether a basic block that begins there has run. Null: none has.
const uint8_t* sim_reached(uint64_t image_begin) {
  const auto found = reached.find(image_begin);
  return found == reached.end() || found->second.empty() ? nullptr : found->second.data();
}

const char* sim_findings() {
  text = findings_text();
  return text.c_str();
}

const char* sim_counters() {
  text = counters_text();
  return text.c_str();
}

}  // extern "C"
#pragma GCC visibility pop
}  // namespace sim
