// A row of a matrix in the registers of the threads that share it: read once, worked on as often as
// need be, written once. Its number of columns is known to the compiler, which alone makes an array
// of registers of it.
#pragma once
#include "vector.cuh"

// N elements of T over TEAM threads (along x), V neighbours at a time, so that the threads of a
// warp read neighbouring words. V divides N.
template <typename T, int N, int TEAM, int V> struct packed_row {
  static constexpr int ITEMS = (N + TEAM * V - 1) / (TEAM * V);

  packed<T, V> item[ITEMS];

  static DEVICE int column(int i) { return (i * TEAM + threadIdx.x) * V; }
  static DEVICE bool has(int i) { return N % (TEAM * V) == 0 || column(i) < N; }

  DEVICE void load(const T* row) {
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (has(i)) item[i] = load_packed<V>(row + column(i));
    }
  }

  // As floats; `outside` where the row has ended.
  DEVICE void unpack_to(float (&x)[ITEMS][V], float outside) const {
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (has(i)) {
        unpack(x[i], item[i]);
      } else {
#pragma unroll
        for (int j = 0; j < V; j++) x[i][j] = outside;
      }
    }
  }

  static DEVICE void store(T* row, const float (&x)[ITEMS][V]) {
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (has(i)) ::store(row + column(i), x[i]);
    }
  }
};
