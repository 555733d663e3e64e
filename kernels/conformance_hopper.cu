// One tiny kernel for each function of hopper.cuh; see conformance_mma.cu.
#include "hopper.cuh"

constexpr int MOST = 64 * 1024;  // bytes of a tile

// Loads a box and gives out the bytes of shared memory as they lie, swizzled or not.
template <int RANK>
DEVICE void conform_tma_load(unsigned char* out, const tensor_map* map, int x, int y, int z, int w, int bytes) {
  extern __shared__ __align__(1024) unsigned char shared[];
  uint64_t* barrier = reinterpret_cast<uint64_t*>(shared + MOST);
  if (threadIdx.x == 0) {
    barrier_init(barrier, 1);
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    barrier_expect(barrier, bytes);
    if (RANK == 2) tma_load_2d(shared, map, x, y, barrier);
    if (RANK == 3) tma_load_3d(shared, map, x, y, z, barrier);
    if (RANK == 4) tma_load_4d(shared, map, x, y, z, w, barrier);
  }
  barrier_wait(barrier, 0);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) out[i] = shared[i];
}

extern "C" __global__ void conform_tma_load_2d(unsigned char* out, const __grid_constant__ tensor_map map,
                                               int x, int y, int z, int w, int bytes) {
  conform_tma_load<2>(out, &map, x, y, z, w, bytes);
}

extern "C" __global__ void conform_tma_load_3d(unsigned char* out, const __grid_constant__ tensor_map map,
                                               int x, int y, int z, int w, int bytes) {
  conform_tma_load<3>(out, &map, x, y, z, w, bytes);
}

extern "C" __global__ void conform_tma_load_4d(unsigned char* out, const __grid_constant__ tensor_map map,
                                               int x, int y, int z, int w, int bytes) {
  conform_tma_load<4>(out, &map, x, y, z, w, bytes);
}

// Stores a tile whose bytes are given as they lie in shared memory.
template <int RANK>
DEVICE void conform_tma_store(const tensor_map* map, const unsigned char* in, int x, int y, int z, int bytes) {
  extern __shared__ __align__(1024) unsigned char shared[];
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) shared[i] = in[i];
  fence_async_proxy();
  __syncthreads();
  if (threadIdx.x == 0) {
    if (RANK == 2) tma_store_2d(map, shared, x, y);
    if (RANK == 3) tma_store_3d(map, shared, x, y, z);
    tma_store_commit();
    tma_store_wait<0>();
  }
}

extern "C" __global__ void conform_tma_store_2d(const __grid_constant__ tensor_map map, const unsigned char* in,
                                                int x, int y, int z, int bytes) {
  conform_tma_store<2>(&map, in, x, y, z, bytes);
}

extern "C" __global__ void conform_tma_store_3d(const __grid_constant__ tensor_map map, const unsigned char* in,
                                                int x, int y, int z, int bytes) {
  conform_tma_store<3>(&map, in, x, y, z, bytes);
}

// d (128 threads x N / 2) = a b + c, the factors' bytes as they lie in shared memory: A first (at most
// 8,192 bytes), B from byte 8,192 on. 32 of K: two instructions in one group.
template <int N, typename T, int transpose_a, int transpose_b>
DEVICE void conform_wgmma(float* d, const unsigned char* factors, const float* c, int bytes) {
  extern __shared__ __align__(1024) unsigned char shared[];
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) shared[i] = factors[i];
  fence_async_proxy();
  __syncthreads();
  float sums[N / 2];
#pragma unroll
  for (int i = 0; i < N / 2; i++) sums[i] = c[threadIdx.x * (N / 2) + i];
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 2; k++) {
    const uint64_t a = wgmma_descriptor(shared + k * (transpose_a ? 2048 : 32));
    const uint64_t b = wgmma_descriptor(shared + 8192 + k * (transpose_b ? 2048 : 32), 8192);
    wgmma<N, T, transpose_a, transpose_b>(sums, a, b, 1);
  }
  wgmma_commit();
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < N / 2; i++) d[threadIdx.x * (N / 2) + i] = sums[i];
}

// The same with A from registers (128 threads x 2 steps x 4), and the first step not accumulating.
template <int N, typename T, int transpose_b>
DEVICE void conform_wgmma_registers(float* d, const uint32_t* a, const unsigned char* factors, int bytes) {
  extern __shared__ __align__(1024) unsigned char shared[];
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) shared[i] = factors[i];
  fence_async_proxy();
  __syncthreads();
  float sums[N / 2];
  uint32_t left[2][4];
#pragma unroll
  for (int i = 0; i < N / 2; i++) sums[i] = 1.0f;  // which the first step throws away
#pragma unroll
  for (int i = 0; i < 8; i++) left[i / 4][i % 4] = a[threadIdx.x * 8 + i];
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 2; k++) {
    const uint64_t b = wgmma_descriptor(shared + 8192 + k * (transpose_b ? 2048 : 32), 8192);
    wgmma_registers<N, T, transpose_b>(sums, left[k], b, k);
  }
  wgmma_commit();
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < N / 2; i++) d[threadIdx.x * (N / 2) + i] = sums[i];
}

#define CONFORM(N, T, A, B)                                                                             \
  extern "C" __global__ void __launch_bounds__(128) conform_wgmma_##N##_##T##_##A##B(                   \
      float* d, const unsigned char* factors, const float* c, int bytes) {                              \
    conform_wgmma<N, T, A, B>(d, factors, c, bytes);                                                    \
  }
#define CONFORM_REGISTERS(N, T, B)                                                                      \
  extern "C" __global__ void __launch_bounds__(128) conform_wgmma_registers_##N##_##T##_##B(            \
      float* d, const uint32_t* a, const unsigned char* factors, int bytes) {                           \
    conform_wgmma_registers<N, T, B>(d, a, factors, bytes);                                             \
  }
CONFORM(64, bf16, 0, 0)
CONFORM(64, f16, 1, 0)
CONFORM(128, bf16, 0, 1)
CONFORM(128, f16, 1, 1)
CONFORM(192, f16, 0, 0)
CONFORM(192, bf16, 1, 1)
CONFORM(256, bf16, 0, 0)
CONFORM(256, f16, 0, 1)
CONFORM_REGISTERS(64, bf16, 0)
CONFORM_REGISTERS(128, f16, 1)
CONFORM_REGISTERS(256, bf16, 1)

// Two warps hand 32 numbers over and back by named barriers; then the block's phases of an mbarrier.
extern "C" __global__ void __launch_bounds__(64) conform_barriers(int* out) {
  __shared__ int box[32];
  __shared__ uint64_t barrier;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    barrier_init(&barrier, 64);
    barrier_init_fence();
  }
  __syncthreads();
  if (warp == 0) {
    box[lane] = 3 * lane + 1;
    named_barrier_arrive(1, 64);
    named_barrier_sync(2, 64);
    out[lane] = box[lane];
  } else {
    named_barrier_sync(1, 64);
    const int got = box[31 - lane];
    named_barrier_sync(3, 32);
    box[lane] = got;
    named_barrier_arrive(2, 64);
  }
  __syncthreads();
  for (int phase = 0; phase < 4; phase++) {
    if (threadIdx.x == 63 - phase) box[phase] = 100 + phase;
    barrier_arrive(&barrier);
    barrier_wait(&barrier, phase % 2);
    if (threadIdx.x == 0) out[32 + phase] = box[phase];
  }
}
