// language.hpp: CUDA C++ for the host's compiler. It stands before every .cu file that the simulator compiles; types
// (float4, dim3, __half, __nv_bfloat16 and their arithmetic) are NVIDIA's own, from the headers of the toolkit.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>
#include <vector_types.h>

#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "abi.hpp"
#include "launch.hpp"

#define TINYGEN_SIM 1

#undef __shared__
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __restrict__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __grid_constant__

// Shared memory is a static object, one for all threads; before each lies a zone that belongs to none, so that an
// access beyond the array before it is out of bounds. (`extern __shared__ T name[];` is rewritten by the driver.)
#define SIM_JOIN2(a, b) a##b
#define SIM_JOIN(a, b) SIM_JOIN2(a, b)
#define __shared__ \
  __attribute__((used)) static char SIM_JOIN(sim_red_zone_, __COUNTER__)[64]; __attribute__((used)) static

// Constants within a thread; the runtime sets them at every switch.
extern const uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

// ---- barriers and fences
SIM_INLINE void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  sim::block_barrier(sim::Vote::none, 0, file, line);
}
SIM_INLINE int __syncthreads_count(int p, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::block_barrier(sim::Vote::count, p, file, line);
}
SIM_INLINE int __syncthreads_and(int p, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::block_barrier(sim::Vote::all, p, file, line);
}
SIM_INLINE int __syncthreads_or(int p, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return sim::block_barrier(sim::Vote::any, p, file, line);
}
SIM_INLINE void __syncwarp(unsigned mask = 0xFFFFFFFFu) { sim::warp_barrier(mask); }
SIM_INLINE void __threadfence() { sim::device_fence(); }
SIM_INLINE void __threadfence_block() { sim::device_fence(); }
[[noreturn]] SIM_INLINE void __trap() { sim::trap("trap", "the kernel called __trap()"); }
#undef assert
#define assert(condition) ((condition) ? void() : sim::trap("assert", #condition))

#include "atomics.hpp"
#include "hopper.hpp"
#include "intrinsics.hpp"
#include "tensor_core.hpp"
#include "warp.hpp"
