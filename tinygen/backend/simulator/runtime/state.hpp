// state.hpp: the threads, the block and the launch. One launch at a time, all in one operating-system thread.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "abi.hpp"
#include "clocks.hpp"
#include "fiber.hpp"

namespace sim {

using Address = uintptr_t;
using Place = const void*;  // a program counter in a kernel: the return address of a call into the runtime

#define SIM_CALLER __builtin_return_address(0)

struct Index3 {
  uint32_t x, y, z;
};

enum class Status : uint8_t { ready, block_barrier, named_barrier, warp, mbarrier, done };

// What a thread that is not ready waits for.
struct Wait {
  const char* name = "";
  Place place = nullptr;
  const char* file = "";       // block barriers are told apart by their line
  int line = 0;
  Vote vote = Vote::none;
  int predicate = 0;           // given to a voting barrier; then its result
  int id = 0;                  // of a named barrier
  uint32_t mask = 0;           // of a warp collective
  Lane lane{};
  uint64_t* barrier = nullptr;  // an mbarrier
  uint32_t parity = 0;
};

struct AsyncCopy {
  void* shared;
  const void* global;
  uint32_t bytes, valid;
};

// A queue of asynchronous operations of one thread: closed groups, oldest first, and the open one.
template <class Operation>
struct Groups {
  std::vector<std::vector<Operation>> closed;
  std::vector<Operation> open;

  void commit() {
    closed.push_back(std::move(open));
    open.clear();
  }
  void clear() {
    closed.clear();
    open.clear();
  }
  bool empty() const { return closed.empty() && open.empty(); }
};

// What the asynchronous proxy may see of a thread's generic accesses.
struct ProxyFence {
  uint32_t epoch = 0;
  Clock clock = 0;
  Vector known;
};

struct Thread {
  Self self{};
  Index3 index{};
  char* stack = nullptr;
  void* stack_pointer = nullptr;
  Status status = Status::done;
  Wait wait;
  Clock clock = 1;
  Knowledge known;
  Knowledge released;  // at the last device_fence: what this thread's atomics tell others
  Knowledge observed;  // what others' atomics told; known after the next device_fence
  ProxyFence proxy_fence;
  Groups<AsyncCopy> copies;
  Groups<Piece> stores;
  Place last_store = nullptr;
};

// Who accesses memory, for the vectors: a thread, or an agent that asynchronous operations have of their own.
struct Actor {
  uint32_t number = 0;  // agents follow the threads
  Clock clock = 0;      // 0: the running thread itself
};

constexpr uint32_t mbarrier_agents = 64;  // beyond so many mbarriers two share one, and a race may be missed
constexpr uint32_t most_warps = 32;       // each has an agent that reads for its wgmma

enum class Schedule : uint8_t { forward, reverse, random };

// xorshift64*: the order of threads and the moments of asynchronous events, from the launch's seed.
struct Random {
  uint64_t state = 1;
  uint32_t below(uint32_t n) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>((state * 2685821657736338717ull >> 33) % n);
  }
};

struct Runtime {
  // the launch
  Index3 grid{1, 1, 1};
  void (*body)(void*) = nullptr;
  void* arguments = nullptr;
  Schedule schedule = Schedule::forward;
  Random random;
  uint32_t preempt = 0;         // interruptions in a thousand accesses
  bool checking = false;

  // the block
  std::vector<Thread> threads;
  size_t count = 0;             // threads of a block
  size_t clocks = 0;            // entries of a vector: threads and asynchronous agents
  Index3 block{};
  uint32_t block_number = 0;    // in the order of running, from 1; never used twice
  uint32_t epoch = 0;           // grows at every block barrier and every new block; never used twice
  uint32_t alive = 0, at_barrier = 0;
  bool aborted = false;

  // now
  Thread* me = nullptr;
  void* scheduler = nullptr;    // its stack pointer while a thread runs
  bool accounting = false;      // a kernel's own code is running: its loads and stores count
  Place place = nullptr;        // replaces the caller's address while an asynchronous operation is carried out
  Actor actor;                  // replaces the running thread as the one who accesses memory, likewise
  uint64_t steps = 0;           // basic blocks that were run
  std::vector<uint8_t>* reached = nullptr;  // by place in the image: basic blocks that ran in any launch
  volatile bool expired = false;  // the launch has computed for too long
};
extern Runtime rt;

// ---- report.cpp
void note(const char* kind, const std::string& message, Place place, Place other = nullptr);
[[noreturn]] void stop(const char* kind, const std::string& message, Place place);
std::string token(Place place);      // how a message names a place: the driver puts file and line there
std::string name_of(uint32_t thread);

// ---- scheduler.cpp
void run_launch();
void suspend();                      // lets others run; returns when this thread is ready and its turn has come
[[noreturn]] void abort_block();

// ---- barriers.cpp
void clear_barriers();
void release_block_barrier();
void synchronise();                  // the end of an epoch: every thread knows all

// ---- warps.cpp
void begin_warps();
void leave_warp(const Thread& gone);  // others may have waited for it alone
void warp_collective_at(Place place, uint32_t mask, WarpFunction function, const void* in, void* out, const char* name);

// ---- copies.cpp, mbarriers.cpp, transfers.cpp, products.cpp
void clear_mbarriers();
std::string describe_mbarrier(const uint64_t* barrier);
void clear_transfers();
bool advance_transfers(bool must);   // lets loads in flight land: some, or if it must, at least one
void finish_stores();                // of a thread that returns
void clear_products();
void drop_unfinished_products();     // of a thread that returns

// ---- clocks of this launch
inline void tick() { rt.me->clock++; }
inline Actor actor() { return rt.actor.clock ? rt.actor : Actor{rt.me->self.thread, rt.me->clock}; }
inline Knowledge now() {  // what the running thread knows, itself included; what it does from here on is later
  Knowledge all = rt.me->known;
  all.add(rt.clocks, rt.me->self.thread, rt.me->clock);
  tick();
  return all;
}

}  // namespace sim
