// Floats as unsigned integers of the same order, and the k largest of a row by their bits.
#pragma once
#include "common.cuh"

// -0 and 0 are equal; every NaN is the largest.
DEVICE uint32_t ordered(float x) {
  if (x != x) return 0xffffffffu;
  const uint32_t bits = __float_as_uint(x == 0.0f ? 0.0f : x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// A number and its place in a row as one key of 64 bits: the larger number first, then the smaller place. No
// two keys are equal, so their order is the whole of it. 0 is below all keys and 2^64 - 1 above.
template <typename T> DEVICE uint64_t key_of(const T* x, int i) {
  return (uint64_t)ordered(to_float(x[i])) << 32 | (uint32_t)(0x7fffffff - i);
}

DEVICE int place_of(uint64_t key) { return 0x7fffffff - (int)(uint32_t)key; }

// By a whole block: a number with exactly k of the n keys of a row from it on, 1 <= k <= n, by radix
// selection. Each pass counts the next 8 bits of the candidates and keeps one of the 256 buckets, until
// all that are left are wanted: three or four passes, and up to four more over the places where numbers
// are equal. Counts are integers, so that the order of the atomic additions does not matter.
template <int THREADS, typename T> DEVICE uint64_t kth_largest(const T* x, int n, int k) {
  __shared__ int counts[256];
  __shared__ int found[2];  // the bucket, and how many of it are wanted
  uint64_t prefix = 0, mask = 0;  // the bits that are known
  int wanted = k;
  for (int shift = 56; shift >= 0; shift -= 8) {
    if (threadIdx.x < 256) counts[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS) {
      const uint64_t key = key_of(x, i);
      if ((key & mask) == prefix) atomicAdd(&counts[key >> shift & 255], 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int bucket = 255, left = wanted;
      while (counts[bucket] < left) left -= counts[bucket--];
      found[0] = bucket;
      found[1] = left;
    }
    __syncthreads();
    prefix |= (uint64_t)found[0] << shift;
    mask |= 255ull << shift;
    wanted = found[1];
    if (counts[found[0]] == wanted) break;  // the whole bucket
    __syncthreads();  // whoever still reads the counts
  }
  return prefix;
}
