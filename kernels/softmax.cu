// Softmax and its logarithm over the last axis of x (rows, columns), forward and backward.
//
//   softmax      y = exp(x - m) / sum exp(x - m),        dx = y (g - sum g y)
//   log-softmax  y = (x - m) - log sum exp(x - m),       dx = g - exp(y) sum g
//
// with m = max x, so that nothing overflows. A row with NaN or +inf, or of nothing but -inf, has no
// distribution: its softmax is NaN. Sums are float32.
//
// Compile-time: TYPE of the arrays; for the kernels that keep a row in registers also COLUMNS,
// THREADS along a row (32, or the whole block) and VECTOR, elements an access, which divides
// COLUMNS.
#include "online.cuh"
#include "row.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef COLUMNS
#define COLUMNS 1024
#endif
#ifndef THREADS
#define THREADS 64
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;
using Row = packed_row<T, COLUMNS, THREADS, VECTOR>;
constexpr int ITEMS = Row::ITEMS;
constexpr int WARPS = THREADS / 32;
constexpr int BLOCK = THREADS == 32 ? 128 : THREADS;  // threads of a block, (THREADS, rows at once)

// ---- forward

// Naive: a thread a row, three passes. A warp's reads lie `columns` elements apart.
template <bool LOGARITHM>
DEVICE void softmax_of_thread(T* __restrict__ y, const T* __restrict__ x, int rows, int columns) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const size_t start = (size_t)row * columns;
  exp_sum s{to_float(x[start]), 0.0f};
  int at = 0;  // the place of the largest, whose term is left out
  for (int i = 1; i < columns; i++) {
    const float value = to_float(x[start + i]);
    if (value > s.largest) s.largest = value, at = i;
  }
  for (int i = 0; i < columns; i++) {
    const float term = expf(to_float(x[start + i]) - s.largest);
    if (i != at) s.others += term;
  }
  const float log_sum = s.log_sum(), scale = s.scale();
  for (int i = 0; i < columns; i++) {
    const float below = to_float(x[start + i]) - s.largest;
    y[start + i] = from_float<T>(LOGARITHM ? below - log_sum : expf(below) * scale);
  }
}

extern "C" __global__ void softmax_naive(T* y, const T* x, int rows, int columns) {
  softmax_of_thread<false>(y, x, rows, columns);
}

extern "C" __global__ void log_softmax_naive(T* y, const T* x, int rows, int columns) {
  softmax_of_thread<true>(y, x, rows, columns);
}

// Online: a block of 256 threads a row finds maximum and sum in one pass, and writes in a second:
// two reads of x, the second mostly from the cache, and a write. Any number of columns.
template <bool LOGARITHM>
DEVICE void softmax_of_long_row(T* __restrict__ y, const T* __restrict__ x, int columns) {
  __shared__ float scratch[16];
  const size_t start = (size_t)blockIdx.x * columns;
  exp_sum s;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float term[1] = {to_float(x[start + i])};
    s.add(term);
  }
  s = team_exp_sum<8>(s, scratch);
  const float log_sum = s.log_sum(), scale = s.scale();
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float below = to_float(x[start + i]) - s.largest;
    y[start + i] = from_float<T>(LOGARITHM ? below - log_sum : expf(below) * scale);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    softmax_online(T* y, const T* x, int columns) {
  softmax_of_long_row<false>(y, x, columns);
}

extern "C" __global__ void __launch_bounds__(256)
    log_softmax_online(T* y, const T* x, int columns) {
  softmax_of_long_row<true>(y, x, columns);
}

