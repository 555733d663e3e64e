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
// C leaves by TMA as well. A warp packs 128 bytes of each of its 16 rows into a slab of shared memory, and
// one lane has them copied, without what lies beyond the matrix; its second slab fills meanwhile. Stored
// from registers, a row of a fragment would be half a sector, and the other half another store's. Rows
// of C that are no multiples of 16 bytes TMA does not take: those are stored so (STAGED 0).
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
// With FACTOR_PARTS 3 it multiplies float32 numbers, each the sum of three bfloat16 ones that `matmul_parts`
// has laid out as three matrices: six products of them for each step, from three times the tiles in two
// buffers.
//
// Over the mma rung: no instruction of a multiplying warp is spent on loads or addresses, and each
// element of shared memory is read once for 64 or BN products instead of 16 or 8 times.
#include "hopper.cuh"
#include "matmul.cuh"

#ifndef BN
#define BN 128  // 64, 128, 192 or 256
#endif
#ifndef FACTOR_PARTS
#define FACTOR_PARTS 1  // 3: the factors are parts of float32 numbers (matmul_parts.cuh)
#endif
#ifndef STAGES
#define STAGES (FACTOR_PARTS == 1 ? 4 : 2)
#endif
#ifndef STAGED
#define STAGED 1
#endif

constexpr int BM = 128, BK = 64;
constexpr int SLAB = 64 * 64;                       // elements
constexpr int A_TILE = BM * BK, B_TILE = BN * BK;  // elements
constexpr int STAGE = FACTOR_PARTS * (A_TILE + B_TILE);    // a tile for each part
constexpr int STAGE_BYTES = STAGE * sizeof(IN);

constexpr int CONSUMER_WARPS = 8;
constexpr int OUT_SLAB = 16 * 128;            // bytes; each of these warps has two
constexpr int OUT_WIDTH = 128 / sizeof(OUT);  // columns
constexpr int OUT_FRAGMENTS = OUT_WIDTH / 8;

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

// Starts the four products of a step by one tile of each factor; `fresh` ones begin the sums.
DEVICE void multiply(float (&sums)[BN / 2], const IN* a_tile, const IN* b_tile, bool fresh) {
#pragma unroll
  for (int i = 0; i < BK / 16; i++) {
    const uint64_t a = wgmma_descriptor(a_tile + i * (TRANSPOSE_A ? 16 * 64 : 16));
    const uint64_t b = wgmma_descriptor(b_tile + i * (TRANSPOSE_B ? 16 : 16 * 64), SLAB * sizeof(IN));
    wgmma<BN, IN, TRANSPOSE_A, !TRANSPOSE_B>(sums, a, b, !fresh || i > 0);
  }
}

// A step of six products of parts, the smallest first, to a sum that begins at 0: the tensor cores do not
// round to nearest, and what is added to the sum over k by ordinary arithmetic they cannot bend.
DEVICE void multiply_parts(float (&sums)[BN / 2], const IN* a_tiles, const IN* b_tiles) {
  float of_step[BN / 2];
  wgmma_fence();
#pragma unroll
  for (int both = FACTOR_PARTS - 1; both >= 0; both--) {  // the parts' numbers added: 2 is the smallest
#pragma unroll
    for (int p = 0; p <= both; p++) {
      const bool fresh = both == FACTOR_PARTS - 1 && p == 0;
      multiply(of_step, a_tiles + p * A_TILE, b_tiles + (both - p) * B_TILE, fresh);
    }
  }
  wgmma_commit();
  wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < BN / 2; i++) sums[i] += of_step[i];
}

