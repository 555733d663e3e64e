// Matrix products on tensor cores by mma.sync: bf16 and f16 with float32 sums, sm_80 and later.
//
// Block of 256 threads, a tile of 128 x 128 of C; 8 warps as 2 x 4, each with 64 x 32 elements: 4 x 4
// fragments of 16 x 8. K in steps of 32, through STAGES buffers that cp.async fills while earlier
// ones are multiplied: for each step a thread starts four copies of 16 bytes, and nothing passes
// through registers on the way.
//
// Shared memory: tiles lie as they do in memory, [128][32] along k or [32][128] across it, in rows
// that are 16 bytes longer than their content: eight rows of a fragment then lie in eight different
// groups of banks. ldmatrix turns what lies across k as it reads it.
//
// Over the registers rung: 16 times the arithmetic of an SM, and half the bytes for an element.
//
// Rows of A and B begin at multiples of 16 bytes and are multiples of 8 elements apart. matmul.cuh
// says what A, B, C, batches, splits and the epilogue are.
#include "matmul_fragments.cuh"

#ifndef STAGES
#define STAGES 3
#endif

constexpr int BK = 32, PAD = 8;
constexpr int A_ROW = (TRANSPOSE_A ? BM : BK) + PAD, A_ROWS = TRANSPOSE_A ? BK : BM;
constexpr int B_ROW = (TRANSPOSE_B ? BK : BN) + PAD, B_ROWS = TRANSPOSE_B ? BN : BK;
constexpr int STAGE = A_ROW * A_ROWS + B_ROW * B_ROWS;  // elements

// Starts the copies of a tile of ROWS x COLUMNS whose first element is (row, column) of a matrix that
// ends at (rows, columns). 16 bytes that the edge cuts are copied by hand, zeros behind the edge.
template <int ROWS, int COLUMNS>
DEVICE void copy_tile(IN* tile, const IN* matrix, int64_t stride, int row, int rows, int column,
                      int columns) {
#pragma unroll
  for (int i = 0; i < ROWS * COLUMNS / 8 / THREADS; i++) {
    const int chunk = threadIdx.x + THREADS * i;
    const int r = chunk / (COLUMNS / 8), c = chunk % (COLUMNS / 8) * 8;
    const bool in_row = row + r < rows;
    const IN* from = matrix + (row + r) * stride + column + c;
    IN* to = tile + r * (COLUMNS + PAD) + c;
    if (in_row && column + c < columns && column + c + 8 > columns) {
      for (int j = 0; j < 8; j++) to[j] = column + c + j < columns ? from[j] : from_float<IN>(0.0f);
    } else {
      const bool inside = in_row && column + c < columns;
      copy_async_16(to, inside ? from : matrix, inside);
    }
  }
}

// a and b at the block's first row and column, of `height` rows and `width` columns from there.
DEVICE void copy_stage(IN* stage, const IN* a, const IN* b, int64_t lda, int64_t ldb, int height,
                       int width, int k, int end_k) {
  if (TRANSPOSE_A) {
    copy_tile<BK, BM>(stage, a, lda, k, end_k, 0, height);
  } else {
    copy_tile<BM, BK>(stage, a, lda, 0, height, k, end_k);
  }
  stage += A_ROW * A_ROWS;
  if (TRANSPOSE_B) {
    copy_tile<BN, BK>(stage, b, ldb, 0, width, k, end_k);
  } else {
    copy_tile<BK, BN>(stage, b, ldb, k, end_k, 0, width);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
matmul_mma(const IN* a, const IN* b, OUT* c, const OUT* bias, OUT* slope, const OUT* scale,
           const OUT* residual, float* column_sums, int M, int N, int K, int64_t lda, int64_t ldb,
           int64_t ldc, int64_t a_batch, int64_t b_batch, int64_t c_batch, int splits) {
  extern __shared__ __align__(16) unsigned char shared[];
  IN* stages = reinterpret_cast<IN*>(shared);
  const tile_place at = place_of<BM, BN>(blockIdx.x, M, N);
  a += at.z / splits * a_batch + (TRANSPOSE_A ? at.m : at.m * lda);
  b += at.z / splits * b_batch + (TRANSPOSE_B ? at.n * ldb : at.n);
  const part_of_k part = split_k<BK>(K, at.z % splits, splits);
  const int steps = ceil_div(part.end - part.begin, BK);

  float sums[4][4][4] = {};
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) {
    if (s < steps) {
      copy_stage(stages + s * STAGE, a, b, lda, ldb, M - at.m, N - at.n, part.begin + s * BK, part.end);
    }
    copy_async_commit();  // a group for each step, an empty one too, so that the wait counts steps
  }
  for (int step = 0; step < steps; step++) {
    copy_async_wait<STAGES - 2>();
    __syncthreads();  // everyone's part of this step is there, and the last step's buffer is free
    const int next = step + STAGES - 1;
    if (next < steps) {
      copy_stage(stages + next % STAGES * STAGE, a, b, lda, ldb, M - at.m, N - at.n,
                 part.begin + next * BK, part.end);
    }
    copy_async_commit();
    const IN* a_tile = stages + step % STAGES * STAGE;
    const IN* b_tile = a_tile + A_ROW * A_ROWS;
#pragma unroll
    for (int k = 0; k < BK; k += 16) {
      uint32_t x[4][4], y[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) read_a<TRANSPOSE_A, A_ROW>(x[i], a_tile, warp_row() + 16 * i, k);
#pragma unroll
      for (int j = 0; j < 2; j++) read_b<TRANSPOSE_B, B_ROW>(y[j], b_tile, warp_column() + 16 * j, k);
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const uint32_t column[2] = {y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]};
          mma_m16n8k16<IN>(sums[i][j], x[i], column);
        }
      }
    }
  }

  const epilogue end = {bias, slope, scale, residual, column_sums};
  store_fragments(end, c, sums, at, M, N, ldc, c_batch, shared);
}
