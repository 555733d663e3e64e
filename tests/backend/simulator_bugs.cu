// Planted bugs, one a kernel: the simulator must find each at the line that says BUG, by the name that follows; and
// controls (names that begin with ok_), of which it must say nothing. Every kernel takes one buffer of floats.
// test_simulator.py reads this file, and knows how each kernel is launched: one block of 64 threads where it says nothing.
#include "hopper.cuh"

// ---- bounds ----------------------------------------------------------------------------------------------------

extern "C" __global__ void global_beyond(float* out) {
  out[threadIdx.x + 1] = 1.0f;  // BUG: out-of-bounds
}

extern "C" __global__ void global_before(float* out) {
  out[threadIdx.x] = (out - 1)[threadIdx.x];  // BUG: out-of-bounds
}

extern "C" __global__ void ok_bounds(float* out) {
  if (threadIdx.x < 64) out[63 - threadIdx.x] = 1.0f;
}

extern "C" __global__ void shared_beyond(float* out) {
  __shared__ float first[64];
  __shared__ float second[64];
  float* a = first;
  a[threadIdx.x] = 1.0f;
  second[threadIdx.x] = 2.0f;
  __syncthreads();
  out[threadIdx.x] = a[threadIdx.x + 1] + second[threadIdx.x];  // BUG: out-of-bounds
}

extern "C" __global__ void shared_before(float* out) {
  __shared__ float first[64];
  __shared__ float second[64];
  float *a = first, *b = second;
  a[threadIdx.x] = 1.0f;
  b[threadIdx.x] = 2.0f;
  __syncthreads();
  out[threadIdx.x] = a[int(threadIdx.x) - 1] + b[int(threadIdx.x) - 1];  // BUG: out-of-bounds
}

extern "C" __global__ void dynamic_beyond(float* out) {
  extern __shared__ float tile[];
  tile[threadIdx.x + 1] = 1.0f;  // BUG: out-of-bounds
  out[threadIdx.x] = 0.0f;
}

extern "C" __global__ void wrong_row(float* out) {  // stays within the array
  __shared__ float tile[8][8];
  for (int i = 0; i < 8; i++) {
    tile[i][threadIdx.x % 8 + threadIdx.x / 63] = 0.0f;  // BUG: undefined
  }
  __syncthreads();
  out[threadIdx.x] = tile[0][0];
}

extern "C" __global__ void null_pointer(float* out, const float* bias) {
  out[threadIdx.x] = bias[threadIdx.x];  // BUG: null-pointer
}

extern "C" __global__ void misaligned(float* out) {
  const float4 v = *reinterpret_cast<float4*>(out + threadIdx.x);  // BUG: misaligned
  out[threadIdx.x] = v.x;
}

extern "C" __global__ void dynamic_misaligned(float* out) {  // declares less alignment than it needs
  extern __shared__ __align__(16) unsigned char bytes[];
  if (threadIdx.x == 0) copy_async_16(bytes + 8, out, true);  // BUG: misaligned
  copy_async_commit();
  copy_async_wait<0>();
}

extern "C" __global__ void write_to_const(float* out, const float* in) {
  const_cast<float*>(in)[threadIdx.x] = out[threadIdx.x];  // BUG: write-to-const
}

extern "C" __global__ void integer_overflow(float* out) {
  const int large = 2147483647 - int(threadIdx.x) + 5 * int(blockDim.x);  // BUG: undefined
  out[threadIdx.x] = float(large);
}

extern "C" __global__ void division_by_zero(float* out) {
  const int zero = int(out[threadIdx.x]);
  out[threadIdx.x] = float(64 / zero);  // BUG: undefined
}

extern "C" __global__ void far_beyond(float* out) {
  out[threadIdx.x + (1l << 40)] = 1.0f;  // BUG: out-of-bounds
}

extern "C" __global__ void too_large_locals(float* out) {  // BUG: stack-overflow
  float large[1 << 16];
  for (int i = 0; i < 1 << 16; i++) large[i] = out[i % 64];
  out[threadIdx.x] = large[int(out[threadIdx.x])];
}

// ---- races within a block --------------------------------------------------------------------------------------

