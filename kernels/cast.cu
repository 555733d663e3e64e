// From one floating-point type to another, and from rows to columns.
//
// Compile-time: IN and OUT, the types of the elements. Rounding is to nearest, ties to even.
#include "vector.cuh"

#ifndef IN
#define IN float
#endif
#ifndef OUT
#define OUT bf16
#endif

constexpr int VECTOR = 4;

// Naive: a thread an element.
extern "C" __global__ void cast_naive(OUT* __restrict__ y, const IN* __restrict__ x, int64_t n) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<OUT>(to_float(x[i]));
}

// Four elements a thread and access, over every gridDim.x-th block of them.
extern "C" __global__ void __launch_bounds__(256)
    cast(OUT* __restrict__ y, const IN* __restrict__ x, int64_t n) {
  const int64_t whole = n / VECTOR * VECTOR, step = (int64_t)gridDim.x * 256 * VECTOR;
  const int64_t thread = (int64_t)blockIdx.x * 256 + threadIdx.x;
#pragma unroll 4
  for (int64_t i = thread * VECTOR; i < whole; i += step) {
    float value[VECTOR];
    load(value, x + i);
    store(y + i, value);
  }
  if (whole + thread < n) y[whole + thread] = from_float<OUT>(to_float(x[whole + thread]));
}

// Naive: a thread an element of x (rows, columns) -> y (columns, rows), blocks of (32, 8). A warp
// reads neighbours and writes 32 places that lie `rows` apart.
extern "C" __global__ void transpose_naive(OUT* __restrict__ y, const IN* __restrict__ x, int rows,
                                           int columns) {
  const int column = blockIdx.x * 32 + threadIdx.x;
  for (int row = blockIdx.y * 32 + threadIdx.y; row < min(rows, (int)blockIdx.y * 32 + 32);
       row += 8) {
    if (column < columns) {
      y[(size_t)column * rows + row] = from_float<OUT>(to_float(x[(size_t)row * columns + column]));
    }
  }
}

// Through shared memory: a block of (32, 8) threads reads a 32 x 32 tile by rows and writes it by
// columns, so that both are neighbours for a warp. The tile's rows are 33 long: its columns then
// lie in 32 different banks.
extern "C" __global__ void __launch_bounds__(256)
    transpose(OUT* __restrict__ y, const IN* __restrict__ x, int rows, int columns) {
  __shared__ float tile[32][33];
  const int row0 = blockIdx.y * 32, column0 = blockIdx.x * 32;
#pragma unroll
  for (int k = threadIdx.y; k < 32; k += 8) {
    if (row0 + k < rows && column0 + (int)threadIdx.x < columns) {
      tile[k][threadIdx.x] = to_float(x[(size_t)(row0 + k) * columns + column0 + threadIdx.x]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int k = threadIdx.y; k < 32; k += 8) {
    if (column0 + k < columns && row0 + (int)threadIdx.x < rows) {
      y[(size_t)(column0 + k) * rows + row0 + threadIdx.x] = from_float<OUT>(tile[threadIdx.x][k]);
    }
  }
}
