// Elementwise activations: relu, silu, gelu, gelu_tanh (gelu.cuh), alone or with a bias before.
// Arithmetic is float32; one rounding to TYPE an output.
//
// Compile-time: TYPE of the arrays; ACTIVATION, one of the four names; VECTOR, elements an access,
// which divides the number of elements (or of columns).
#include "gelu.cuh"
#include "reduce.cuh"
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef ACTIVATION
#define ACTIVATION gelu_tanh
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;
using F = ACTIVATION;

// ---- h = f(u), and its derivative for backward, which is then one product

// Naive: a thread an element, 2 or 4 bytes an access.
extern "C" __global__ void activation_naive(T* __restrict__ h, T* __restrict__ slope,
                                            const T* __restrict__ u, int64_t n) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float value = to_float(u[i]);
  h[i] = from_float<T>(F::value(value));
  if (slope) slope[i] = from_float<T>(F::slope(value));
}

// A thread takes VECTOR neighbours with one access, and every gridDim.x-th block of them. `slope`
// may be null. Bytes: a read, and one or two writes.
extern "C" __global__ void __launch_bounds__(256)
    activation_forward(T* __restrict__ h, T* __restrict__ slope, const T* __restrict__ u,
                       int64_t n) {
  const int64_t step = (int64_t)gridDim.x * blockDim.x * VECTOR;
  for (int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR; i < n; i += step) {
    float x[VECTOR], y[VECTOR];
    load(x, u + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) y[j] = F::value(x[j]);
    store(h + i, y);
    if (!slope) continue;
#pragma unroll
    for (int j = 0; j < VECTOR; j++) y[j] = F::slope(x[j]);
    store(slope + i, y);
  }
}

// ---- u = x + bias, h = f(u) over x (rows, columns); backward computes f'(u) again

// Naive: a thread an element; the column by a division.
extern "C" __global__ void bias_activation_naive(T* __restrict__ h, T* __restrict__ u,
                                                 const T* __restrict__ x,
                                                 const T* __restrict__ bias, int64_t n,
                                                 int columns) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const T value = from_float<T>(to_float(x[i]) + to_float(bias[i % columns]));
  if (u) u[i] = value;
  h[i] = from_float<T>(F::value(to_float(value)));
}

// Blocks of (32, 8) threads: a thread keeps the bias of its VECTOR columns in registers and walks
// down the rows, so that the bias is read once a block and nothing is divided. u may be x, or null
// where no backward follows. Bytes: a read of x, one or two writes.
extern "C" __global__ void __launch_bounds__(256)
    bias_activation_forward(T* h, T* u, const T* x, const T* __restrict__ bias, int rows,
                            int columns) {
  const int column = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  if (column >= columns) return;
  float shift[VECTOR];
  load(shift, bias + column);
  for (int row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8) {
    const size_t i = (size_t)row * columns + column;
    float value[VECTOR];
    load(value, x + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) value[j] = to_float(from_float<T>(value[j] + shift[j]));
    if (u) store(u + i, value);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) value[j] = F::value(value[j]);
    store(h + i, value);
  }
}

// du = g f'(u), and in the same pass the sums of du over the rows of each blockIdx.y, one row of
// `partial` (gridDim.y, columns) each, from which `column_sums_finish` of column_sums.cu makes the
// gradient of the bias: no atomics. Threads as in forward. The sums are of du as it is stored.
// `factor` is u, or f'(u) itself where forward kept that.
template <bool KEPT_SLOPE>
DEVICE void activation_backward(T* __restrict__ du, float* __restrict__ partial,
                                const T* __restrict__ g, const T* __restrict__ factor, int rows,
                                int columns) {
  __shared__ float scratch[8][32];
  const int column = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  float sums[VECTOR] = {};
  if (column < columns) {
    for (int row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8) {
      const size_t i = (size_t)row * columns + column;
      float slope[VECTOR], value[VECTOR];
      load(slope, g + i);
      load(value, factor + i);
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        const float f = KEPT_SLOPE ? value[j] : F::slope(value[j]);
        slope[j] = to_float(from_float<T>(slope[j] * f));
        sums[j] += slope[j];
      }
      store(du + i, slope);
    }
  }
#pragma unroll
  for (int j = 0; j < VECTOR; j++) {
    const float sum = column_sum(sums[j], scratch);
    if (threadIdx.y == 0 && column < columns) {
      partial[(size_t)blockIdx.y * columns + column + j] = sum;
    }
  }
}

extern "C" __global__ void __launch_bounds__(256)
    bias_activation_backward(T* du, float* partial, const T* g, const T* u, int rows,
                             int columns) {
  activation_backward<false>(du, partial, g, u, rows, columns);
}

extern "C" __global__ void __launch_bounds__(256)
    bias_slope_backward(T* du, float* partial, const T* g, const T* slope, int rows, int columns) {
  activation_backward<true>(du, partial, g, slope, rows, columns);
}