extern "C" __global__ void missing_barrier(float* out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = float(threadIdx.x);
  out[threadIdx.x] = tile[63 - threadIdx.x];  // BUG: race
}

extern "C" __global__ void missing_second_barrier(float* out) {
  __shared__ float tile[64];
  float sum = 0.0f;
  for (int i = 0; i < 2; i++) {
    tile[threadIdx.x] = float(i);  // BUG: race
    __syncthreads();
    sum += tile[63 - threadIdx.x];
  }
  out[threadIdx.x] = sum;
}

extern "C" __global__ void ok_barriers(float* out) {
  __shared__ float tile[64];
  float sum = 0.0f;
  for (int i = 0; i < 2; i++) {
    tile[threadIdx.x] = float(i);
    __syncthreads();
    sum += tile[63 - threadIdx.x];
    __syncthreads();
  }
  out[threadIdx.x] = sum;
}

extern "C" __global__ void missing_syncwarp(float* out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = 1.0f;
  out[threadIdx.x] = tile[threadIdx.x ^ 1];  // BUG: race
}

extern "C" __global__ void ok_syncwarp(float* out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = 1.0f;
  __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x ^ 1];
}

extern "C" __global__ void syncwarp_across_warps(float* out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = 1.0f;
  __syncwarp();
  out[threadIdx.x] = tile[63 - threadIdx.x];  // BUG: race
}

extern "C" __global__ void shuffle_orders_nothing(float* out) {
  __shared__ float tile[64];
  tile[threadIdx.x] = 1.0f;
  const float v = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);
  out[threadIdx.x] = v + tile[threadIdx.x ^ 1];  // BUG: race
}

extern "C" __global__ void plain_sum(float* out) {
  __shared__ float sum;
  if (threadIdx.x == 0) sum = 0.0f;
  __syncthreads();
  sum += 1.0f;  // BUG: race
  __syncthreads();
  out[threadIdx.x] = sum;
}

extern "C" __global__ void ok_atomic_sum(float* out) {
  __shared__ float sum;
  if (threadIdx.x == 0) sum = 0.0f;
  __syncthreads();
  atomicAdd(&sum, 1.0f);
  __syncthreads();
  out[threadIdx.x] = sum;
}

extern "C" __global__ void global_race_in_block(float* out) {
  out[threadIdx.x] = 1.0f;
  out[threadIdx.x] += out[63 - threadIdx.x];  // BUG: race
}

extern "C" __global__ void ok_neighbours(float* out) {  // two threads in one 4-byte word
  __shared__ bf16 tile[128];
  tile[2 * threadIdx.x] = from_float<bf16>(1.0f);
  tile[2 * threadIdx.x + 1] = from_float<bf16>(2.0f);
  __syncthreads();
  tile[threadIdx.x] = tile[127 - threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = to_float(tile[threadIdx.x]);
}

extern "C" __global__ void race_in_half_a_word(float* out) {
  __shared__ bf16 tile[65];
  tile[threadIdx.x] = from_float<bf16>(1.0f);  // BUG: race
  tile[threadIdx.x + 1] = from_float<bf16>(2.0f);  // BUG: race
  __syncthreads();
  out[threadIdx.x] = to_float(tile[threadIdx.x]);
}

// ---- races between blocks --------------------------------------------------------------------------------------

extern "C" __global__ void blocks_write_one_cell(float* out) {
  if (threadIdx.x == 0) out[0] = float(blockIdx.x);  // BUG: block-race
}

extern "C" __global__ void blocks_sum(float* out) {
  if (threadIdx.x == 0) out[0] += 1.0f;  // BUG: block-race
}

extern "C" __global__ void ok_blocks_atomic(float* out) { atomicAdd(out, 1.0f); }

extern "C" __global__ void ok_blocks_apart(float* out) {
  if (threadIdx.x == 0) out[blockIdx.x] = 1.0f;
}

extern "C" __global__ void last_block_unfenced(float* out) {  // out[63] counts; the others are results of blocks
  __shared__ bool last;
  if (threadIdx.x == 0) {
    out[blockIdx.x] = 1.0f;
    last = atomicAdd(&out[63], 1.0f) == float(gridDim.x - 1);
  }
  __syncthreads();
  if (last && threadIdx.x < gridDim.x - 1) out[32 + threadIdx.x] = out[threadIdx.x];  // BUG: block-race
}

extern "C" __global__ void ok_last_block(float* out) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    out[blockIdx.x] = 1.0f;
    __threadfence();
    last = atomicAdd(&out[63], 1.0f) == float(gridDim.x - 1);
    __threadfence();
  }
  __syncthreads();
  if (last && threadIdx.x < gridDim.x) out[32 + threadIdx.x] = out[threadIdx.x];
}

