// intrinsics.hpp: CUDA's mathematical and bit functions that <cmath> lacks. The approximate ones (__expf, __fdividef)
// are computed to full precision here: tests of kernels that use them need a tolerance for the GPU.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "abi.hpp"

// ---- floating point
SIM_INLINE float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
SIM_INLINE double rsqrt(double x) { return 1.0 / std::sqrt(x); }
SIM_INLINE float __expf(float x) { return std::exp(x); }
SIM_INLINE float __exp10f(float x) { return std::pow(10.0f, x); }
SIM_INLINE float __logf(float x) { return std::log(x); }
SIM_INLINE float __log2f(float x) { return std::log2(x); }
SIM_INLINE float __log10f(float x) { return std::log10(x); }
SIM_INLINE float __powf(float x, float y) { return std::pow(x, y); }
SIM_INLINE float __sinf(float x) { return std::sin(x); }
SIM_INLINE float __cosf(float x) { return std::cos(x); }
SIM_INLINE float __tanf(float x) { return std::tan(x); }
SIM_INLINE float __fdividef(float x, float y) { return x / y; }
SIM_INLINE float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }  // NaN gives 0
SIM_INLINE float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
SIM_INLINE float __frcp_rn(float x) { return 1.0f / x; }
SIM_INLINE float __fsqrt_rn(float x) { return std::sqrt(x); }
SIM_INLINE float __frsqrt_rn(float x) { return float(1.0 / std::sqrt(double(x))); }
SIM_INLINE float __fdiv_rn(float x, float y) { return x / y; }
// Never contracted to a fused multiply-add, and so not inlined.
SIM_OUTSIDE inline float __fadd_rn(float x, float y) { return x + y; }
SIM_OUTSIDE inline float __fsub_rn(float x, float y) { return x - y; }
SIM_OUTSIDE inline float __fmul_rn(float x, float y) { return x * y; }
SIM_OUTSIDE inline double sinpi(double x) { return std::sin(M_PI * std::fmod(x, 2.0)); }
SIM_OUTSIDE inline double cospi(double x) { return std::cos(M_PI * std::fmod(x, 2.0)); }
SIM_INLINE float sinpif(float x) { return float(sinpi(x)); }
SIM_INLINE float cospif(float x) { return float(cospi(x)); }
SIM_INLINE void sincospif(float x, float* s, float* c) {
  *s = sinpif(x);
  *c = cospif(x);
}
SIM_INLINE void __sincosf(float x, float* s, float* c) {
  *s = std::sin(x);
  *c = std::cos(x);
}
SIM_INLINE float normcdff(float x) { return 0.5f * std::erfc(-x * 0.70710678118654752f); }

// ---- the same bits as another type
SIM_INLINE int __float_as_int(float x) { return std::bit_cast<int>(x); }
SIM_INLINE unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
SIM_INLINE float __int_as_float(int x) { return std::bit_cast<float>(x); }
SIM_INLINE float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
SIM_INLINE long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
SIM_INLINE double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
SIM_INLINE int __float2int_rn(float x) { return int(std::nearbyint(x)); }
SIM_INLINE int __float2int_rz(float x) { return int(x); }
SIM_INLINE int __float2int_rd(float x) { return int(std::floor(x)); }
SIM_INLINE int __float2int_ru(float x) { return int(std::ceil(x)); }
SIM_INLINE float __int2float_rn(int x) { return float(x); }
SIM_INLINE float __uint2float_rn(unsigned x) { return float(x); }

// ---- integers
SIM_INLINE int __popc(unsigned x) { return std::popcount(x); }
SIM_INLINE int __popcll(unsigned long long x) { return std::popcount(x); }
SIM_INLINE int __clz(int x) { return std::countl_zero(unsigned(x)); }
SIM_INLINE int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
SIM_INLINE int __ffs(int x) { return __builtin_ffs(x); }
SIM_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
SIM_INLINE unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int bit = 0; bit < 32; bit++) r |= (x >> bit & 1) << (31 - bit);
  return r;
}
SIM_INLINE int __mulhi(int x, int y) { return int(int64_t(x) * y >> 32); }
SIM_INLINE unsigned __umulhi(unsigned x, unsigned y) { return unsigned(uint64_t(x) * y >> 32); }
SIM_INLINE unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}
SIM_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return unsigned(((uint64_t(high) << 32 | low) << (shift & 31)) >> 32);
}
SIM_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return unsigned((uint64_t(high) << 32 | low) >> (shift & 31));
}
SIM_INLINE unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = uint64_t(y) << 32 | x;
  unsigned r = 0;
  for (int i = 0; i < 4; i++) r |= unsigned(bytes >> (selector >> 4 * i & 7) * 8 & 0xFF) << 8 * i;
  return r;
}

// ---- minimum and maximum of mixed arithmetic types; of floats, the number if one is NaN
template <class A, class B>
  requires(std::is_arithmetic_v<A> && std::is_arithmetic_v<B>)
SIM_INLINE constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmax(T(a), T(b));
  else return T(a) < T(b) ? T(b) : T(a);
}
template <class A, class B>
  requires(std::is_arithmetic_v<A> && std::is_arithmetic_v<B>)
SIM_INLINE constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmin(T(a), T(b));
  else return T(b) < T(a) ? T(b) : T(a);
}

// ---- loads and stores with a hint for the caches, which do not exist here
template <class T> SIM_INLINE T __ldg(const T* p) { return *p; }
template <class T> SIM_INLINE T __ldca(const T* p) { return *p; }
template <class T> SIM_INLINE T __ldcg(const T* p) { return *p; }
template <class T> SIM_INLINE T __ldcs(const T* p) { return *p; }
template <class T> SIM_INLINE void __stcg(T* p, T v) { *p = v; }
template <class T> SIM_INLINE void __stcs(T* p, T v) { *p = v; }
