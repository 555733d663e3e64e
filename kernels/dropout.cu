// Dropout (Srivastava et al. 2014, inverted): y = x scale where u >= p, else 0, with scale
// 1 / (1 - p) and u the uniforms that tinygen.random draws at this place of the stream.
//
// Backward is the same kernel on g at the same place: the mask is made again, and never stored.
// That costs arithmetic which a kernel that waits for memory has to spare.
//
// Compile-time: TYPE. x and y are aligned to 16 bytes.
#include "philox.cuh"
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif

using T = TYPE;
constexpr int VECTOR = 16 / sizeof(T);  // elements an access

// Naive: a thread an element, for which it makes a whole block of Philox. Eight neighbours make the
// same one.
extern "C" __global__ void dropout_naive(T* __restrict__ y, uint8_t* __restrict__ mask,
                                         const T* __restrict__ x,
                                         const philox_state* __restrict__ state, int64_t n,
                                         float p, float scale) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const bool kept = unit_float(philox_half_word(*state, i)) >= p;
  y[i] = from_float<T>(kept ? to_float(x[i]) * scale : 0.0f);
  if (mask) mask[i] = kept;
}

// A thread makes one block of Philox: eight uniforms for its eight neighbours. Bytes: a read and a
// write of x; `mask` (n,), one byte each, may be null.
extern "C" __global__ void __launch_bounds__(256)
    dropout(T* __restrict__ y, uint8_t* __restrict__ mask, const T* __restrict__ x,
            const philox_state* __restrict__ state, int64_t n, float p, float scale) {
  const int64_t block = (int64_t)blockIdx.x * 256 + threadIdx.x, start = block * 8;
  if (start >= n) return;
  uint64_t word[4];
  philox(word, *state, block);
  if (start + 8 > n) {  // the last thread, one by one
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (start + i >= n) break;
      const bool kept = unit_float(half_word(word, i)) >= p;
      y[start + i] = from_float<T>(kept ? to_float(x[start + i]) * scale : 0.0f);
      if (mask) mask[start + i] = kept;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i += VECTOR) {
    float value[VECTOR];
    load(value, x + start + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      const bool kept = unit_float(half_word(word, i + j)) >= p;
      value[j] = kept ? value[j] * scale : 0.0f;
      if (mask) mask[start + i + j] = kept;
    }
    store(y + start + i, value);
  }
}