// ---- initialisation --------------------------------------------------------------------------------------------

extern "C" __global__ void uninitialised(float* out) {
  __shared__ float tile[64];
  if (threadIdx.x < 63) tile[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];  // BUG: uninitialised
}

extern "C" __global__ void uninitialised_dynamic(float* out) {
  extern __shared__ float tile[];
  out[threadIdx.x] = tile[threadIdx.x];  // BUG: uninitialised
}

// ---- barriers --------------------------------------------------------------------------------------------------

extern "C" __global__ void divergent_barrier(float* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();  // BUG: divergent-barrier
  }
  out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void barrier_after_exit(float* out) {
  if (threadIdx.x >= 48) return;
  __syncthreads();  // BUG: barrier-after-exit
  out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void barrier_in_a_branch(float* out) {
  if (threadIdx.x < 16) {
    __syncthreads();  // BUG: deadlock
  } else {
    __shfl_sync(0xFFFFFFFFu, 1, 0);
  }
  out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void named_barrier_count(float* out) {
  named_barrier_sync(1, threadIdx.x < 32 ? 64 : 32);  // BUG: named-barrier or deadlock
  out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void named_barrier_too_few(float* out) {
  if (threadIdx.x < 32) named_barrier_sync(1, 64);  // BUG: deadlock
  out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void named_barrier_zero(float* out) {
  named_barrier_sync(0, 64);  // BUG: named-barrier
  out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void ok_named_barriers(float* out) {  // producer and consumer, twice
  __shared__ float tile[32];
  for (int i = 0; i < 2; i++) {
    if (threadIdx.x < 32) {
      tile[threadIdx.x] = float(i);
      named_barrier_arrive(1, 64);
      named_barrier_sync(2, 64);
    } else {
      named_barrier_sync(1, 64);
      out[threadIdx.x] = tile[63 - threadIdx.x];
      named_barrier_arrive(2, 64);
    }
  }
}

extern "C" __global__ void named_barrier_not_waited(float* out) {  // the producer does not wait for its buffer
  __shared__ float tile[32];
  for (int i = 0; i < 2; i++) {
    if (threadIdx.x < 32) {
      tile[threadIdx.x] = float(i);  // BUG: race
      named_barrier_sync(1, 64);
    } else {
      named_barrier_sync(1, 64);
      out[threadIdx.x] = tile[63 - threadIdx.x];  // BUG: race
    }
  }
}

extern "C" __global__ void endless(float* out) {
  while (out[threadIdx.x] == 0.0f) {  // BUG: endless
  }
}

extern "C" __global__ void asserted(float* out) {
  assert(out[threadIdx.x] == 1.0f);  // BUG: assert
}

extern "C" __global__ void trapped(float* out) {
  if (out[threadIdx.x] == 0.0f) __trap();  // BUG: trap
}

// ---- warps -----------------------------------------------------------------------------------------------------

extern "C" __global__ void shuffle_in_a_branch(float* out) {
  float v = 1.0f;
  if (threadIdx.x % 32 < 16) v = __shfl_xor_sync(0xFFFFFFFFu, v, 1);  // BUG: deadlock
  __syncthreads();
  out[threadIdx.x] = v;
}

extern "C" __global__ void shuffle_from_outside(float* out) {
  float v = 1.0f;
  if (threadIdx.x % 32 < 16) v = __shfl_sync(0x0000FFFFu, v, 20);  // BUG: shuffle
  out[threadIdx.x] = v;
}

extern "C" __global__ void not_in_its_mask(float* out) {
  out[threadIdx.x] = __shfl_sync(0x0000FFFFu, 1.0f, 0);  // BUG: warp-mask
}

extern "C" __global__ void ok_warp(float* out) {
  const unsigned all = 0xFFFFFFFFu;
  float sum = float(threadIdx.x % 32);
  for (int i = 16; i; i /= 2) sum += __shfl_xor_sync(all, sum, i);
  if (threadIdx.x % 32 < 8) sum += __shfl_down_sync(0xFFu, sum, 4, 8);
  sum += float(__popc(__ballot_sync(all, threadIdx.x & 1)) + __any_sync(all, 1) + __all_sync(all, 1));
  sum += float(__reduce_max_sync(all, int(threadIdx.x)) + __syncthreads_count(threadIdx.x < 3));
  out[threadIdx.x] = sum;
}

// ---- asynchronous copies ---------------------------------------------------------------------------------------

extern "C" __global__ void copy_not_waited(float* out) {
  __shared__ __align__(16) float tile[64];
  if (threadIdx.x < 16) copy_async_16(tile + 4 * threadIdx.x, out + 4 * threadIdx.x, true);
  copy_async_commit();
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];  // BUG: unawaited-copy
}

extern "C" __global__ void copy_of_wrong_group(float* out) {
  __shared__ __align__(16) float tile[2][64];
  for (int i = 0; i < 2; i++) {
    if (threadIdx.x < 16) copy_async_16(tile[i] + 4 * threadIdx.x, out + 4 * threadIdx.x, true);
    copy_async_commit();
  }
  copy_async_wait<1>();
  __syncthreads();
  out[threadIdx.x] = tile[1][threadIdx.x];  // BUG: unawaited-copy
}

extern "C" __global__ void copy_without_barrier(float* out) {
  __shared__ __align__(16) float tile[64];
  if (threadIdx.x < 16) copy_async_16(tile + 4 * threadIdx.x, out + 4 * threadIdx.x, true);
  copy_async_commit();
  copy_async_wait<0>();
  out[threadIdx.x] = tile[(threadIdx.x + 32) % 64];  // BUG: race
}

extern "C" __global__ void copy_over_reads(float* out) {
  __shared__ __align__(16) float tile[64];
  tile[threadIdx.x] = 1.0f;
  __syncthreads();
  const float v = tile[63 - threadIdx.x];
  if (threadIdx.x < 16) copy_async_16(tile + 4 * threadIdx.x, out + 4 * threadIdx.x, true);  // BUG: race
  copy_async_commit();
  copy_async_wait<0>();
  out[threadIdx.x] = v;
}

extern "C" __global__ void ok_copies(float* out) {
  __shared__ __align__(16) float tile[2][64];
  for (int i = 0; i < 2; i++) {
    if (threadIdx.x < 16) copy_async_16(tile[i] + 4 * threadIdx.x, out + 4 * threadIdx.x, i == 0);
    copy_async_commit();
  }
  copy_async_wait<1>();
  __syncthreads();
  const float v = tile[0][63 - threadIdx.x];
  copy_async_wait<0>();
  __syncthreads();
  out[threadIdx.x] = v + tile[1][63 - threadIdx.x];
}

// ---- mbarriers and bulk copies ---------------------------------------------------------------------------------

constexpr int TILE = 64 * 4;  // bytes

struct Stage {  // of a ring with one buffer
  float tile[64];
  uint64_t full, empty;
};

DEVICE Stage* begin_ring(int arrivals) {
  extern __shared__ __align__(1024) unsigned char bytes_of_ring[];
  Stage* stage = reinterpret_cast<Stage*>(bytes_of_ring);
  if (threadIdx.x == 0) {
    barrier_init(&stage->full, 1);
    barrier_init(&stage->empty, arrivals);
    barrier_init_fence();
  }
  __syncthreads();
  return stage;
}

extern "C" __global__ void ok_ring(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    for (int i = 0; i < 3; i++) {
      barrier_wait(&stage->empty, i % 2 ^ 1);
      barrier_expect(&stage->full, TILE);
      tma_load_2d(stage->tile, &map, 0, i, &stage->full);
    }
  } else if (threadIdx.x < 32) {
    for (int i = 0; i < 3; i++) {
      barrier_wait(&stage->full, i % 2);
      out[threadIdx.x] = stage->tile[threadIdx.x];
      barrier_arrive(&stage->empty);
    }
  }
}

extern "C" __global__ void full_not_waited(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    barrier_expect(&stage->full, TILE);
    tma_load_2d(stage->tile, &map, 0, 0, &stage->full);
  }
  __syncthreads();
  out[threadIdx.x] = stage->tile[threadIdx.x];  // BUG: unawaited-copy or race
}

extern "C" __global__ void load_never_waited(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    barrier_expect(&stage->full, TILE);
    tma_load_2d(stage->tile, &map, 0, 0, &stage->full);  // BUG: unawaited-copy
  }
}

extern "C" __global__ void not_a_tensor_map(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    barrier_expect(&stage->full, TILE);
    tma_load_3d(stage->tile, &map, 0, 0, 0, &stage->full);  // BUG: tma
  }
}

