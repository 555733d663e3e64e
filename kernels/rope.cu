// Rotary position embedding (Su et al. 2021, section 3.2) of x (rows, 2 half), row r at position
// r mod T: each pair (a, b) of features turns by its angle, (a c - b s, a s + b c).
//
// Pairs are (i, i + half), or (2 i, 2 i + 1) if INTERLEAVED. cos and sin are (T, half). The adjoint
// is the rotation back: the same kernel with sign = -1.
//
// Compile-time: TYPE, INTERLEAVED (0 or 1), VECTOR, pairs a thread, which divides half.
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef INTERLEAVED
#define INTERLEAVED 0
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;

// Naive: a thread a pair, 2 or 4 bytes an access.
extern "C" __global__ void rope_naive(T* __restrict__ y, const T* __restrict__ x,
                                      const T* __restrict__ cos, const T* __restrict__ sin,
                                      int64_t rows, int tokens, int half, float sign) {
  const int64_t pair = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (pair >= rows * half) return;
  const int64_t row = pair / half;
  const int i = pair % half;
  const int64_t first = row * 2 * half + (INTERLEAVED ? 2 * i : i);
  const int64_t second = first + (INTERLEAVED ? 1 : half);
  const int64_t angle = row % tokens * half + i;
  const float a = to_float(x[first]), b = to_float(x[second]);
  const float c = to_float(cos[angle]), s = sign * to_float(sin[angle]);
  y[first] = from_float<T>(a * c - b * s);
  y[second] = from_float<T>(a * s + b * c);
}

// A thread turns VECTOR pairs with 16-byte accesses, over every gridDim.x-th block of them. Bytes:
// a read and a write of x; the angles come from the cache.
extern "C" __global__ void __launch_bounds__(256)
    rope_rotate(T* __restrict__ y, const T* __restrict__ x, const T* __restrict__ cos,
                const T* __restrict__ sin, int64_t rows, int tokens, int half, float sign) {
  const int vectors = half / VECTOR;  // of a row
  const int64_t step = (int64_t)gridDim.x * blockDim.x;
  for (int64_t k = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; k < rows * vectors; k += step) {
    const int64_t row = k / vectors;
    const int i = k % vectors * VECTOR;
    const int64_t first = row * 2 * half + (INTERLEAVED ? 2 * i : i);
    const int64_t second = first + (INTERLEAVED ? VECTOR : half);
    const int64_t angle = row % tokens * half + i;
    // Where pairs are neighbours, the first VECTOR / 2 of them and the others; else their halves.
    float part[2][VECTOR], c[VECTOR], s[VECTOR];
    load(part[0], x + first);
    load(part[1], x + second);
    load(c, cos + angle);
    load(s, sin + angle);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      const int even = 2 * j, odd = even + 1;
      float& a = INTERLEAVED ? part[even / VECTOR][even % VECTOR] : part[0][j];
      float& b = INTERLEAVED ? part[odd / VECTOR][odd % VECTOR] : part[1][j];
      const float turned = a * c[j] - b * sign * s[j];
      b = a * sign * s[j] + b * c[j];
      a = turned;
    }
    store(y + first, part[0]);
    store(y + second, part[1]);
  }
}