// A lane's pairs, two of each fragment, to their places in a slab; the swizzle of the first is that of
// the others, but for the bits that count fragments. A row's pairs of floats span two of the pieces of 16
// bytes that the swizzle exchanges, and two rows would meet in a bank: odd ones put another fragment
// there at the same time.
DEVICE void fill_slab(unsigned char* slab, const packed<OUT, 2> (&pairs)[OUT_FRAGMENTS][2]) {
  const int lane = threadIdx.x % 32;
  const bool other = sizeof(OUT) == 4 && lane / 4 % 2;
  const int fragment = 8 * sizeof(OUT), pair = 2 * sizeof(OUT);  // bytes
  const int place = swizzled_place(lane / 4 * 128 + lane % 4 * pair) ^ (other ? 2 * fragment : 0);
#pragma unroll
  for (int j = 0; j < OUT_FRAGMENTS; j++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const packed<OUT, 2> two = other ? pairs[j ^ 2][half] : pairs[j][half];
      store_packed(reinterpret_cast<OUT*>(slab + (place ^ j * fragment) + half * 8 * 128), two);
    }
  }
}

// The maps of C and of its slope are not read where they are not STAGED, or there is no slope.
extern "C" __global__ void __launch_bounds__(384, 1)
matmul_wgmma(const __grid_constant__ tensor_map a_map, const __grid_constant__ tensor_map b_map,
             const __grid_constant__ tensor_map c_map, const __grid_constant__ tensor_map slope_map,
             OUT* c, const OUT* bias, OUT* slope, const OUT* scale, const OUT* residual,
             float* column_sums, int M, int N, int K, int64_t ldc, int64_t c_batch, int batches,
             int splits) {
  extern __shared__ __align__(1024) unsigned char shared[];
  IN* stages = reinterpret_cast<IN*>(shared);
  unsigned char* slabs = shared + STAGES * STAGE_BYTES;
  uint64_t* full = reinterpret_cast<uint64_t*>(slabs + CONSUMER_WARPS * 2 * OUT_SLAB);
  uint64_t* empty = full + STAGES;
  const int warpgroup = threadIdx.x / 128;
  const int tiles = ceil_div(M, BM) * ceil_div(N, BN) * batches * splits;

  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) {
      barrier_init(&full[s], 1);
      barrier_init(&empty[s], CONSUMER_WARPS);
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
        IN* a_tile = stages + s * STAGE;
        IN* b_tile = a_tile + FACTOR_PARTS * A_TILE;
        barrier_wait(&empty[s], step / STAGES % 2 ^ 1);
        barrier_expect(&full[s], STAGE_BYTES);
        for (int p = 0; p < FACTOR_PARTS; p++) {
          const int z = p * batches + at.z / splits;
          load_factor(a_tile + p * A_TILE, &a_map, !TRANSPOSE_A, at.m, k, z, BM / 64, &full[s]);
          load_factor(b_tile + p * B_TILE, &b_map, TRANSPOSE_B, at.n, k, z, BN / 64, &full[s]);
        }
      }
    }
    return;
  }

  registers_increase<232>();
  const int consumer = warpgroup - 1, warp = threadIdx.x / 32 - 4, lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4, pair = lane % 4 * 2;  // where a lane's results begin
  unsigned char* slab = slabs + warp * 2 * OUT_SLAB;
  // The second slab is the slope's, or keeps the warp's sums over its rows; else it is C's in turn.
  const bool one_slab = GRADIENT || SLOPE;
#if GRADIENT
  float* column_parts = reinterpret_cast<float*>(slab + OUT_SLAB);
#endif
  const epilogue end = {bias, slope, scale, residual, column_sums};
  int step = 0, turn = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const tile_place at = place_of<BM, BN>(tile, M, N);
    const part_of_k part = split_k<BK>(K, at.z % splits, splits);
    float sums[BN / 2];