extern "C" __global__ void empty_not_waited(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    for (int i = 0; i < 2; i++) {
      barrier_expect(&stage->full, TILE);
      tma_load_2d(stage->tile, &map, 0, i, &stage->full);  // BUG: race
      barrier_wait(&stage->full, i);
    }
  } else if (threadIdx.x < 32) {
    for (int i = 0; i < 2; i++) {
      barrier_wait(&stage->full, i);
      out[threadIdx.x] = stage->tile[threadIdx.x];  // BUG: race
      named_barrier_sync(1, 32);
    }
  }
}

extern "C" __global__ void released_too_early(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    for (int i = 0; i < 2; i++) {
      barrier_wait(&stage->empty, i ^ 1);
      barrier_expect(&stage->full, TILE);
      tma_load_2d(stage->tile, &map, 0, i, &stage->full);  // BUG: race
    }
  } else if (threadIdx.x < 32) {
    for (int i = 0; i < 2; i++) {
      barrier_wait(&stage->full, i);
      barrier_arrive(&stage->empty);
      out[threadIdx.x] = stage->tile[threadIdx.x];  // BUG: race
    }
  }
}

extern "C" __global__ void wrong_parity(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    barrier_expect(&stage->full, TILE);
    tma_load_2d(stage->tile, &map, 0, 0, &stage->full);
  }
  barrier_wait(&stage->full, 1);
  out[threadIdx.x] = stage->tile[threadIdx.x];  // BUG: unawaited-copy
}

