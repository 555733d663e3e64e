// SwiGLU (Shazeer 2020, arXiv:2002.05202, eq. 6): y = silu(gate) up
//
//   dgate = g up silu'(gate),  dup = g silu(gate)
//
// gate and up are (rows, columns) each, with rows `stride` elements apart: two arrays, or the halves
// of the product that makes both. Arithmetic is float32; one rounding to TYPE an output. dgate or
// dup may be null.
//
// Compile-time: TYPE; VECTOR, elements an access, which divides columns and stride.
#include "gelu.cuh"
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;

// ---- naive: a thread an element, 2 or 4 bytes an access; its row by a division

extern "C" __global__ void swiglu_forward_naive(T* __restrict__ y, const T* __restrict__ gate,
                                                const T* __restrict__ up, int64_t n, int columns,
                                                int64_t stride) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int64_t from = i / columns * stride + i % columns;
  y[i] = from_float<T>(silu::value(to_float(gate[from])) * to_float(up[from]));
}

extern "C" __global__ void swiglu_backward_naive(T* __restrict__ dgate, T* __restrict__ dup,
                                                 const T* __restrict__ g,
                                                 const T* __restrict__ gate,
                                                 const T* __restrict__ up, int64_t n, int columns,
                                                 int64_t stride) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int64_t from = i / columns * stride + i % columns;
  const float u = to_float(gate[from]), slope = to_float(g[i]);
  if (dgate) dgate[i] = from_float<T>(slope * to_float(up[from]) * silu::slope(u));
  if (dup) dup[i] = from_float<T>(slope * silu::value(u));
}

// ---- vectors: 16 bytes an access. Blocks of (32, 8) threads over 32 VECTOR columns walk down the
// rows, so that nothing is divided. Bytes: two reads and a write; three reads and two writes.

extern "C" __global__ void __launch_bounds__(256)
    swiglu_forward(T* __restrict__ y, const T* __restrict__ gate, const T* __restrict__ up,
                   int rows, int columns, int64_t stride) {
  const int column = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  if (column >= columns) return;
  for (int row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8) {
    float value[VECTOR], factor[VECTOR];
    load(value, gate + row * stride + column);
    load(factor, up + row * stride + column);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) value[j] = silu::value(value[j]) * factor[j];
    store(y + (size_t)row * columns + column, value);
  }
}

extern "C" __global__ void __launch_bounds__(256)
    swiglu_backward(T* __restrict__ dgate, T* __restrict__ dup, const T* __restrict__ g,
                    const T* __restrict__ gate, const T* __restrict__ up, int rows, int columns,
                    int64_t stride) {
  const int column = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  if (column >= columns) return;
  for (int row = blockIdx.y * 8 + threadIdx.y; row < rows; row += gridDim.y * 8) {
    const size_t to = (size_t)row * columns + column;
    float u[VECTOR], factor[VECTOR], slope[VECTOR];
    load(u, gate + row * stride + column);
    load(factor, up + row * stride + column);
    load(slope, g + to);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      factor[j] *= slope[j] * silu::slope(u[j]);
      slope[j] *= silu::value(u[j]);
    }
    if (dgate) store(dgate + to, factor);
    if (dup) store(dup + to, slope);
  }
}
