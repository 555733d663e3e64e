// Layer norm and RMS norm over the last axis of x (rows, columns), forward and backward.
//
//   layer norm   xhat = (x - mean) rstd,  rstd = 1 / sqrt(var + eps)      (Ba et al. 2016, eq. 4)
//   RMS norm     xhat = x rstd,           rstd = 1 / sqrt(mean(x^2) + eps)  (Zhang, Sennrich 2019)
//   y = xhat weight + bias
//   dx = rstd (h - mean(h) - xhat mean(h xhat)),  h = g weight;  RMS norm has no mean(h)
//   dweight = sum over rows of g xhat,  dbias = sum over rows of g
//
// Sums are float32, and the variance is taken of the centred row. mean and rstd are float32
// whatever TYPE is. Any of weight, bias, residual and the outputs other than y may be null.
//
// Compile-time: TYPE of the arrays; for the kernels that keep a row in registers also COLUMNS,
// THREADS along a row (32, or the whole block) and VECTOR, elements an access, which divides
// COLUMNS.
#include "reduce.cuh"
#include "row.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef COLUMNS
#define COLUMNS 768
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

// Naive: a thread a row, three passes over it. A warp's 32 reads lie `columns` elements apart, so
// that each moves 32 bytes for the 2 or 4 that it needs, and a few thousand rows leave most of the
// GPU idle. Bytes: 3 reads and a write of x, in uncoalesced pieces.
template <bool CENTRED>
DEVICE void norm_of_thread(T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd,
                           const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, int rows, int columns, float eps) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const size_t start = (size_t)row * columns;
  float m = 0.0f, squares = 0.0f;
  if (CENTRED) {
    for (int i = 0; i < columns; i++) m += to_float(x[start + i]);
    m /= columns;
  }
  for (int i = 0; i < columns; i++) {
    const float centred = to_float(x[start + i]) - m;
    squares += centred * centred;
  }
  const float r = 1.0f / sqrtf(squares / columns + eps);
  for (int i = 0; i < columns; i++) {
    float value = (to_float(x[start + i]) - m) * r;
    if (weight) value *= to_float(weight[i]);
    if (bias) value += to_float(bias[i]);
    y[start + i] = from_float<T>(value);
  }
  if (CENTRED) mean[row] = m;
  rstd[row] = r;
}

extern "C" __global__ void layer_norm_naive(T* y, float* mean, float* rstd, const T* x,
                                            const T* weight, const T* bias, int rows, int columns,
                                            float eps) {
  norm_of_thread<true>(y, mean, rstd, x, weight, bias, rows, columns, eps);
}

extern "C" __global__ void rms_norm_naive(T* y, float* rstd, const T* x, const T* weight,
                                          int rows, int columns, float eps) {
  norm_of_thread<false>(y, nullptr, rstd, x, weight, nullptr, rows, columns, eps);
}

// A block of 256 threads a row: neighbouring threads read neighbouring elements, and the sums are
// shared. Still three passes, of which the second and third come from the cache. Any number of
// columns, known at run time: the rows that are too long for the registers come here.
template <bool CENTRED>
DEVICE void norm_of_long_row(T* __restrict__ y, float* __restrict__ mean, float* __restrict__ rstd,
                             const T* __restrict__ x, const T* __restrict__ weight,
                             const T* __restrict__ bias, int columns, float eps) {
  __shared__ float scratch[8];
  const size_t start = (size_t)blockIdx.x * columns;
  float m = 0.0f;
  if (CENTRED) {
    for (int i = threadIdx.x; i < columns; i += 256) m += to_float(x[start + i]);
    m = team_sum<8>(m, scratch) / columns;
  }
  float squares = 0.0f;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float centred = to_float(x[start + i]) - m;
    squares += centred * centred;
  }
  const float r = 1.0f / sqrtf(team_sum<8>(squares, scratch) / columns + eps);
  for (int i = threadIdx.x; i < columns; i += 256) {
    float value = (to_float(x[start + i]) - m) * r;
    if (weight) value *= to_float(weight[i]);
    if (bias) value += to_float(bias[i]);
    y[start + i] = from_float<T>(value);
  }
  if (threadIdx.x == 0) {
    if (CENTRED) mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}

extern "C" __global__ void __launch_bounds__(256)
    layer_norm_long(T* y, float* mean, float* rstd, const T* x, const T* weight, const T* bias,
                    int columns, float eps) {
  norm_of_long_row<true>(y, mean, rstd, x, weight, bias, columns, eps);
}

