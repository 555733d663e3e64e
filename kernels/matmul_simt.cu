// Matrix products on ordinary arithmetic, for every GPU: a ladder of three rungs.
//
//   naive      one thread an element of C, everything from memory
//   tiled      tiles of A and B go through shared memory: TILE times fewer bytes from memory
//   registers  each thread has 8 x 8 elements of C: 8 times fewer bytes from shared memory
//
// 2 M N K floating-point operations each; sums are float32 whatever the types are. matmul.cuh says
// what A, B, C, batches, splits and the epilogue are.
#include "matmul.cuh"
#include "matmul_slices.cuh"

DEVICE const IN* element_a(const IN* a, int64_t lda, int m, int k) {
  return TRANSPOSE_A ? a + k * lda + m : a + m * lda + k;
}

DEVICE const IN* element_b(const IN* b, int64_t ldb, int k, int n) {
  return TRANSPOSE_B ? b + n * ldb + k : b + k * ldb + n;
}

// ---- naive ---------------------------------------------------------------------------------------
//
// Block of 16 x 16 threads, a thread an element of C. Every element of A is read N times and every
// one of B M times: 8 bytes for 2 operations, where a GPU has some 60 operations for a byte. What
// saves it from being slower still are the caches.

extern "C" __global__ void __launch_bounds__(256)
matmul_naive(const IN* a, const IN* b, OUT* c, const OUT* bias, OUT* slope, const OUT* scale,
             const OUT* residual, float* column_sums, int M, int N, int K, int64_t lda,
             int64_t ldb, int64_t ldc, int64_t a_batch, int64_t b_batch, int64_t c_batch,
             int splits) {
  const tile_place at = place_of<16, 16>(blockIdx.x, M, N);
  const int m = at.m + threadIdx.y, n = at.n + threadIdx.x;
  a += at.z / splits * a_batch;
  b += at.z / splits * b_batch;
  const part_of_k part = split_k<16>(K, at.z % splits, splits);
  const epilogue end = {bias, slope, scale, residual, column_sums};
  float sum = 0.0f;
  if (m < M && n < N) {
    for (int k = part.begin; k < part.end; k++) {
      sum += to_float(*element_a(a, lda, m, k)) * to_float(*element_b(b, ldb, k, n));
    }
    sum = end.store(c, at.z * c_batch + m * ldc + n, n, sum);
  }
#if GRADIENT
  __shared__ float parts[16][16];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  end.store_sums<16, 16>(parts[0], at, 16, N, threadIdx.y * 16 + threadIdx.x, 256);
#endif
}

// ---- tiled ---------------------------------------------------------------------------------------
//
// Block of 32 x 8 threads, a tile of 32 x 32 of C, K in steps of 32: each thread loads 4 elements of
// A and 4 of B, then adds 32 products to each of its 4 sums. Shared memory: rows of 33 floats, so
// that reading a column, and writing one, meets 32 different banks. From memory now 8 bytes for 64
// operations, but each product still reads two floats from shared memory.

constexpr int TILE = 32;

extern "C" __global__ void __launch_bounds__(256)
matmul_tiled(const IN* a, const IN* b, OUT* c, const OUT* bias, OUT* slope, const OUT* scale,
             const OUT* residual, float* column_sums, int M, int N, int K, int64_t lda,
             int64_t ldb, int64_t ldc, int64_t a_batch, int64_t b_batch, int64_t c_batch,
             int splits) {
  __shared__ float a_tile[TILE][TILE + 1], b_tile[TILE][TILE + 1];  // [m][k], [k][n]
  const int x = threadIdx.x, y = threadIdx.y;
  const tile_place at = place_of<TILE, TILE>(blockIdx.x, M, N);
  a += at.z / splits * a_batch;
  b += at.z / splits * b_batch;
  const part_of_k part = split_k<TILE>(K, at.z % splits, splits);
  float sums[4] = {};
  for (int first_k = part.begin; first_k < part.end; first_k += TILE) {
#pragma unroll
    for (int i = 0; i < TILE; i += 8) {
      // x runs along the axis in which neighbours are neighbours in memory.
      const int am = TRANSPOSE_A ? x : y + i, ak = TRANSPOSE_A ? y + i : x;
      const int bk = TRANSPOSE_B ? x : y + i, bn = TRANSPOSE_B ? y + i : x;
      const bool in_a = at.m + am < M && first_k + ak < part.end;
      const bool in_b = first_k + bk < part.end && at.n + bn < N;
      a_tile[am][ak] = in_a ? to_float(*element_a(a, lda, at.m + am, first_k + ak)) : 0.0f;
      b_tile[bk][bn] = in_b ? to_float(*element_b(b, ldb, first_k + bk, at.n + bn)) : 0.0f;
    }
    __syncthreads();
#pragma unroll 8
    for (int k = 0; k < TILE; k++) {
#pragma unroll
      for (int i = 0; i < 4; i++) sums[i] += a_tile[y + 8 * i][k] * b_tile[k][x];
    }
    __syncthreads();
  }
  const epilogue end = {bias, slope, scale, residual, column_sums};
  float column = 0.0f;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int m = at.m + y + 8 * i, n = at.n + x;
    if (m < M && n < N) column += end.store(c, at.z * c_batch + m * ldc + n, n, sums[i]);
  }
