// abi.hpp: what compiled kernels and the headers of this folder may ask of the simulator's runtime.
//
// Every CUDA thread is a fiber of one operating-system thread. A function below either returns at once or lets
// other threads run until what it waits for has happened; between two such calls a kernel runs undisturbed (with
// schedule "random" it may also be interrupted at any load or store). All of them are called by CUDA threads.
//
// Findings carry the caller's program counter. Functions that emulate an instruction should therefore be SIM_INLINE
// down to the call of the runtime, so that the line is found by walking the inlined calls up to the kernel; their
// arithmetic, which is no access of the kernel, goes to SIM_OUTSIDE functions, which the checking build leaves alone.
#pragma once
#include <cstddef>
#include <cstdint>

#define SIM_INLINE inline __attribute__((always_inline))
#define SIM_OUTSIDE __attribute__((noinline, no_sanitize("thread"), no_sanitize("undefined"), no_sanitize_coverage))

#pragma GCC visibility push(default)
namespace sim {

// ---- who calls -------------------------------------------------------------------------------------------------

struct Self {
  uint32_t thread;  // x + y blockDim.x + z blockDim.x blockDim.y
  uint32_t warp;    // thread / 32
  uint32_t lane;    // thread % 32
};
extern const Self self;  // of the running thread; set at every switch

// ---- findings --------------------------------------------------------------------------------------------------

// Notes a finding at the caller's line and goes on. `kind` is one of the names of docs/simulator.md or a new one.
void report(const char* kind, const char* message);
// Notes a finding and ends the launch: for what has no meaning to go on with. Also in the fast mode.
[[noreturn]] void trap(const char* kind, const char* message);

// While one of these lives, the running code is an emulation's: its loads and stores are not the kernel's, and findings
// are at the line where the object was made (in a SIM_INLINE function). Warp functions run like that anyway.
class Emulation {
 public:
  Emulation();
  ~Emulation();
  Emulation(const Emulation&) = delete;

