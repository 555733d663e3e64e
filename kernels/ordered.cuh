// Floats as unsigned integers of the same order, whose bits radix selection looks at.
#pragma once
#include "common.cuh"

// -0 and 0 are equal; every NaN is the largest.
DEVICE uint32_t ordered(float x) {
  if (x != x) return 0xffffffffu;
  const uint32_t bits = __float_as_uint(x == 0.0f ? 0.0f : x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
