// What every matmul kernel shares: which matrices it multiplies, and what it does with a product
// before that leaves the registers.
//
//   C[m][n] = f(sum over k of A[m][k] B[k][n] + bias[n]) + residual[m][n]
//
// With GRADIENT, f(...) is multiplied by scale[m][n], and C is summed over its rows. In the backward
// pass of a layer that another one with an activation feeds, the input gradient g W is so at once
// multiplied by that activation's slope, and the sums are the gradient of that layer's bias: one
// kernel instead of two, and g W is never stored.
//
// The three products of a linear layer y = x W^T differ in how their factors lie, so that the factors
// are never transposed in memory:
//
//   forward          y = x W^T     A as it is, B transposed         (both run along k)
//   input gradient   dx = g W      A as it is, B as it is
//   weight gradient  dW = g^T x    A transposed, B as it is         (neither runs along k)
//
// Compile-time: IN, OUT the types of the factors and of C; TRANSPOSE_A and TRANSPOSE_B, 0 or 1;
// ACTIVATION, one of gelu.cuh's; GRADIENT, 0 or 1; BIAS, SLOPE, SCALE and RESIDUAL, 0 or 1, whether
// those are there. Left out, the pointers say it at run time: simpler to call, and half as many
// instructions again for each element of C.
//
// Batches and splits are z: element z / splits of the batch, and part z % splits of K. The parts of a
// split product go to a workspace, C (batch, splits, M, N) in float32, and `add_splits` adds them in
// order: for products with few tiles and a long K, such as weight gradients, which would leave most of
// a GPU idle. Nothing is added by atomics: the same bits in every run.
#pragma once
#include "gelu.cuh"
#include "vector.cuh"

#ifndef IN
#define IN float
#endif
#ifndef OUT
#define OUT float
#endif
#ifndef TRANSPOSE_A
#define TRANSPOSE_A 0
#endif
#ifndef TRANSPOSE_B
#define TRANSPOSE_B 1
#endif
#ifndef ACTIVATION
#define ACTIVATION identity
#endif
#ifndef GRADIENT
#define GRADIENT 0
#endif
#ifndef BIAS
#define BIAS (bias != nullptr)
#endif
#ifndef SLOPE
#define SLOPE (slope != nullptr)
#endif
#ifndef SCALE
#define SCALE (GRADIENT && scale != nullptr)
#endif
#ifndef RESIDUAL
#define RESIDUAL (residual != nullptr)
#endif

// The tile of C that is number `tile`: its first row and column, and which of batch * splits.
//
// Tiles are numbered along one axis, since the other two of a grid end at 65,535, and down groups of
// GROUP rows of tiles: what runs at the same time then shares rows of A and columns of B in the
// second-level cache.
struct tile_place {
  int m, n, z;
};

constexpr int GROUP = 8;

template <int ROWS, int COLUMNS> DEVICE tile_place place_of(int tile, int M, int N) {
  const int m_tiles = ceil_div(M, ROWS), n_tiles = ceil_div(N, COLUMNS);
  const int z = tile / (m_tiles * n_tiles), within = tile % (m_tiles * n_tiles);
  const int group = within / (GROUP * n_tiles), first = group * GROUP;
  const int height = min(m_tiles - first, GROUP), rest = within - group * GROUP * n_tiles;
  return {(first + rest % height) * ROWS, rest / height * COLUMNS, z};
}

struct part_of_k {
  int begin, end;
};

// Part `split` of K in whole steps of STEP, so that only the last part has a ragged end.
template <int STEP> DEVICE part_of_k split_k(int K, int split, int splits) {
  const int steps = ceil_div(ceil_div(K, STEP), splits);
  return {min(K, split * steps * STEP), min(K, (split + 1) * steps * STEP)};
}

// What the epilogue reads for two neighbours, beside the bias of their columns.
struct operands {
  packed<OUT, 2> factor, past;
};

struct epilogue {
  const OUT* bias;      // (N,), or null
  OUT* slope;           // as C: f' where backward will want it, or null
  const OUT* scale;     // as C, or null; with GRADIENT
  const OUT* residual;  // as C, or null
  float* sums;          // (rows of tiles, N): of C over the rows of each tile, or null; with GRADIENT

  // Stores what becomes of v, and returns it.
  DEVICE float store(OUT* c, int64_t at, int n, float v) const {
    if (BIAS) v += to_float(bias[n]);
    if (SLOPE) slope[at] = from_float<OUT>(ACTIVATION::slope(v));
    v = ACTIVATION::value(v);
    if (SCALE) v *= to_float(scale[at]);
    if (RESIDUAL) v += to_float(residual[at]);
    c[at] = from_float<OUT>(v);
    return v;
  }

  // Two neighbours of a row, at an even place and both within it, in two steps: what they need of
  // memory, and what becomes of them, with f' there. Whoever has many asks for all of it first.
  DEVICE packed<OUT, 2> load_shift(int n) const {
    if (BIAS) return load_packed<2>(bias + n);
    return {};
  }

  DEVICE operands load_two(int64_t at) const {
    operands with = {};
    if (SCALE) with.factor = load_packed<2>(scale + at);
    if (RESIDUAL) with.past = load_packed<2>(residual + at);
    return with;
  }

  DEVICE void apply_two(const packed<OUT, 2>& shift, const operands& with, float (&v)[2],
                        float (&slopes)[2]) const {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (BIAS) v[i] += to_float(shift.element[i]);
      v[i] = value_and_slope<ACTIVATION, OUT>(v[i], slopes[i]);
      if (SCALE) v[i] *= to_float(with.factor.element[i]);
      if (RESIDUAL) v[i] += to_float(with.past.element[i]);
    }
  }

  // Stores them, as tensor cores leave them with a lane, in one access where both are there and the
  // place is even. v becomes what is stored, 0 beyond the row.
  DEVICE void store_two(OUT* c, int64_t at, int n, int N, float (&v)[2]) const {
    if (n + 1 >= N || at % 2 != 0) {
      v[0] = n < N ? store(c, at, n, v[0]) : 0.0f;
      v[1] = n + 1 < N ? store(c, at + 1, n + 1, v[1]) : 0.0f;
      return;
    }
    float slopes[2];
    apply_two(load_shift(n), load_two(at), v, slopes);
    if (SLOPE) ::store(slope + at, slopes);
    ::store(c + at, v);
  }

  // Adds the parts of a tile (PARTS rows of WIDTH columns in shared memory, APART floats from one to the
  // next, all written) in order, as `threads` threads of which this is number `thread`.
  template <int PARTS, int WIDTH, int APART = WIDTH>
  DEVICE void store_sums(const float* parts, tile_place at, int height, int N, int thread,
                         int threads) const {
    for (int column = thread; column < WIDTH && at.n + column < N; column += threads) {
      float sum = 0.0f;
      for (int i = 0; i < PARTS; i++) sum += parts[i * APART + column];
      sums[static_cast<int64_t>(at.m / height) * N + at.n + column] = sum;
    }
  }
};

// The sum over the lanes of a warp that hold the same columns of a fragment (lane / 4 is the row).
DEVICE float over_fragment_rows(float v) {
#pragma unroll
  for (int apart = 4; apart < 32; apart *= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, apart);
  return v;
}