 private:
  bool accounting_;
  const void* place_;
};

// ---- memory ----------------------------------------------------------------------------------------------------

enum class Access : int { read, write, atomic };

// Declares an access to shared or global memory that the compiler does not see (inside a SIM_OUTSIDE function):
// bounds, alignment (for 1, 2, 4, 8 and 16 bytes), races, initialisation and counters. Call it before the access.
void touch(const void* pointer, size_t bytes, Access access);

// The same for an access of the asynchronous proxy (tensor cores that read shared memory, bulk copies): what other
// threads wrote by ordinary stores must have been made visible by `fence_async_proxy`.
void touch_async_proxy(const void* pointer, size_t bytes, Access access);

// 32-bit addresses of shared memory, as in PTX: dynamic shared memory begins at 1024, static arrays lie behind it.
uint32_t shared_address(const void* pointer);  // a finding and 0 if `pointer` is not in shared memory
void* shared_pointer(uint32_t address);
void* dynamic_shared();                        // the launch's dynamic shared memory

// __threadfence(): orders this thread's accesses before and after it for the other blocks.
void device_fence();
// fence.proxy.async: what this thread wrote, or has seen written, becomes visible to the asynchronous proxy.
void fence_async_proxy();

// ---- the block -------------------------------------------------------------------------------------------------

enum class Vote : int { none, count, all, any };

// __syncthreads and its voting forms. Threads of one block must meet at one line.
int block_barrier(Vote vote, int predicate, const char* file, int line);

// bar.sync / bar.arrive with an id of 1 to 15 (0 is __syncthreads) and a number of threads, a multiple of 32.
// Both order the memory accesses of the participants (arrive: those before it).
void named_barrier_sync(int id, int threads);
void named_barrier_arrive(int id, int threads);

// ---- the warp --------------------------------------------------------------------------------------------------

struct Lane {
  const void* in;  // what the lane gave to warp_collective
  void* out;
};
// Runs once, in the last lane to arrive, outside the kernel's accounts; lanes that are not in `arrived` are null.
using WarpFunction = void (*)(Lane (&lanes)[32], uint32_t arrived);

// Waits until every lane of `mask` that has not returned is here with the same function, then runs it. Does not
// order memory accesses (as CUDA's shuffles do not). `name` is what reports call it.
void warp_collective(uint32_t mask, WarpFunction function, const void* in, void* out, const char* name);

// __syncwarp: the same meeting, and it orders memory accesses.
void warp_barrier(uint32_t mask);

// ---- cp.async --------------------------------------------------------------------------------------------------

// Copies the first `valid` of `bytes` (4, 8 or 16) from global to shared memory and fills the rest with zeros. The
// copy happens somewhere between here and the wait; the destination holds NaN meanwhile and may not be touched.
void copy_async(void* shared, const void* global, uint32_t bytes, uint32_t valid);
void copy_async_commit();           // closes a group of this thread's copies
void copy_async_wait(int pending);  // until at most so many of this thread's groups are not complete

// ---- mbarriers -------------------------------------------------------------------------------------------------

void mbarrier_init(uint64_t* barrier, uint32_t arrivals);
void mbarrier_init_fence();  // makes this thread's mbarrier_init visible to bulk copies
// One arrival, with `expected` more bytes to come in this phase (0: a plain arrival).
void mbarrier_arrive(uint64_t* barrier, uint32_t expected);
// Waits for the end of the phase with this parity; a fresh mbarrier is in phase 0, its predecessor counts as ended.
void mbarrier_wait(uint64_t* barrier, uint32_t parity);

// ---- bulk copies (TMA) -----------------------------------------------------------------------------------------

// The layout of a kernel's tensor_map argument, filled in by the driver; dimension 0 is the fastest.
struct alignas(64) TensorMap {
  unsigned char* base;      // global address, a multiple of 16
  uint32_t rank;            // 1 to 5
  uint32_t element_bytes;
  uint32_t swizzle;         // span in bytes: 0, 32, 64 or 128
  uint32_t padding;
  uint64_t stride[4];       // bytes from one index of dimension 1, 2, .. to the next; multiples of 16
  uint32_t size[5];         // elements
  uint32_t box[5];          // elements of one copy
};
static_assert(sizeof(TensorMap) == 128);

// A contiguous run of bytes within a bulk copy.
struct Piece {
  void* shared;
  void* global;  // null: outside the tensor; zeros are loaded, nothing is stored
  uint32_t bytes;
};

// Loads all pieces some time after this call, then completes their bytes (zeros too) on the mbarrier, which may end
// its phase. The pieces are copied; until completion the shared bytes hold NaN and may not be touched.
void bulk_load(const Piece* pieces, size_t count, uint64_t* barrier);

// Stores all pieces some time between this call and the wait for its group, by the calling thread.
void bulk_store(const Piece* pieces, size_t count);
void bulk_store_commit();
void bulk_store_wait(int pending);  // until at most so many groups may still read shared memory

// ---- asynchronous matrix products (wgmma) ----------------------------------------------------------------------

// One wgmma instruction as one warp sees it.
struct Product {
  uint64_t a, b;                  // descriptors of the factors in shared memory
  bool a_in_registers;
  uint32_t a_registers[32][4];    // by lane
  bool accumulate;                // false: the accumulators are overwritten
  // Computes the warp's part: d[lane] points to that lane's accumulators. Reads of shared memory are declared
  // by touch_async_proxy. Runs once a warp, in one of its lanes, at the wait.
  void (*compute)(const Product& product, float* const (&d)[32]);
};

// Called by all 32 lanes. The accumulators hold NaN from here until the wait for their group, when the queued products
// are computed in order: so factors that are overwritten too early give wrong numbers and a race.
// `a_registers` is null if the factor A is in shared memory.
void wgmma(float* d, int count, const uint32_t* a_registers, uint64_t a, uint64_t b, bool accumulate,
           void (*compute)(const Product&, float* const (&)[32]));
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int pending);

}  // namespace sim
#pragma GCC visibility pop
