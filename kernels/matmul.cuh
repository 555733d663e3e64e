// What every matmul kernel shares: which matrices it multiplies, and what it does with a product
// before that leaves the registers.
//
//   C[m][n] = f(sum over k of A[m][k] B[k][n] + bias[n]) + residual[m][n]
//
// The three products of a linear layer y = x W^T differ in how their factors lie, so that the factors
// are never transposed in memory:
//
//   forward          y = x W^T     A as it is, B transposed         (both run along k)
//   input gradient   dx = g W      A as it is, B as it is
//   weight gradient  dW = g^T x    A transposed, B as it is         (neither runs along k)
//
// Compile-time: IN, OUT the types of the factors and of C; TRANSPOSE_A and TRANSPOSE_B, 0 or 1;
// ACTIVATION, one of gelu.cuh's.
//
// Batches and splits are blockIdx.z: element z / splits of the batch, and part z % splits of K. The
// parts of a split product go to a workspace, C (batch, splits, M, N) in float32, and `add_splits`
// adds them in order: for products with few tiles and a long K, such as weight gradients, which would
// leave most of a GPU idle. Nothing is added by atomics: the same bits in every run.
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

struct part_of_k {
  int begin, end;
};

// Part `split` of K in whole steps of STEP, so that only the last part has a ragged end.
template <int STEP> DEVICE part_of_k split_k(int K, int split, int splits) {
  const int steps = ceil_div(ceil_div(K, STEP), splits);
  return {min(K, split * steps * STEP), min(K, (split + 1) * steps * STEP)};
}

struct epilogue {
  const OUT* bias;      // (N,), or null
  OUT* slope;           // as C: f' where backward will want it, or null
  const OUT* residual;  // as C, or null

  DEVICE void store(OUT* c, int64_t at, int n, float v) const {
    if (bias) v += to_float(bias[n]);
    if (slope) slope[at] = from_float<OUT>(ACTIVATION::slope(v));
    v = ACTIVATION::value(v);
    if (residual) v += to_float(residual[at]);
    c[at] = from_float<OUT>(v);
  }

  // Two neighbours of a row, as tensor cores leave them with a lane, in one access where both are there
  // and the place is even.
  DEVICE void store_two(OUT* c, int64_t at, int n, int N, float v0, float v1) const {
    if (n + 1 >= N || at % 2 != 0) {
      if (n < N) store(c, at, n, v0);
      if (n + 1 < N) store(c, at + 1, n + 1, v1);
      return;
    }
    float v[2] = {v0, v1}, slopes[2], past[2] = {};
    if (residual) ::load(past, residual + at);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (bias) v[i] += to_float(bias[n + i]);
      slopes[i] = ACTIVATION::slope(v[i]);
      v[i] = ACTIVATION::value(v[i]) + past[i];
    }
    if (slope) ::store(slope + at, slopes);
    ::store(c + at, v);
  }
};
