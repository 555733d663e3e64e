// Sums and maxima over a warp or a block, in an order that depends on nothing but the shape of the
// block: the same bits in every run.
#pragma once
#include "common.cuh"

// All 32 lanes take part; every lane gets the result. A butterfly: 5 exchanges.
DEVICE float warp_sum(float v) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

DEVICE float warp_max(float v) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
  }
  return v;
}

// N sums at once over the WARPS warps along x of a block; every thread gets them. `scratch` holds
// N * WARPS floats. For WARPS > 1 all threads of the block take part, in blocks that are one
// thread high.
template <int WARPS, int N> DEVICE void team_sums(float (&v)[N], float* scratch) {
#pragma unroll
  for (int i = 0; i < N; i++) v[i] = warp_sum(v[i]);
  if (WARPS == 1) return;
  __syncthreads();  // whoever still reads the last sums
  if (threadIdx.x % 32 == 0) {
#pragma unroll
    for (int i = 0; i < N; i++) scratch[i * WARPS + threadIdx.x / 32] = v[i];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; i++) {
    v[i] = 0.0f;
#pragma unroll 4
    for (int warp = 0; warp < WARPS; warp++) v[i] += scratch[i * WARPS + warp];
  }
}

template <int WARPS> DEVICE float team_sum(float v, float* scratch) {
  float one[1] = {v};
  team_sums<WARPS>(one, scratch);
  return one[0];
}

template <int WARPS> DEVICE float team_max(float v, float* scratch) {
  v = warp_max(v);
  if (WARPS == 1) return v;
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
  __syncthreads();
  v = scratch[0];
  for (int warp = 1; warp < WARPS; warp++) v = fmaxf(v, scratch[warp]);
  return v;
}

// columns (32 wide, HEIGHT high): the sum of each column of a block of (32, HEIGHT) threads, for
// its threads with y = 0. Rows are added from the first to the last.
template <int HEIGHT> DEVICE float column_sum(float v, float (&scratch)[HEIGHT][32]) {
  __syncthreads();
  scratch[threadIdx.y][threadIdx.x] = v;
  __syncthreads();
  float sum = 0.0f;
  if (threadIdx.y == 0) {
#pragma unroll
    for (int y = 0; y < HEIGHT; y++) sum += scratch[y][threadIdx.x];
  }
  return sum;
}