extern "C" __global__ void __launch_bounds__(256)
    rms_norm_long(T* y, float* rstd, const T* x, const T* weight, int columns, float eps) {
  norm_of_long_row<false>(y, nullptr, rstd, x, weight, nullptr, columns, eps);
}

// The row in registers: one read of x and one write of y, 16 bytes an access, and both passes of
// the variance cost no traffic. Blocks are persistent: as many as the GPU holds, each goes over
// many rows, so that weight and bias are read once a block; the next row is already on its way
// while this one is reduced. With `residual`, the normalised row is x + residual, which is also
// stored in `total`: one kernel in place of two, 4 accesses an element in place of 5.
template <bool CENTRED>
DEVICE void norm_forward(T* __restrict__ y, T* __restrict__ total, float* __restrict__ mean,
                         float* __restrict__ rstd, const T* __restrict__ x,
                         const T* __restrict__ residual, const T* __restrict__ weight,
                         const T* __restrict__ bias, int rows, float eps) {
  __shared__ float scratch[2 * WARPS];
  Row next, next_residual, scale, shift;
  const int step = gridDim.x * blockDim.y;
  int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (weight) scale.load(weight);
  if (bias) shift.load(bias);
  if (row < rows) {
    next.load(x + (size_t)row * COLUMNS);
    if (residual) next_residual.load(residual + (size_t)row * COLUMNS);
  }
  for (; row < rows; row += step) {
    float v[ITEMS][VECTOR];
    next.unpack_to(v, 0.0f);
    if (residual) {
      float r[ITEMS][VECTOR];
      next_residual.unpack_to(r, 0.0f);
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) v[i][j] = to_float(from_float<T>(v[i][j] + r[i][j]));
      }
      Row::store(total + (size_t)row * COLUMNS, v);
    }
    if (row + step < rows) {
      next.load(x + (size_t)(row + step) * COLUMNS);
      if (residual) next_residual.load(residual + (size_t)(row + step) * COLUMNS);
    }

    float m = 0.0f, squares = 0.0f;
    if (CENTRED) {
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) m += v[i][j];
      }
      m = team_sum<WARPS>(m, scratch) / COLUMNS;
    }
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (!Row::has(i)) continue;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        v[i][j] -= m;
        squares += v[i][j] * v[i][j];
      }
    }
    const float variance = team_sum<WARPS>(squares, scratch) / COLUMNS;
    const float r = 1.0f / sqrtf(variance + eps);

#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (!Row::has(i)) continue;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        v[i][j] *= r;
        if (weight) v[i][j] *= to_float(scale.item[i].element[j]);
        if (bias) v[i][j] += to_float(shift.item[i].element[j]);
      }
    }
    Row::store(y + (size_t)row * COLUMNS, v);
    if (threadIdx.x == 0) {
      if (CENTRED) mean[row] = m;
      rstd[row] = r;
    }
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_forward(T* y, T* total, float* mean, float* rstd, const T* x, const T* residual,
                       const T* weight, const T* bias, int rows, float eps) {
  norm_forward<true>(y, total, mean, rstd, x, residual, weight, bias, rows, eps);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    rms_norm_forward(T* y, T* total, float* rstd, const T* x, const T* residual, const T* weight,
                     int rows, float eps) {
  norm_forward<false>(y, total, nullptr, rstd, x, residual, weight, nullptr, rows, eps);
}

// ---- backward

// Naive: a thread a row for dx, in two passes; the gradients of the weights are the next kernel's.
template <bool CENTRED>
DEVICE void norm_backward_of_thread(T* __restrict__ dx, const T* __restrict__ g,
                                    const T* __restrict__ x, const T* __restrict__ weight,
                                    const float* __restrict__ mean,
                                    const float* __restrict__ rstd, int rows, int columns) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const size_t start = (size_t)row * columns;
  const float m = CENTRED ? mean[row] : 0.0f, r = rstd[row];
  float sum = 0.0f, product = 0.0f;
  for (int i = 0; i < columns; i++) {
    const float h = to_float(g[start + i]) * (weight ? to_float(weight[i]) : 1.0f);
    if (CENTRED) sum += h;
    product += h * (to_float(x[start + i]) - m) * r;
  }
  for (int i = 0; i < columns; i++) {
    const float h = to_float(g[start + i]) * (weight ? to_float(weight[i]) : 1.0f);
    const float xhat = (to_float(x[start + i]) - m) * r;
    dx[start + i] = from_float<T>(r * (h - sum / columns - xhat * (product / columns)));
  }
}

