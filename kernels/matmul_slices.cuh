// A block's slice of a factor on its way through registers: what a step of a product along K needs of
// 128 rows of A or 128 columns of B, loaded while the step before is computed. For rungs whose elements
// are changed on the way, or lie where cp.async cannot fetch them from.
//
// VECTOR elements a load where memory allows it: 4 if rows begin at multiples of 16 bytes and end at
// multiples of 4 elements, else 1.
#pragma once
#include "matmul.cuh"

#ifndef VECTOR
#define VECTOR 1
#endif

// The part of each of 256 threads. The matrix begins at the block's first row or column, and has `size`
// of them from there; DEPTH of k. `along_k` says whether neighbours in memory are neighbours in k.
template <bool along_k, int DEPTH> struct slice {
  static constexpr int LOADS = 128 * DEPTH / 256 / VECTOR;
  float values[LOADS][VECTOR];

  static DEVICE int line(int i) {  // in the slow axis
    return (threadIdx.x + 256 * i) / ((along_k ? DEPTH : 128) / VECTOR);
  }
  static DEVICE int place(int i) {  // in the fast axis
    return (threadIdx.x + 256 * i) % ((along_k ? DEPTH : 128) / VECTOR) * VECTOR;
  }

  DEVICE void load(const IN* matrix, int64_t stride, int size, int first_k, int end_k) {
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      const int slow = (along_k ? 0 : first_k) + line(i), fast = (along_k ? first_k : 0) + place(i);
      const int slow_end = along_k ? size : end_k, fast_end = along_k ? end_k : size;
      if (slow < slow_end && fast + VECTOR <= fast_end) {
        ::load(values[i], matrix + slow * stride + fast);
      } else {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
          const bool inside = slow < slow_end && fast + j < fast_end;
          values[i][j] = inside ? to_float(matrix[slow * stride + fast + j]) : 0.0f;
        }
      }
    }
  }
};
