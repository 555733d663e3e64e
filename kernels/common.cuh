// What every kernel includes: the names of types, and how they become float and back.
//
// The kernels are CUDA C++ and nothing else. What differs between a GPU and the simulator, which runs
// the same text on the CPU, stands behind `#ifdef TINYGEN_SIM` in this file, in tensor_core.cuh and in
// hopper.cuh, and nowhere else: one instruction (PTX) there, its emulation here.
#pragma once

#ifdef TINYGEN_SIM
#define DEVICE SIM_INLINE
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#ifdef __CUDACC_RTC__  // NVRTC has no <stdint.h> and no INFINITY
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#else
#include <math.h>
#include <stdint.h>
#endif
#define DEVICE __device__ __forceinline__
#endif

#include "delay.cuh"

using bf16 = __nv_bfloat16;
using f16 = __half;

DEVICE float to_float(float v) { return v; }
DEVICE float to_float(bf16 v) { return __bfloat162float(v); }
DEVICE float to_float(f16 v) { return __half2float(v); }

// Rounded to nearest, ties to even.
template <typename T> DEVICE T from_float(float v);
template <> DEVICE float from_float<float>(float v) { return v; }
template <> DEVICE bf16 from_float<bf16>(float v) { return __float2bfloat16_rn(v); }
template <> DEVICE f16 from_float<f16>(float v) { return __float2half_rn(v); }

// Two neighbours in one 32-bit register, the first in the lower half: the way in which the tensor
// cores take 16-bit numbers.
template <typename T> DEVICE uint32_t pack(float first, float second);
template <> DEVICE uint32_t pack<bf16>(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
template <> DEVICE uint32_t pack<f16>(float first, float second) {
  const __half2 pair = __floats2half2_rn(first, second);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// 2^x by the special function unit, to 2 ulp; nothing below 2^-126.
DEVICE float fast_exp2(float x) {
#ifdef TINYGEN_SIM
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

DEVICE constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The 32-bit address of shared memory that instructions take.
DEVICE uint32_t shared_address(const void* pointer) {
#ifdef TINYGEN_SIM
  return sim::shared_address(pointer);
#else
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
#endif
}