#if GRADIENT
  float* parts = a_tile[0];  // which nobody reads any more
  parts[y * TILE + x] = column;
  __syncthreads();
  end.store_sums<8, TILE>(parts, at, TILE, N, y * TILE + x, 256);
#endif
}

// ---- registers -----------------------------------------------------------------------------------
//
// Block of 256 threads, a tile of 128 x 128 of C, K in steps of 8. A thread has 8 x 8 elements of C in
// registers: rows 4 ty .. 4 ty + 3 and 64 further down, columns likewise, so that a warp's 16-byte
// reads of shared memory lie side by side. For each k it reads 16 floats and makes 64 products. While
// a step is computed the next one's elements are on their way from memory to registers, and shared
// memory is double, so that there is one barrier a step.

constexpr int BM = 128, BN = 128, BK = 8;

// A slice in shared memory: [k][128].
template <bool along_k>
DEVICE void put(float (&tile)[BK][BM + 4], const slice<along_k, BK>& from) {
#pragma unroll
  for (int i = 0; i < from.LOADS; i++) {
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      const int line = from.line(i), place = from.place(i) + j;
      tile[along_k ? place : line][along_k ? line : place] = from.values[i][j];
    }
  }
}

DEVICE void read_four(float (&to)[8], int at, const float* from) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  to[at] = four.x;
  to[at + 1] = four.y;
  to[at + 2] = four.z;
  to[at + 3] = four.w;
}

extern "C" __global__ void __launch_bounds__(256, 1)
matmul_registers(const IN* a, const IN* b, OUT* c, const OUT* bias, OUT* slope, const OUT* scale,
                 const OUT* residual, float* column_sums, int M, int N, int K, int64_t lda,
                 int64_t ldb, int64_t ldc, int64_t a_batch, int64_t b_batch, int64_t c_batch,
                 int splits) {
  __shared__ __align__(16) float a_tile[2][BK][BM + 4], b_tile[2][BK][BN + 4];
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  const tile_place at = place_of<BM, BN>(blockIdx.x, M, N);
  a += at.z / splits * a_batch + (TRANSPOSE_A ? at.m : at.m * lda);
  b += at.z / splits * b_batch + (TRANSPOSE_B ? at.n * ldb : at.n);
  const part_of_k part = split_k<BK>(K, at.z % splits, splits);

  slice<!TRANSPOSE_A, BK> a_next;
  slice<TRANSPOSE_B, BK> b_next;
  float sums[8][8] = {};
  a_next.load(a, lda, M - at.m, part.begin, part.end);
  b_next.load(b, ldb, N - at.n, part.begin, part.end);
  int stage = 0;
  for (int k = part.begin; k < part.end; k += BK, stage ^= 1) {
    put(a_tile[stage], a_next);
    put(b_tile[stage], b_next);
    __syncthreads();  // the stage is written; the other one is read, since all have come here
    if (k + BK < part.end) {
      a_next.load(a, lda, M - at.m, k + BK, part.end);
      b_next.load(b, ldb, N - at.n, k + BK, part.end);
    }
#pragma unroll
    for (int i = 0; i < BK; i++) {
      float x[8], y[8];
      read_four(x, 0, &a_tile[stage][i][4 * ty]);
      read_four(x, 4, &a_tile[stage][i][64 + 4 * ty]);
      read_four(y, 0, &b_tile[stage][i][4 * tx]);
      read_four(y, 4, &b_tile[stage][i][64 + 4 * tx]);
#pragma unroll
      for (int m = 0; m < 8; m++) {
#pragma unroll
        for (int n = 0; n < 8; n++) sums[m][n] += x[m] * y[n];
      }
    }
  }

  const epilogue end = {bias, slope, scale, residual, column_sums};
  float columns[8] = {};
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int m = at.m + 4 * ty + i % 4 + 64 * (i / 4);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const int n = at.n + 4 * tx + j % 4 + 64 * (j / 4);
      if (m < M && n < N) columns[j] += end.store(c, at.z * c_batch + m * ldc + n, n, sums[i][j]);
    }
  }
#if GRADIENT
  float* parts = a_tile[0][0];  // (8 warps, BN)
  __syncthreads();              // the last stage is read
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const float column = columns[j] + __shfl_xor_sync(0xFFFFFFFFu, columns[j], 16);  // two ty a warp
    if (ty % 2 == 0) parts[ty / 2 * BN + 4 * tx + j % 4 + 64 * (j / 4)] = column;
  }
  __syncthreads();
  end.store_sums<8, BN>(parts, at, BM, N, threadIdx.x, 256);
#endif
}

// ---- the parts of a split product ----------------------------------------------------------------
//
// parts (batch, splits, M, N) in float32 -> C, with the epilogue. A thread an element, in order.

extern "C" __global__ void __launch_bounds__(256)
add_splits(const float* parts, OUT* c, const OUT* bias, OUT* slope, const OUT* scale,
           const OUT* residual, int M, int N, int64_t ldc, int64_t c_batch, int batches, int splits) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  const int64_t size = static_cast<int64_t>(M) * N, batch = i / size, within = i % size;
  if (batch >= batches) return;
  float sum = 0.0f;
  for (int split = 0; split < splits; split++) sum += parts[(batch * splits + split) * size + within];
  const int64_t m = within / N;
  const int n = within % N;
  const epilogue end = {bias, slope, scale, residual, nullptr};
  end.store(c, batch * c_batch + m * ldc + n, n, sum);
}
