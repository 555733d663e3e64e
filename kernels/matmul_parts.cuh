// float32 numbers as sums of bfloat16 ones, which tensor cores multiply.
//
// A float has 24 significant bits and a bfloat16 has 8, over the same range: so x = hi + mid + lo exactly,
// with each the rounding of what the ones before leave (Henry, Tang and Heinecke 2019,
// arXiv:1904.06376). Of the nine products of parts, six are multiplied; what is left out, mid lo, lo mid
// and lo lo, is at most 2^-23 of the product, a rounding of it:
//
//   x y  =  lo hi + mid mid + hi lo  +  mid hi + hi mid  +  hi hi         (smallest first)
//
// Finite numbers: one whose bfloat16 would be infinite keeps the largest finite one as its hi. An
// infinite factor gives an infinity or NaN. Below 2^-110 the parts become subnormal, and bits are lost.
#pragma once
#include "common.cuh"

constexpr int PARTS = 3;
constexpr float LARGEST = 3.3895313892515355e38f;  // of bfloat16

DEVICE void split(bf16 (&parts)[PARTS], float x) {
  const bool finite = x - x == 0.0f;
  parts[0] = from_float<bf16>(finite ? fminf(fmaxf(x, -LARGEST), LARGEST) : x);
#pragma unroll
  for (int i = 1; i < PARTS; i++) {
    x = finite ? x - to_float(parts[i - 1]) : 0.0f;  // exact
    parts[i] = from_float<bf16>(x);
  }
}

