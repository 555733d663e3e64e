// What kernels/tensor_core.cuh does on the CPU: fragments spread over a warp exactly as the PTX ISA says.
#pragma once
#include <bit>
#include <cstring>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "abi.hpp"

namespace sim {

template <typename T> inline float number(uint32_t bits);  // the lower 16 bits as a number of type T
template <> inline float number<__nv_bfloat16>(uint32_t bits) { return std::bit_cast<float>(bits << 16); }
template <> inline float number<__half>(uint32_t bits) {
  const auto half = static_cast<uint16_t>(bits);
  return __half2float(std::bit_cast<__half>(half));
}

// A register holds two neighbours, the first in its lower half.
template <typename T> inline float half_of(uint32_t pair, int second) {
  return number<T>(second ? pair >> 16 : pair & 0xffff);
}

inline bool whole_warp(uint32_t arrived, const char* instruction) {
  if (arrived == 0xffffffffu) return true;
  report(instruction, "not all 32 lanes of the warp take part");
  return false;
}

// ---- ldmatrix --------------------------------------------------------------------------------------------------

// Lane 8 m + i gave the address of row i of matrix m.
template <int X, bool transposed> SIM_OUTSIDE void distribute(Lane (&lanes)[32], uint32_t arrived) {
  if (!whole_warp(arrived, "ldmatrix")) return;
  for (int lane = 0; lane < 32; lane++) {
    auto* registers = static_cast<uint32_t*>(lanes[lane].out);
    for (int m = 0; m < X; m++) {
      uint16_t pair[2];
      for (int i = 0; i < 2; i++) {
        const int along = 2 * (lane % 4) + i, across = lane / 4;
        const int row = transposed ? along : across, column = transposed ? across : along;
        std::memcpy(&pair[i], static_cast<const char*>(lanes[8 * m + row].in) + 2 * column, 2);
      }
      registers[m] = pair[0] | static_cast<uint32_t>(pair[1]) << 16;
    }
  }
}

template <int X, bool transposed> SIM_INLINE void load_matrix(uint32_t (&registers)[X], const void* row) {
  if (self.lane < 8 * X) touch(row, 16, Access::read);
  warp_collective(0xffffffffu, distribute<X, transposed>, row, registers, "ldmatrix");
}

// ---- mma.sync --------------------------------------------------------------------------------------------------

// The lane's part of a 16 x 16 factor A.
template <typename T> inline void put_fragment_a(float (&A)[16][16], const uint32_t* a, int lane) {
  const int g = lane / 4, t = lane % 4;
  for (int part = 0; part < 4; part++) {
    for (int i = 0; i < 2; i++) A[g + part % 2 * 8][2 * t + part / 2 * 8 + i] = half_of<T>(a[part], i);
  }
}

struct Factors {
  const uint32_t *a, *b;
};

template <typename T> SIM_OUTSIDE void multiply_fragments(Lane (&lanes)[32], uint32_t arrived) {
  if (!whole_warp(arrived, "mma.sync")) return;
  float A[16][16], B[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const auto& factors = *static_cast<const Factors*>(lanes[lane].in);
    put_fragment_a<T>(A, factors.a, lane);
    for (int part = 0; part < 2; part++) {
      for (int i = 0; i < 2; i++) B[2 * (lane % 4) + 8 * part + i][lane / 4] = half_of<T>(factors.b[part], i);
    }
  }
  for (int lane = 0; lane < 32; lane++) {
    auto* d = static_cast<float*>(lanes[lane].out);
    for (int e = 0; e < 4; e++) {
      const int row = lane / 4 + e / 2 * 8, column = 2 * (lane % 4) + e % 2;
      for (int k = 0; k < 16; k++) d[e] += A[row][k] * B[k][column];
    }
  }
}

template <typename T>
SIM_INLINE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const Factors factors = {a, b};
  warp_collective(0xffffffffu, multiply_fragments<T>, &factors, d, "mma.sync");
}

}  // namespace sim
