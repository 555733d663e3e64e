// Matrix products on Hopper (sm_90a): the tensor cores read their factors from shared memory, and a
// warp that computes nothing keeps that filled.
//
// Block of 384 threads, one an SM: warpgroup 0 is the producer, warpgroups 1 and 2 each compute 64 rows
// of a tile of 128 x BN of C, in BN / 2 registers a thread. K in steps of 64 through a ring of STAGES
// buffers, each with two barriers: `full`, on which TMA counts the bytes that have come, and `empty`,
// on which the consumers say that they have read. One thread of the producer does nothing but wait for
// an empty buffer and start the copies of its two tiles; a consumer waits for a full one, starts four
// wgmma of 64 x BN x 16, and frees the buffer before it, whose products are done by then. The producer
// gives its registers to the consumers.
//
// Persistent: a block walks over tiles, gridDim.x apart, so that the copies of the next tile's first
// steps run while this one's results are stored. Tiles are numbered down groups of 8 rows of tiles:
// what runs at the same time then shares rows of A and columns of B in the second-level cache.
//
// Shared memory, in the 128-byte swizzle that TMA writes and wgmma reads: a factor along k is a tile of
// rows of 64 of k; one that lies across k is slabs of 64 rows of k and 64 columns (8,192 bytes).
// Tiles beyond the edge of a matrix are filled with zeros by TMA. Rows of A and B begin at multiples
// of 16 bytes.
//
// Over the mma rung: no instruction of a multiplying warp is spent on loads or addresses, and each
// element of shared memory is read once for 64 or BN products instead of 16 or 8 times.
#include "hopper.cuh"
#include "matmul.cuh"

#ifndef BN
#define BN 128  // 64, 128 or 256
#endif
#ifndef STAGES
#define STAGES 4
#endif

constexpr int BM = 128, BK = 64;
constexpr int SLAB = 64 * 64;                       // elements
constexpr int A_TILE = BM * BK, B_TILE = BN * BK;  // elements
constexpr int STAGE_BYTES = (A_TILE + B_TILE) * sizeof(IN);

// One thread's copies of a step: `slabs` boxes of 64 x 64 side by side, or one box of whole rows.
DEVICE void load_factor(IN* tile, const tensor_map* map, bool along_k, int first, int k, int batch,
                        int slabs, uint64_t* full) {
  if (along_k) {
    tma_load_3d(tile, map, k, first, batch, full);
  } else {
    for (int i = 0; i < slabs; i++) {
      tma_load_3d(tile + i * SLAB, map, first + 64 * i, k, batch, full);
    }
  }
}

extern "C" __global__ void __launch_bounds__(384, 1)
matmul_wgmma(const __grid_constant__ tensor_map a_map, const __grid_constant__ tensor_map b_map, OUT* c,
             const OUT* bias, OUT* slope, const OUT* scale, const OUT* residual, float* column_sums, int M,
             int N, int K, int64_t ldc, int64_t c_batch, int batches, int splits) {
  extern __shared__ __align__(1024) unsigned char shared[];
  IN* stages = reinterpret_cast<IN*>(shared);
  uint64_t* full = reinterpret_cast<uint64_t*>(shared + STAGES * STAGE_BYTES);
  uint64_t* empty = full + STAGES;
  const int warpgroup = threadIdx.x / 128;
  const int tiles = ceil_div(M, BM) * ceil_div(N, BN) * batches * splits;

  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) {
      barrier_init(&full[s], 1);
      barrier_init(&empty[s], 8);  // the consumers' warps
    }
    barrier_init_fence();
  }
  __syncthreads();

  if (warpgroup == 0) {
    registers_decrease<40>();
    if (threadIdx.x != 0) return;
    int step = 0;  // of all tiles
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const tile_place at = place_of<BM, BN>(tile, M, N);
      const part_of_k part = split_k<BK>(K, at.z % splits, splits);
      for (int k = part.begin; k < part.end; k += BK, step++) {
        const int s = step % STAGES;
        IN* buffer = stages + s * (A_TILE + B_TILE);
        barrier_wait(&empty[s], step / STAGES % 2 ^ 1);
        barrier_expect(&full[s], STAGE_BYTES);
        load_factor(buffer, &a_map, !TRANSPOSE_A, at.m, k, at.z / splits, BM / 64, &full[s]);
        load_factor(buffer + A_TILE, &b_map, TRANSPOSE_B, at.n, k, at.z / splits, BN / 64, &full[s]);
      }
    }
    return;
  }

  registers_increase<232>();
  const int consumer = warpgroup - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const epilogue end = {bias, slope, scale, residual, column_sums};
  int step = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const tile_place at = place_of<BM, BN>(tile, M, N);
    const part_of_k part = split_k<BK>(K, at.z % splits, splits);
    float sums[BN / 2];
#pragma unroll
    for (int i = 0; i < BN / 2; i++) sums[i] = 0.0f;
    for (int k = part.begin; k < part.end; k += BK, step++) {
      const int s = step % STAGES;
      const IN* a_tile = stages + s * (A_TILE + B_TILE) + consumer * SLAB;  // its 64 rows
      const IN* b_tile = stages + s * (A_TILE + B_TILE) + A_TILE;
      barrier_wait(&full[s], step / STAGES % 2);
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < BK / 16; i++) {
        const uint64_t a = wgmma_descriptor(a_tile + i * (TRANSPOSE_A ? 16 * 64 : 16));
        const uint64_t b = wgmma_descriptor(b_tile + i * (TRANSPOSE_B ? 16 : 16 * 64), SLAB * sizeof(IN));
        wgmma<BN, IN, TRANSPOSE_A, !TRANSPOSE_B>(sums, a, b, 1);
      }
      wgmma_commit();
      if (k > part.begin) {
        wgmma_wait<1>();  // the step before is done, and its buffer free
        if (lane == 0) barrier_arrive(&empty[(step - 1) % STAGES]);
      }
    }
    wgmma_wait<0>();
    if (part.begin < part.end && lane == 0) barrier_arrive(&empty[(step - 1) % STAGES]);

#if GRADIENT
    float* parts = reinterpret_cast<float*>(empty + STAGES);  // (8 warps, BN)
    named_barrier_sync(1, 256);                               // the last tile's are added
#endif
#pragma unroll
    for (int i = 0; i < BN / 2; i += 4) {
      const int n = at.n + 2 * i + lane % 4 * 2;
      float columns[2] = {};
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int m = at.m + 64 * consumer + 16 * warp + lane / 4 + 8 * half;
        if (m >= M) continue;
        float two[2] = {sums[i + 2 * half], sums[i + 2 * half + 1]};
        end.store_two(c, at.z * c_batch + m * ldc + n, n, N, two);
        columns[0] += two[0];
        columns[1] += two[1];
      }
#if GRADIENT
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const float column = over_fragment_rows(columns[j]);
        if (lane < 4) parts[(4 * consumer + warp) * BN + 2 * i + 2 * lane + j] = column;
      }
#endif
    }
#if GRADIENT
    named_barrier_sync(1, 256);
    end.store_sums<8, BN>(parts, at, BM, N, threadIdx.x - 128, 256);
#endif
  }
}
