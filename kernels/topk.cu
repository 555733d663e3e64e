// The k largest of each row of x (rows, n), in descending order: values (rows, k) and their places
// (rows, k). Among equals the smaller place comes first; NaN is larger than every number. 1 <= k <= n.
//
// Compile-time: TYPE.
#include "ordered.cuh"

#ifndef TYPE
#define TYPE float
#endif

using T = TYPE;
constexpr int THREADS = 1024;
constexpr int MOST = 2 * THREADS;  // of k, in topk_select

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

// A block of 1024 threads a row. Radix selection finds where the k largest begin (ordered.cuh); they are
// collected, in any order, and sorted by a bitonic network (Batcher 1968), whose order is certain because
// no two keys are equal. Reads of x: the passes of the selection and one more, all but the first from the
// cache, instead of k.
extern "C" __global__ void __launch_bounds__(THREADS)
    topk_select(T* __restrict__ values, int64_t* __restrict__ places, const T* __restrict__ x,
                int n, int k) {
  __shared__ int collected;
  __shared__ uint64_t keys[MOST];
  const T* from = x + (size_t)blockIdx.x * n;
  const uint64_t least = kth_largest<THREADS>(from, n, k);

  int size = 1;  // of the network
  while (size < k) size *= 2;
  for (int i = threadIdx.x; i < size; i += THREADS) keys[i] = 0;
  if (threadIdx.x == 0) collected = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += THREADS) {
    const uint64_t key = key_of(from, i);
    if (key >= least) keys[atomicAdd(&collected, 1)] = key;
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