extern "C" __global__ void too_few_bytes(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(32);
  if (threadIdx.x == 32) {
    barrier_expect(&stage->full, 2 * TILE);
    tma_load_2d(stage->tile, &map, 0, 0, &stage->full);
  }
  barrier_wait(&stage->full, 0);  // BUG: deadlock
  out[threadIdx.x] = stage->tile[threadIdx.x];
}

extern "C" __global__ void one_arrival_too_many(float* out, const __grid_constant__ tensor_map map) {
  Stage* stage = begin_ring(1);
  if (threadIdx.x == 32) {
    barrier_expect(&stage->full, TILE);
    barrier_arrive(&stage->full);  // BUG: mbarrier
    tma_load_2d(stage->tile, &map, 0, 0, &stage->full);
  }
}

extern "C" __global__ void mbarrier_uninitialised(float* out) {
  __shared__ uint64_t barrier[1];
  if (threadIdx.x == 0) barrier_arrive(barrier);  // BUG: mbarrier
}

extern "C" __global__ void mbarrier_without_syncthreads(float* out) {
  __shared__ uint64_t barrier[1];
  if (threadIdx.x == 0) barrier_init(barrier, 63);
  if (threadIdx.x > 0) barrier_arrive(barrier);  // BUG: race or mbarrier
}

extern "C" __global__ void init_not_fenced(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  uint64_t* full = reinterpret_cast<uint64_t*>(bytes + TILE);
  if (threadIdx.x == 0) {
    barrier_init(full, 1);
    barrier_expect(full, TILE);
    tma_load_2d(bytes, &map, 0, 0, full);  // BUG: proxy-fence
  }
  __syncthreads();
  barrier_wait(full, 0);
}