extern "C" __global__ void layer_norm_backward_naive(T* dx, const T* g, const T* x,
                                                     const T* weight, const float* mean,
                                                     const float* rstd, int rows, int columns) {
  norm_backward_of_thread<true>(dx, g, x, weight, mean, rstd, rows, columns);
}

extern "C" __global__ void rms_norm_backward_naive(T* dx, const T* g, const T* x, const T* weight,
                                                   const float* rstd, int rows, int columns) {
  norm_backward_of_thread<false>(dx, g, x, weight, nullptr, rstd, rows, columns);
}

// The gradients of the weights, of rows of any length: block (i, k) of (32, 32) threads sums 32
// columns over every gridDim.y-th group of 32 rows, and leaves them in row k of the partial sums
// (slices, columns), which `column_sums_finish` of column_sums.cu adds up. It reads g and x once
// more than `layer_norm_backward` does. mean is null for RMS norm.
extern "C" __global__ void __launch_bounds__(1024)
    norm_weights_partial(float* __restrict__ partial_weight, float* __restrict__ partial_bias,
                         const T* __restrict__ g, const T* __restrict__ x,
                         const float* __restrict__ mean, const float* __restrict__ rstd, int rows,
                         int columns) {
  __shared__ float scratch[32][32];
  const int column = blockIdx.x * 32 + threadIdx.x;
  float dw = 0.0f, db = 0.0f;
  if (column < columns) {
#pragma unroll 4
    for (int row = blockIdx.y * 32 + threadIdx.y; row < rows; row += gridDim.y * 32) {
      const size_t i = (size_t)row * columns + column;
      const float m = mean ? mean[row] : 0.0f;
      dw += to_float(g[i]) * (to_float(x[i]) - m) * rstd[row];
      db += to_float(g[i]);
    }
  }
  dw = column_sum(dw, scratch);
  db = column_sum(db, scratch);
  if (threadIdx.y != 0 || column >= columns) return;
  const size_t place = (size_t)blockIdx.y * columns + column;
  if (partial_weight) partial_weight[place] = dw;
  if (partial_bias) partial_bias[place] = db;
}

// A block of 256 threads a row that is too long for the registers: two passes.
template <bool CENTRED>
DEVICE void norm_backward_of_long_row(T* __restrict__ dx, const T* __restrict__ g,
                                      const T* __restrict__ x, const T* __restrict__ weight,
                                      const float* __restrict__ mean,
                                      const float* __restrict__ rstd, int columns) {
  __shared__ float scratch[16];
  const size_t start = (size_t)blockIdx.x * columns;
  const float m = CENTRED ? mean[blockIdx.x] : 0.0f, r = rstd[blockIdx.x];
  float sums[2] = {0.0f, 0.0f};
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float h = to_float(g[start + i]) * (weight ? to_float(weight[i]) : 1.0f);
    sums[0] += h;
    sums[1] += h * (to_float(x[start + i]) - m) * r;
  }
  team_sums<8>(sums, scratch);
  const float mean_h = CENTRED ? sums[0] / columns : 0.0f, mean_product = sums[1] / columns;
  for (int i = threadIdx.x; i < columns; i += 256) {
    const float h = to_float(g[start + i]) * (weight ? to_float(weight[i]) : 1.0f);
    const float xhat = (to_float(x[start + i]) - m) * r;
    dx[start + i] = from_float<T>(r * (h - mean_h - xhat * mean_product));
  }
}

extern "C" __global__ void __launch_bounds__(256)
    layer_norm_backward_long(T* dx, const T* g, const T* x, const T* weight, const float* mean,
                             const float* rstd, int columns) {
  norm_backward_of_long_row<true>(dx, g, x, weight, mean, rstd, columns);
}

extern "C" __global__ void __launch_bounds__(256)
    rms_norm_backward_long(T* dx, const T* g, const T* x, const T* weight, const float* rstd,
                           int columns) {
  norm_backward_of_long_row<false>(dx, g, x, weight, nullptr, rstd, columns);
}

