// The parts of a float32 matrix as three bfloat16 matrices, for products by wgmma, which takes its factors
// from memory as they are.
//
// Compile-time: VECTOR, elements an access: 4, or 1 where rows do not begin at multiples of 16 bytes.
#include "matmul_parts.cuh"
#include "vector.cuh"

#ifndef VECTOR
#define VECTOR 4
#endif

// x: `lines` of `length` numbers, `apart` elements from one to the next; parts (3, lines, padded), of which
// what lies beyond `length` is not written. A thread takes VECTOR neighbours, and every gridDim.x-th block
// of them. Bytes: 4 read and 6 written a number.
extern "C" __global__ void __launch_bounds__(256)
matmul_parts(bf16* __restrict__ parts, const float* __restrict__ x, int64_t lines, int length, int64_t apart,
             int padded) {
  const int across = ceil_div(length, VECTOR);
  const int64_t pieces = lines * across, plane = lines * padded;
  for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < pieces; i += (int64_t)gridDim.x * 256) {
    const int64_t line = i / across;
    const int column = static_cast<int>(i - line * across) * VECTOR;
    float values[VECTOR];
    load(values, x + line * apart + column);
    packed<bf16, VECTOR> vectors[PARTS];
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      bf16 of_one[PARTS];
      split(of_one, values[j]);
#pragma unroll
      for (int p = 0; p < PARTS; p++) vectors[p].element[j] = of_one[p];
    }
#pragma unroll
    for (int p = 0; p < PARTS; p++) store_packed(parts + p * plane + line * padded + column, vectors[p]);
  }
}
