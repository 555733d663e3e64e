// What the rungs by mma.sync share: from tiles in shared memory to fragments, and from sums to C. A tile
// of 128 x 128 of C is computed by 8 warps as 2 x 4, each with 4 x 4 fragments of 16 x 8.
#pragma once
#include "matmul.cuh"
#include "tensor_core.cuh"

constexpr int BM = 128, BN = 128, THREADS = 256;

DEVICE int warp_row() { return threadIdx.x / 128 * 64; }
DEVICE int warp_column() { return threadIdx.x / 32 % 4 * 32; }

// ---- fragments of 16 of k --------------------------------------------------------------------------
//
// Tiles lie as the factors do, along k or across it, in rows of ROW elements; ldmatrix turns what lies
// across, and wants the address of row lane % 8 of matrix lane / 8.

// Rows m to m + 15 of A.
template <bool TRANSPOSED, int ROW, typename T>
DEVICE void read_a(uint32_t (&fragment)[4], const T* tile, int m, int k) {
  const int lane = threadIdx.x % 32;
  if (TRANSPOSED) {  // matrices (k, m): (0, 0), (0, 8), (8, 0), (8, 8)
    load_matrix_x4_transposed(fragment, tile + (k + lane / 16 * 8 + lane % 8) * ROW + m + lane / 8 % 2 * 8);
  } else {  // matrices (m, k): (0, 0), (8, 0), (0, 8), (8, 8)
    load_matrix_x4(fragment, tile + (m + lane % 16) * ROW + k + lane / 16 * 8);
  }
}

// Columns n to n + 15 of B, as two neighbouring fragments: registers 0, 1 and 2, 3.
template <bool TRANSPOSED, int ROW, typename T>
DEVICE void read_b(uint32_t (&fragments)[4], const T* tile, int n, int k) {
  const int lane = threadIdx.x % 32;
  if (TRANSPOSED) {  // matrices (n, k): (0, 0), (0, 8), (8, 0), (8, 8)
    load_matrix_x4(fragments, tile + (n + lane / 16 * 8 + lane % 8) * ROW + k + lane / 8 % 2 * 8);
  } else {  // matrices (k, n): (0, 0), (8, 0), (0, 8), (8, 8)
    load_matrix_x4_transposed(fragments, tile + (k + lane % 16) * ROW + n + lane / 16 * 8);
  }
}

// ---- the end -----------------------------------------------------------------------------------------
//
// Stores what becomes of a warp's sums. `shared` has room for 2 x 128 floats, and nobody reads what was
// there after the next barrier.
DEVICE void store_fragments(const epilogue& end, OUT* c, float (&sums)[4][4][4], tile_place at, int M,
                            int N, int64_t ldc, int64_t c_batch, void* shared) {
  const int lane = threadIdx.x % 32;
  float columns[4][2] = {};
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int m = at.m + warp_row() + 16 * i + lane / 4 + 8 * half;
        const int n = at.n + warp_column() + 8 * j + lane % 4 * 2;
        if (m >= M) continue;
        float two[2] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
        end.store_two(c, at.z * c_batch + m * ldc + n, n, N, two);
        columns[j][0] += two[0];
        columns[j][1] += two[1];
      }
    }
  }
#if GRADIENT
  float* parts = static_cast<float*>(shared);  // (2 rows of warps, BN)
  __syncthreads();
#pragma unroll
  for (int j = 0; j < 8; j++) {
    const float column = over_fragment_rows(columns[j / 2][j % 2]);
    if (lane < 4) parts[warp_row() / 64 * BN + warp_column() + 8 * (j / 2) + 2 * lane + j % 2] = column;
  }
  __syncthreads();
  end.store_sums<2, BN>(parts, at, BM, N, threadIdx.x, THREADS);
#endif
}
