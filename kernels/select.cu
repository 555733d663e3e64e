// The k largest of each row of x (rows, n), in descending order: values (rows, k) and their places
// (rows, k). Among equals the smaller place comes first; NaN is larger than every number. 1 <= k <= n.
//
// A number and its place are one key of 64 bits, so that no two keys are equal and their order is
// the whole of the task: the larger number first, then the smaller place. 0 is below all keys and
// 2^64 - 1 above.
//
// Compile-time: TYPE.
#include "ordered.cuh"

#ifndef TYPE
#define TYPE float
#endif

using T = TYPE;
constexpr int THREADS = 1024;
constexpr int MOST = 2 * THREADS;  // of k, in topk_select

DEVICE uint64_t key_of(const T* x, int i) {
  return (uint64_t)ordered(to_float(x[i])) << 32 | (uint32_t)(0x7fffffff - i);
}

DEVICE int place_of(uint64_t key) { return 0x7fffffff - (int)(uint32_t)key; }

// Naive: a thread a row, k passes, each for the largest key below the last one.
extern "C" __global__ void topk_select_naive(T* __restrict__ values,
                                             int64_t* __restrict__ places,
                                             const T* __restrict__ x, int rows, int n, int k) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const T* from = x + (size_t)row * n;
  uint64_t last = ~0ull;
  for (int j = 0; j < k; j++) {
    uint64_t best = 0;
    for (int i = 0; i < n; i++) {
      const uint64_t key = key_of(from, i);
      if (key < last && key > best) best = key;
    }
    values[(size_t)row * k + j] = from[place_of(best)];
    places[(size_t)row * k + j] = place_of(best);
    last = best;
  }
}

// A block of 1024 threads a row. The k-th largest key by radix selection: each pass counts the next
// 8 bits of the candidates and keeps one of the 256 buckets, until all that are left are wanted:
// three or four passes, and up to four more over the places where numbers are equal. Then the keys
// from there on are collected, in any order, and sorted by a bitonic network (Batcher 1968), whose
// order is certain because no two are equal. Reads of x: the passes and one more, all but the first
// from the cache, instead of k.
extern "C" __global__ void __launch_bounds__(THREADS)
    topk_select(T* __restrict__ values, int64_t* __restrict__ places, const T* __restrict__ x,
                int n, int k) {
  __shared__ int counts[256];
  __shared__ int found[2];  // the bucket, and how many of it are wanted
  __shared__ int collected;
  __shared__ uint64_t keys[MOST];
  const T* from = x + (size_t)blockIdx.x * n;

  uint64_t prefix = 0, mask = 0;  // the bits of the k-th largest that are known
  int wanted = k;
  for (int shift = 56; shift >= 0; shift -= 8) {
    if (threadIdx.x < 256) counts[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS) {
      const uint64_t key = key_of(from, i);
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

  int size = 1;  // of the network
  while (size < k) size *= 2;
  for (int i = threadIdx.x; i < size; i += THREADS) keys[i] = 0;
  if (threadIdx.x == 0) collected = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += THREADS) {
    const uint64_t key = key_of(from, i);
    if (key >= prefix) keys[atomicAdd(&collected, 1)] = key;
  }
  __syncthreads();

  for (int run = 2; run <= size; run *= 2) {
    for (int apart = run / 2; apart > 0; apart /= 2) {
      const int low = 2 * threadIdx.x - threadIdx.x % apart, high = low + apart;
      if (high < size) {
        const uint64_t a = keys[low], b = keys[high];
        const bool descending = (low & run) == 0;
        if ((a < b) == descending) keys[low] = b, keys[high] = a;
      }
      __syncthreads();
    }
  }
  for (int j = threadIdx.x; j < k; j += THREADS) {
    const int place = place_of(keys[j]);
    values[(size_t)blockIdx.x * k + j] = from[place];
    places[(size_t)blockIdx.x * k + j] = place;
  }
}