// The row in registers: one read, one write, 16 bytes an access. Blocks are persistent, and the
// next row is on its way while this one is reduced.
template <bool LOGARITHM>
DEVICE void softmax_in_registers(T* __restrict__ y, const T* __restrict__ x, int rows) {
  __shared__ float scratch[2 * WARPS];
  Row next;
  const int step = gridDim.x * blockDim.y;
  int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row < rows) next.load(x + (size_t)row * COLUMNS);
  for (; row < rows; row += step) {
    float v[ITEMS][VECTOR];
    next.unpack_to(v, -INFINITY);
    if (row + step < rows) next.load(x + (size_t)(row + step) * COLUMNS);
    float m = -INFINITY;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
#pragma unroll
      for (int j = 0; j < VECTOR; j++) m = fmaxf(m, v[i][j]);
    }
    m = team_max<WARPS>(m, scratch);
    float sums[2] = {0.0f, 0.0f};  // of the terms below the maximum, and of those equal to it
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (!Row::has(i)) continue;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        v[i][j] -= m;
        const float term = expf(v[i][j]);
        sums[v[i][j] == 0.0f] += term;
        if (!LOGARITHM) v[i][j] = term;
      }
    }
    team_sums<WARPS>(sums, scratch);
    const exp_sum s{m, sums[0] + (sums[1] - 1.0f)};
    const float log_sum = s.log_sum(), scale = s.scale();
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        v[i][j] = LOGARITHM ? v[i][j] - log_sum : v[i][j] * scale;
      }
    }
    Row::store(y + (size_t)row * COLUMNS, v);
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    softmax_forward(T* y, const T* x, int rows) {
  softmax_in_registers<false>(y, x, rows);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    log_softmax_forward(T* y, const T* x, int rows) {
  softmax_in_registers<true>(y, x, rows);
}

// ---- backward

template <bool LOGARITHM> DEVICE float softmax_term(float g, float y) {
  return LOGARITHM ? g : g * y;
}

template <bool LOGARITHM> DEVICE float softmax_gradient(float g, float y, float sum) {
  return LOGARITHM ? g - expf(y) * sum : y * (g - sum);
}

// Naive: a thread a row, two passes.
template <bool LOGARITHM>
DEVICE void softmax_backward_of_thread(T* __restrict__ dx, const T* __restrict__ g,
                                       const T* __restrict__ y, int rows, int columns) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const size_t start = (size_t)row * columns;
  float sum = 0.0f;
  for (int i = 0; i < columns; i++) {
    sum += softmax_term<LOGARITHM>(to_float(g[start + i]), to_float(y[start + i]));
  }
  for (int i = 0; i < columns; i++) {
    const float slope = to_float(g[start + i]), value = to_float(y[start + i]);
    dx[start + i] = from_float<T>(softmax_gradient<LOGARITHM>(slope, value, sum));
  }
}

extern "C" __global__ void softmax_backward_naive(T* dx, const T* g, const T* y, int rows,
                                                  int columns) {
  softmax_backward_of_thread<false>(dx, g, y, rows, columns);
}

extern "C" __global__ void log_softmax_backward_naive(T* dx, const T* g, const T* y, int rows,
                                                      int columns) {
  softmax_backward_of_thread<true>(dx, g, y, rows, columns);
}

// A block of 256 threads a row, two passes; any number of columns.
template <bool LOGARITHM>
DEVICE void softmax_backward_of_long_row(T* __restrict__ dx, const T* __restrict__ g,
                                         const T* __restrict__ y, int columns) {
  __shared__ float scratch[8];
  const size_t start = (size_t)blockIdx.x * columns;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < columns; i += 256) {
    sum += softmax_term<LOGARITHM>(to_float(g[start + i]), to_float(y[start + i]));
  }
  sum = team_sum<8>(sum, scratch);
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float slope = to_float(g[start + i]), value = to_float(y[start + i]);
    dx[start + i] = from_float<T>(softmax_gradient<LOGARITHM>(slope, value, sum));
  }
}

extern "C" __global__ void __launch_bounds__(256)
    softmax_backward_long(T* dx, const T* g, const T* y, int columns) {
  softmax_backward_of_long_row<false>(dx, g, y, columns);
}

extern "C" __global__ void __launch_bounds__(256)
    log_softmax_backward_long(T* dx, const T* g, const T* y, int columns) {
  softmax_backward_of_long_row<true>(dx, g, y, columns);
}

// Both rows in registers: two reads and a write.
template <bool LOGARITHM>
DEVICE void softmax_backward_in_registers(T* __restrict__ dx, const T* __restrict__ g,
                                          const T* __restrict__ y, int rows) {
  __shared__ float scratch[WARPS];
  Row next_g, next_y;
  const int step = gridDim.x * blockDim.y;
  int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row < rows) {
    next_g.load(g + (size_t)row * COLUMNS);
    next_y.load(y + (size_t)row * COLUMNS);
  }
  for (; row < rows; row += step) {
    float slope[ITEMS][VECTOR], value[ITEMS][VECTOR];
    next_g.unpack_to(slope, 0.0f);
    next_y.unpack_to(value, 0.0f);
    if (row + step < rows) {
      next_g.load(g + (size_t)(row + step) * COLUMNS);
      next_y.load(y + (size_t)(row + step) * COLUMNS);
    }
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
#pragma unroll
      for (int j = 0; j < VECTOR; j++) sum += softmax_term<LOGARITHM>(slope[i][j], value[i][j]);
    }
    sum = team_sum<WARPS>(sum, scratch);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        slope[i][j] = softmax_gradient<LOGARITHM>(slope[i][j], value[i][j], sum);
      }
    }
    Row::store(dx + (size_t)row * COLUMNS, slope);
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    softmax_backward(T* dx, const T* g, const T* y, int rows) {
  softmax_backward_in_registers<false>(dx, g, y, rows);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    log_softmax_backward(T* dx, const T* g, const T* y, int rows) {
  softmax_backward_in_registers<true>(dx, g, y, rows);
}
