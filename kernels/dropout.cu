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

// A thread makes one block of Philox, eight uniforms, and hands the eight decisions on as bits to
// the lanes that load those places: a warp takes its 256 elements in rows of 16 bytes a lane, so
// that neighbouring lanes read and write neighbours. Bytes: a read and a write of x; `mask` (n,),
// one byte each, may be null.
extern "C" __global__ void __launch_bounds__(256)
    dropout(T* __restrict__ y, uint8_t* __restrict__ mask, const T* __restrict__ x,
            const philox_state* __restrict__ state, int64_t n, float p, float scale) {
  const int lane = threadIdx.x % 32;
  const int64_t thread = (int64_t)blockIdx.x * 256 + threadIdx.x, first = (thread - lane) * 8;
  uint64_t word[4];
  philox(word, *state, thread);
  uint32_t drawn = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) drawn |= (uint32_t)(unit_float(half_word(word, i)) >= p) << i;
#pragma unroll
  for (int row = 0; row < 8 / VECTOR; row++) {
    const int place = (row * 32 + lane) * VECTOR;  // among the warp's
    const uint32_t kept = __shfl_sync(0xffffffffu, drawn, place / 8) >> place % 8;
    const int64_t start = first + place;
    if (start + VECTOR > n) {  // the last ones, one by one
      for (int64_t i = start; i < n; i++) {
        const bool keep = kept >> (i - start) & 1;
        y[i] = from_float<T>(keep ? to_float(x[i]) * scale : 0.0f);
        if (mask) mask[i] = keep;
      }
      continue;
    }
    float value[VECTOR];
    packed<uint8_t, VECTOR> keep;
    load(value, x + start);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      keep.element[j] = kept >> j & 1;
      value[j] = keep.element[j] ? value[j] * scale : 0.0f;
    }
    store(y + start, value);
    if (mask) store_packed(mask + start, keep);
  }
}