// Everything from one read of g and x: dx is written, and each thread adds up g xhat and g of its
// own columns over all rows of its block. A block leaves one row of partial sums (blocks, COLUMNS);
// `column_sums_finish` adds those up. No atomics: the order of the sum depends on the grid alone.
// Bytes: 2 reads and a write of x, and 16 bytes a column and block for the weights. `dresidual`
// is the gradient that reaches x past the norm; dx includes it.
template <bool CENTRED>
DEVICE void norm_backward(T* __restrict__ dx, float* __restrict__ partial_weight,
                          float* __restrict__ partial_bias, const T* __restrict__ g,
                          const T* __restrict__ x, const T* __restrict__ weight,
                          const float* __restrict__ mean, const float* __restrict__ rstd,
                          const T* __restrict__ dresidual, int rows) {
  __shared__ float scratch[2 * WARPS];
  // Of blocks with several rows at once:
  __shared__ float shared_sums[WARPS == 1 ? 2 * COLUMNS : 1];
  Row next_g, next_x, scale;
  float dw[ITEMS][VECTOR], db[ITEMS][VECTOR];
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
#pragma unroll
    for (int j = 0; j < VECTOR; j++) dw[i][j] = db[i][j] = 0.0f;
  }
  const int step = gridDim.x * blockDim.y;
  int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (weight) scale.load(weight);
  if (row < rows) {
    next_g.load(g + (size_t)row * COLUMNS);
    next_x.load(x + (size_t)row * COLUMNS);
  }
  for (; row < rows; row += step) {
    float h[ITEMS][VECTOR], xhat[ITEMS][VECTOR];
    next_g.unpack_to(h, 0.0f);
    next_x.unpack_to(xhat, 0.0f);
    if (row + step < rows) {
      next_g.load(g + (size_t)(row + step) * COLUMNS);
      next_x.load(x + (size_t)(row + step) * COLUMNS);
    }
    const float m = CENTRED ? mean[row] : 0.0f, r = rstd[row];
    float sums[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (!Row::has(i)) continue;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        xhat[i][j] = (xhat[i][j] - m) * r;
        dw[i][j] += h[i][j] * xhat[i][j];
        db[i][j] += h[i][j];
        if (weight) h[i][j] *= to_float(scale.item[i].element[j]);
        sums[0] += h[i][j];
        sums[1] += h[i][j] * xhat[i][j];
      }
    }
    if (dx) {
      team_sums<WARPS>(sums, scratch);
      const float mean_h = CENTRED ? sums[0] / COLUMNS : 0.0f;
      const float mean_product = sums[1] / COLUMNS;
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
          h[i][j] = r * (h[i][j] - mean_h - xhat[i][j] * mean_product);
        }
      }
      if (dresidual) {
        Row past;
        past.load(dresidual + (size_t)row * COLUMNS);
        past.unpack_to(xhat, 0.0f);
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
#pragma unroll
          for (int j = 0; j < VECTOR; j++) h[i][j] += xhat[i][j];
        }
      }
      Row::store(dx + (size_t)row * COLUMNS, h);
    }
  }

  if (!partial_weight && !partial_bias) return;
  if (WARPS == 1) {  // the rows at once, one after the other
    for (int y = 0; y < (int)blockDim.y; y++) {
      if ((int)threadIdx.y == y) {
#pragma unroll
        for (int i = 0; i < ITEMS; i++) {
          if (!Row::has(i)) continue;
#pragma unroll
          for (int j = 0; j < VECTOR; j++) {
            float* sum = shared_sums + 2 * (Row::column(i) + j);
            if (y > 0) dw[i][j] += sum[0], db[i][j] += sum[1];
            sum[0] = dw[i][j];
            sum[1] = db[i][j];
          }
        }
      }
      __syncthreads();
    }
    if (threadIdx.y != blockDim.y - 1) return;
  }
  const size_t start = (size_t)blockIdx.x * COLUMNS;
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    if (!Row::has(i)) continue;
    if (partial_weight) store_floats(partial_weight + start + Row::column(i), dw[i]);
    if (partial_bias) store_floats(partial_bias + start + Row::column(i), db[i]);
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_backward(T* dx, float* partial_weight, float* partial_bias, const T* g, const T* x,
                        const T* weight, const float* mean, const float* rstd, const T* dresidual,
                        int rows) {
  norm_backward<true>(dx, partial_weight, partial_bias, g, x, weight, mean, rstd, dresidual, rows);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    rms_norm_backward(T* dx, float* partial_weight, const T* g, const T* x, const T* weight,
                      const float* rstd, const T* dresidual, int rows) {
  norm_backward<false>(dx, partial_weight, nullptr, g, x, weight, nullptr, rstd, dresidual, rows);
}
