// Matrix products of float32 numbers on tensor cores (sm_80 and later), to the accuracy of float32.
//
// Of three bfloat16 numbers each (matmul_parts.cuh), six products are multiplied.
//
// Tensor cores add without rounding to nearest, and their errors would have a sign (Ootomo and Yokota
// 2022, arXiv:2203.03341): so they add the six products of 16 of k to a sum that begins at 0, and
// ordinary arithmetic adds that to the sum over k.
//
// Block of 256 threads, a tile of 128 x 128 of C; 8 warps as 2 x 4, each with 64 x 32 elements. K in
// steps of 16: while one is multiplied the next is on its way to registers, and is split on its way
// to shared memory, which is double. Shared memory: three tiles of parts for each factor, with rows
// padded as in matmul_mma.cu.
//
// Six times the operations of the mma rung, at 16 times the rate of ordinary arithmetic: at most 2.6
// times as fast as the registers rung.
#include "matmul_fragments.cuh"
#include "matmul_parts.cuh"
#include "matmul_slices.cuh"

constexpr int BK = 16, PAD = 8;
constexpr int A_ROW = (TRANSPOSE_A ? BM : BK) + PAD, A_TILE = A_ROW * (TRANSPOSE_A ? BK : BM);
constexpr int B_ROW = (TRANSPOSE_B ? BK : BN) + PAD, B_TILE = B_ROW * (TRANSPOSE_B ? BN : BK);
constexpr int STAGE = PARTS * (A_TILE + B_TILE);  // elements

// The parts of a slice in shared memory: PARTS tiles of rows of ROW elements, each TILE elements.
template <int ROW, int TILE, bool along_k>
DEVICE void put(bf16* tiles, const slice<along_k, BK>& from) {
#pragma unroll
  for (int i = 0; i < from.LOADS; i++) {
    packed<bf16, VECTOR> vectors[PARTS];
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      bf16 parts[PARTS];
      split(parts, from.values[i][j]);
#pragma unroll
      for (int p = 0; p < PARTS; p++) vectors[p].element[j] = parts[p];
    }
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
      store_packed(tiles + p * TILE + from.line(i) * ROW + from.place(i), vectors[p]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
matmul_splits(const IN* a, const IN* b, OUT* c, const OUT* bias, OUT* slope, const OUT* scale,
              const OUT* residual, float* column_sums, int M, int N, int K, int64_t lda, int64_t ldb,
              int64_t ldc, int64_t a_batch, int64_t b_batch, int64_t c_batch, int splits) {
  extern __shared__ __align__(16) unsigned char shared[];
  bf16* stages = reinterpret_cast<bf16*>(shared);
  const tile_place at = place_of<BM, BN>(blockIdx.x, M, N);
  a += at.z / splits * a_batch + (TRANSPOSE_A ? at.m : at.m * lda);
  b += at.z / splits * b_batch + (TRANSPOSE_B ? at.n * ldb : at.n);
  const part_of_k part = split_k<BK>(K, at.z % splits, splits);

  slice<!TRANSPOSE_A, BK> a_next;
  slice<TRANSPOSE_B, BK> b_next;
  float sums[4][4][4] = {};
  a_next.load(a, lda, M - at.m, part.begin, part.end);
  b_next.load(b, ldb, N - at.n, part.begin, part.end);
  int stage = 0;
  for (int k = part.begin; k < part.end; k += BK, stage ^= 1) {
    bf16* a_tiles = stages + stage * STAGE;
    bf16* b_tiles = a_tiles + PARTS * A_TILE;
    put<A_ROW, A_TILE>(a_tiles, a_next);
    put<B_ROW, B_TILE>(b_tiles, b_next);
    __syncthreads();  // the stage is written; the other one is read, since all have come here
    if (k + BK < part.end) {
      a_next.load(a, lda, M - at.m, k + BK, part.end);
      b_next.load(b, ldb, N - at.n, k + BK, part.end);
    }
    uint32_t y[PARTS][2][4];
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        read_b<TRANSPOSE_B, B_ROW>(y[p][j], b_tiles + p * B_TILE, warp_column() + 16 * j, 0);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      uint32_t x[PARTS][4];
#pragma unroll
      for (int p = 0; p < PARTS; p++) {
        read_a<TRANSPOSE_A, A_ROW>(x[p], a_tiles + p * A_TILE, warp_row() + 16 * i, 0);
      }
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float step[4] = {};
#pragma unroll
        for (int both = PARTS - 1; both >= 0; both--) {  // the parts' numbers added: 2 is the smallest
#pragma unroll
          for (int p = 0; p <= both; p++) {
            const uint32_t(&four)[4] = y[both - p][j / 2];
            const uint32_t column[2] = {four[j % 2 * 2], four[j % 2 * 2 + 1]};
            mma_m16n8k16<bf16>(step, x[p], column);
          }
        }
#pragma unroll
        for (int e = 0; e < 4; e++) sums[i][j][e] += step[e];
      }
    }
  }
  const epilogue end = {bias, slope, scale, residual, column_sums};
  store_fragments(end, c, sums, at, M, N, ldc, c_batch, shared);
}