#pragma unroll
    for (int i = 0; i < BN / 2; i++) sums[i] = 0.0f;
    for (int k = part.begin; k < part.end; k += BK, step++) {
      const int s = step % STAGES;
      const IN* a_tile = stages + s * STAGE + consumer * SLAB;  // its 64 rows
      const IN* b_tile = stages + s * STAGE + FACTOR_PARTS * A_TILE;
      barrier_wait(&full[s], step / STAGES % 2);
#if FACTOR_PARTS == 1
      wgmma_fence();
      multiply(sums, a_tile, b_tile, false);
      wgmma_commit();
      if (k > part.begin) {
        wgmma_wait<1>();  // the step before is done, and its buffer free
        if (lane == 0) barrier_arrive(&empty[(step - 1) % STAGES]);
      }
#else
      multiply_parts(sums, a_tile, b_tile);
      if (lane == 0) barrier_arrive(&empty[s]);
#endif
    }
#if FACTOR_PARTS == 1
    wgmma_wait<0>();
    if (part.begin < part.end && lane == 0) barrier_arrive(&empty[(step - 1) % STAGES]);
#endif

#if GRADIENT
    named_barrier_sync(1, 32 * CONSUMER_WARPS);  // the last tile's parts are added
#endif
#pragma unroll
    for (int first = 0; first < BN; first += OUT_WIDTH) {
      // What the results of a slab need of memory, all asked for before any is waited for. Beyond the
      // edge of C it is that of its last row and columns: loads without a branch around each.
      packed<OUT, 2> shifts[OUT_FRAGMENTS];
      operands with[OUT_FRAGMENTS][2];
      if (STAGED) {
#pragma unroll
        for (int j = 0; j < OUT_FRAGMENTS; j++) {
          const int n = min(at.n + first + 8 * j + pair, N - 2);
          shifts[j] = end.load_shift(n);
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const int m = min(at.m + row + 8 * half, M - 1);
            with[j][half] = end.load_two(at.z * c_batch + m * ldc + n);
          }
        }
      }
      packed<OUT, 2> results[OUT_FRAGMENTS][2], slopes[OUT_FRAGMENTS][2];
#pragma unroll
      for (int j = 0; j < OUT_FRAGMENTS; j++) {
        const int column = first + 8 * j, n = at.n + column + pair;
        float columns[2] = {};
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int m = at.m + row + 8 * half;
          float two[2] = {sums[column / 2 + 2 * half], sums[column / 2 + 2 * half + 1]};
          if (STAGED) {
            float derivatives[2];
            end.apply_two(shifts[j], with[j][half], two, derivatives);
            results[j][half] = pack<OUT>(two);
            slopes[j][half] = pack<OUT>(derivatives);
          } else if (m < M) {
            end.store_two(c, at.z * c_batch + m * ldc + n, n, N, two);
          }
          if (!GRADIENT || m >= M) continue;
          columns[0] += two[0];
          columns[1] += two[1];
        }
#if GRADIENT
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float sum = over_fragment_rows(columns[i]);
          if (lane < 4) column_parts[column + 2 * lane + i] = sum;
        }
#endif
      }
      if (STAGED) {
        unsigned char* target = one_slab ? slab : slab + turn * OUT_SLAB;
        turn ^= 1;
        if (lane == 0) one_slab ? tma_store_wait<0>() : tma_store_wait<1>();
        __syncwarp();  // what was here has been copied
        fill_slab(target, results);
        if (SLOPE) fill_slab(slab + OUT_SLAB, slopes);
        fence_async_proxy();
        __syncwarp();
        if (lane == 0) {
          tma_store_3d(&c_map, target, at.n + first, at.m + 16 * warp, at.z);
          if (SLOPE) tma_store_3d(&slope_map, slab + OUT_SLAB, at.n + first, at.m + 16 * warp, at.z);
          tma_store_commit();
        }
      }
    }
#if GRADIENT
    named_barrier_sync(1, 32 * CONSUMER_WARPS);
    const float* parts = reinterpret_cast<const float*>(slabs + OUT_SLAB);
    end.store_sums<CONSUMER_WARPS, BN, 2 * OUT_SLAB / 4>(parts, at, BM, N, threadIdx.x - 128, 256);
#endif
  }
  if (STAGED && lane == 0) tma_store_wait<0>();
}
