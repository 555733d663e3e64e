// Sums over the rows of a matrix (rows, columns), one for each column: the gradient of a bias, and
// the second stage of every kernel that leaves a row of partial sums a block. Sums are float32, in
// an order that depends on the shape of the launch alone.
//
// Compile-time: TYPE of the matrix and of the result.
#include "reduce.cuh"

#ifndef TYPE
#define TYPE float
#endif

using T = TYPE;

// Naive: a thread a column walks down all rows. Neighbours read neighbours, but there are only as
// many threads as columns, each with one chain of additions.
extern "C" __global__ void column_sums_naive(T* __restrict__ out, const T* __restrict__ x,
                                             int rows, int columns) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  float sum = 0.0f;
  for (int row = 0; row < rows; row++) sum += to_float(x[(size_t)row * columns + column]);
  out[column] = from_float<T>(sum);
}

// The rows in slices: block (i, k) of (32, 32) threads sums 32 columns over every gridDim.y-th
// group of 32 rows, so that the GPU is filled however few columns there are. Bytes: one read of x.
extern "C" __global__ void __launch_bounds__(1024)
    column_sums_partial(float* __restrict__ partial, const T* __restrict__ x, int rows,
                        int columns) {
  __shared__ float scratch[32][32];
  const int column = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.0f;
  if (column < columns) {
#pragma unroll 4
    for (int row = blockIdx.y * 32 + threadIdx.y; row < rows; row += gridDim.y * 32) {
      sum += to_float(x[(size_t)row * columns + column]);
    }
  }
  sum = column_sum(sum, scratch);
  if (threadIdx.y == 0 && column < columns) partial[(size_t)blockIdx.y * columns + column] = sum;
}

// The second stage: partial (slices, columns) -> out (columns,). A block of (32, 32) threads sums
// 32 columns.
extern "C" __global__ void __launch_bounds__(1024)
    column_sums_finish(T* __restrict__ out, const float* __restrict__ partial, int slices,
                       int columns) {
  __shared__ float scratch[32][32];
  const int column = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.0f;
  if (column < columns) {
#pragma unroll 4
    for (int slice = threadIdx.y; slice < slices; slice += 32) {
      sum += partial[(size_t)slice * columns + column];
    }
  }
  sum = column_sum(sum, scratch);
  if (threadIdx.y == 0 && column < columns) out[column] = from_float<T>(sum);
}