extern "C" __global__ void ok_store(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  float* tile = reinterpret_cast<float*>(bytes);
  tile[threadIdx.x] = 1.0f;
  fence_async_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    tma_store_2d(&map, tile, 0, 0);
    tma_store_commit();
    tma_store_wait<0>();
  }
  __syncthreads();
  tile[threadIdx.x] = 2.0f;
}

extern "C" __global__ void store_not_fenced(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  float* tile = reinterpret_cast<float*>(bytes);
  tile[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) {
    tma_store_2d(&map, tile, 0, 0);  // BUG: proxy-fence
    tma_store_commit();
    tma_store_wait<0>();
  }
}

extern "C" __global__ void store_overwritten(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  float* tile = reinterpret_cast<float*>(bytes);
  tile[threadIdx.x] = 1.0f;
  fence_async_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    tma_store_2d(&map, tile, 0, 0);
    tma_store_commit();
  }
  __syncthreads();
  tile[threadIdx.x] = 2.0f;  // BUG: unawaited-store
  __syncthreads();
  if (threadIdx.x == 0) tma_store_wait<0>();
}

extern "C" __global__ void store_not_waited(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  float* tile = reinterpret_cast<float*>(bytes);
  tile[threadIdx.x] = 1.0f;
  fence_async_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    tma_store_2d(&map, tile, 0, 0);  // BUG: unawaited-store
    tma_store_commit();
  }
}

// ---- asynchronous products -------------------------------------------------------------------------------------

// One warpgroup multiplies two tiles of 64 x 64 ones; accumulators are 64.
DEVICE uint64_t fill_tile(bool fenced) {
  extern __shared__ __align__(1024) unsigned char bytes_of_tile[];
  bf16* tile = reinterpret_cast<bf16*>(bytes_of_tile);
  for (int i = threadIdx.x; i < 64 * 64; i += 128) tile[i] = from_float<bf16>(1.0f);
  if (fenced) fence_async_proxy();
  __syncthreads();
  return wgmma_descriptor(tile);
}

extern "C" __global__ void ok_wgmma(float* out) {
  const uint64_t tile = fill_tile(true);
  float d[32];
  for (int i = 0; i < 32; i++) d[i] = 0.0f;
  wgmma_fence();
  for (int k = 0; k < 4; k++) wgmma<64, bf16, 0, 0>(d, tile + 2 * k, tile + 2 * k, 1);
  wgmma_commit();
  wgmma_wait<0>();
  if (threadIdx.x < 64) out[threadIdx.x] = d[0];
}

// A ring whose buffer one lane of each warp releases, once its warp's products have read it.
extern "C" __global__ void ok_wgmma_ring(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  uint64_t* full = reinterpret_cast<uint64_t*>(bytes + 8192);
  uint64_t* empty = full + 1;
  if (threadIdx.x == 0) {
    barrier_init(full, 1);
    barrier_init(empty, 4);
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 128) {
    for (int i = 0; i < 3; i++) {
      barrier_wait(empty, i % 2 ^ 1);
      barrier_expect(full, 8192);
      tma_load_2d(bytes, &map, 0, 64 * i, full);
    }
  } else if (threadIdx.x < 128) {
    float d[32];
    for (int i = 0; i < 32; i++) d[i] = 0.0f;
    const uint64_t tile = wgmma_descriptor(bytes);
    wgmma_fence();
    for (int i = 0; i < 3; i++) {
      barrier_wait(full, i % 2);
      for (int k = 0; k < 4; k++) wgmma<64, bf16, 0, 0>(d, tile + 2 * k, tile + 2 * k, 1);
      wgmma_commit();
      wgmma_wait<0>();
      if (threadIdx.x % 32 == 0) barrier_arrive(empty);
    }
    if (threadIdx.x < 64) out[threadIdx.x] = d[0];
  }
}

