// From one floating-point type to another, and from rows to columns.
//
// Compile-time: IN and OUT, the types of the elements; VECTOR, elements an access of `cast`, at
// whose multiples x and y begin. Rounding is to nearest, ties to even.
#include "vector.cuh"

#ifndef IN
#define IN float
#endif
#ifndef OUT
#define OUT bf16
#endif

#ifndef VECTOR
#define VECTOR 4
#endif

// Naive: a thread an element.
extern "C" __global__ void cast_naive(OUT* __restrict__ y, const IN* __restrict__ x, int64_t n) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<OUT>(to_float(x[i]));
}

// VECTOR elements a thread and access, over every gridDim.x-th block of them.
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

// The matrices of x (batch, rows, columns) -> y (batch, columns, rows): a block of (32, 8) threads
// takes a tile of 32 x 32, and block b is the tile of that number.
struct transposed_tile {
  size_t start;  // of the matrix
  int row, column;
};

DEVICE transposed_tile tile_of_block(int rows, int columns) {
  const int across = ceil_div(columns, 32), down = ceil_div(rows, 32);
  const int tile = blockIdx.x / across;
  return {(size_t)(tile / down) * rows * columns, tile % down * 32,
          (int)(blockIdx.x % across) * 32};
}

// Naive: a thread an element of a row and every eighth below it. A warp reads neighbours and writes
// 32 places that lie `rows` apart.
extern "C" __global__ void __launch_bounds__(256)
    transpose_naive(OUT* __restrict__ y, const IN* __restrict__ x, int rows, int columns) {
  const transposed_tile tile = tile_of_block(rows, columns);
  const int column = tile.column + threadIdx.x;
  if (column >= columns) return;
  for (int row = tile.row + threadIdx.y; row < min(rows, tile.row + 32); row += 8) {
    const IN value = x[tile.start + (size_t)row * columns + column];
    y[tile.start + (size_t)column * rows + row] = from_float<OUT>(to_float(value));
  }
}

// Through shared memory: the tile is read by rows and written by columns, so that both are
// neighbours for a warp. The tile's rows are 33 long: its columns then lie in 32 different banks.
extern "C" __global__ void __launch_bounds__(256)
    transpose(OUT* __restrict__ y, const IN* __restrict__ x, int rows, int columns) {
  __shared__ float held[32][33];
  const transposed_tile tile = tile_of_block(rows, columns);
  const int along = threadIdx.x;
#pragma unroll
  for (int k = threadIdx.y; k < 32; k += 8) {
    if (tile.row + k < rows && tile.column + along < columns) {
      held[k][along] =
          to_float(x[tile.start + (size_t)(tile.row + k) * columns + tile.column + along]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int k = threadIdx.y; k < 32; k += 8) {
    if (tile.column + k < columns && tile.row + along < rows) {
      y[tile.start + (size_t)(tile.column + k) * rows + tile.row + along] =
          from_float<OUT>(held[along][k]);
    }
  }
}