// The same released before the tensor cores have read it: right numbers where the copy is late enough.
extern "C" __global__ void wgmma_released_too_early(float* out, const __grid_constant__ tensor_map map) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  uint64_t* full = reinterpret_cast<uint64_t*>(bytes + 8192);
  uint64_t* empty = full + 1;
  if (threadIdx.x == 0) {
    barrier_init(full, 1);
    barrier_init(empty, 4);
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 128) {
    for (int i = 0; i < 3; i++) {
      barrier_wait(empty, i % 2 ^ 1);
      barrier_expect(full, 8192);
      tma_load_2d(bytes, &map, 0, 64 * i, full);  // BUG: race
    }
  } else if (threadIdx.x < 128) {
    float d[32];
    const uint64_t tile = wgmma_descriptor(bytes);
    wgmma_fence();
    for (int i = 0; i < 3; i++) {
      barrier_wait(full, i % 2);
      wgmma<64, bf16, 0, 0>(d, tile, tile, 0);  // BUG: race or unawaited-copy
      wgmma_commit();
      if (threadIdx.x % 32 == 0) barrier_arrive(empty);
      wgmma_wait<0>();
    }
    if (threadIdx.x < 64) out[threadIdx.x] = d[0];
  }
}

extern "C" __global__ void wgmma_not_waited(float* out) {
  const uint64_t tile = fill_tile(true);
  float d[32];
  wgmma_fence();
  wgmma<64, bf16, 0, 0>(d, tile, tile, 0);  // BUG: unawaited-product
  wgmma_commit();
}

extern "C" __global__ void wgmma_not_fenced(float* out) {
  const uint64_t tile = fill_tile(true);
  float d[32];
  for (int i = 0; i < 32; i++) d[i] = 0.0f;
  wgmma<64, bf16, 0, 0>(d, tile, tile, 1);  // BUG: wgmma-fence
  wgmma_commit();
  wgmma_wait<0>();
  if (threadIdx.x == 0) out[0] = d[0];
}

extern "C" __global__ void wgmma_of_different_factors(float* out) {
  const uint64_t tile = fill_tile(true);
  float d[32];
  wgmma_fence();
  wgmma<64, bf16, 0, 0>(d, tile + 2 * (threadIdx.x % 2), tile, 0);  // BUG: wgmma
  wgmma_commit();
  wgmma_wait<0>();
  if (threadIdx.x == 0) out[0] = d[0];
}

extern "C" __global__ void wgmma_proxy_not_fenced(float* out) {
  const uint64_t tile = fill_tile(false);
  float d[32];
  wgmma_fence();
  wgmma<64, bf16, 0, 0>(d, tile, tile, 0);  // BUG: proxy-fence
  wgmma_commit();
  wgmma_wait<0>();
  if (threadIdx.x == 0) out[0] = d[0];
}

extern "C" __global__ void wgmma_factor_overwritten(float* out) {  // before the tensor cores have read it
  const uint64_t tile = fill_tile(true);
  float d[32];
  wgmma_fence();
  wgmma<64, bf16, 0, 0>(d, tile, tile, 0);  // BUG: race
  wgmma_commit();
  static_cast<bf16*>(sim::shared_pointer(1024))[threadIdx.x] = from_float<bf16>(2.0f);
  wgmma_wait<0>();
  if (threadIdx.x == 0) out[0] = d[0];
}

// ---- counters --------------------------------------------------------------------------------------------------

extern "C" __global__ void ok_bank_conflicts(float* out) {  // one block of 32 threads
  __shared__ float tile[32][32];
  for (int i = 0; i < 32; i++) tile[i][threadIdx.x] = 1.0f;  // COUNT: shared write, excess 1
  __syncwarp();
  float sum = 0.0f;
  for (int i = 0; i < 32; i++) sum += tile[threadIdx.x][i];  // COUNT: shared read, excess 32
  out[threadIdx.x] = sum;
}

extern "C" __global__ void ok_uncoalesced(float* out, const float* in) {  // one block of 32 threads
  out[threadIdx.x] = in[8 * threadIdx.x];  // COUNT: global read, excess 8
}

extern "C" __global__ void ok_vector_loads(float* out, const float* in) {  // one block of 32 threads
  const float4 v = reinterpret_cast<const float4*>(in)[threadIdx.x];  // COUNT: global read, excess 1
  out[threadIdx.x] = v.x + v.y + v.z + v.w;
}
