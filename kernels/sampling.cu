// The next token of each row of logits (rows, V): of the k largest, the smaller token first among
// equals, one is drawn from softmax(logits / temperature) by inverting the cumulative distribution,
// in the order of the tokens, at a uniform number (Fan et al. 2018). k = 1 takes the largest.
// A row with NaN, or whose largest logit is not finite, gives the token -1.
//
// Compile-time: TYPE of the logits.
#include "ordered.cuh"
#include "reduce.cuh"

#ifndef TYPE
#define TYPE float
#endif

using T = TYPE;
constexpr int THREADS = 1024;
constexpr int WARPS = THREADS / 32;

// The larger one; inf once x has been NaN.
DEVICE float max_or_inf(float largest, float x) {
  return x == x ? fmaxf(largest, x) : INFINITY;
}

// Naive: a thread a row finds the k-th largest in k passes, each for the largest of those that come
// after the last one in (value, token).
extern "C" __global__ void topk_sample_naive(int64_t* __restrict__ tokens,
                                             const T* __restrict__ logits,
                                             const float* __restrict__ uniforms, int rows,
                                             int vocabulary, int k, float temperature) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const T* x = logits + (size_t)row * vocabulary;
  float largest = -INFINITY, last = INFINITY;
  int last_token = -1;
  for (int i = 0; i < vocabulary; i++) largest = max_or_inf(largest, to_float(x[i]));
  for (int pass = 0; pass < min(k, vocabulary); pass++) {
    float best = -INFINITY;
    int best_token = -1;
    for (int i = 0; i < vocabulary; i++) {
      const float value = to_float(x[i]);
      const bool after = value < last || (value == last && i > last_token);
      if (after && (best_token < 0 || value > best)) best = value, best_token = i;
    }
    last = best, last_token = best_token;
  }
  float total = 0.0f, sum = 0.0f;
  int64_t token = -1;
  for (int i = 0; i < vocabulary; i++) {
    const float value = to_float(x[i]);
    if (value > last || (value == last && i <= last_token)) {
      total += expf((value - largest) / temperature);
    }
  }
  for (int i = 0; i < vocabulary; i++) {
    const float value = to_float(x[i]);
    if (value < last || (value == last && i > last_token)) continue;
    const float weight = expf((value - largest) / temperature);
    if (weight == 0.0f) continue;
    sum += weight;
    token = i;
    if (sum > uniforms[row] * total) break;
  }
  tokens[row] = fabsf(largest) < INFINITY ? token : -1;
}

// The inclusive prefix over the threads of the block; scratch[THREADS - 1] is the sum of all, and
// scratch[t] thread t's.
DEVICE void block_prefix(float value, float (&scratch)[THREADS], float (&warps)[WARPS]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const float before = __shfl_up_sync(0xffffffffu, value, offset);
    if (lane >= offset) value += before;
  }
  if (lane == 31) warps[warp] = value;
  __syncthreads();
  float before = 0.0f;
  for (int w = 0; w < warp; w++) before += warps[w];
  scratch[threadIdx.x] = before + value;
  __syncthreads();
}

// A block of 1024 threads a row. Radix selection finds where the k largest begin (ordered.cuh). Then each
// thread sums the weights of its own stretch of tokens, a prefix sum over the stretches finds the one in
// which the uniform number falls, and its thread walks it. Some seven reads of the logits, all but the
// first from the cache, instead of k.
extern "C" __global__ void __launch_bounds__(THREADS)
    topk_sample(int64_t* __restrict__ tokens, const T* __restrict__ logits,
                const float* __restrict__ uniforms, int vocabulary, int k, float temperature) {
  __shared__ float sums[THREADS], warp_sums[WARPS];
  __shared__ int chosen, last;  // threads: whose stretch it is, and the last one with any weight
  const T* x = logits + (size_t)blockIdx.x * vocabulary;

  float largest = -INFINITY;
  for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
    largest = max_or_inf(largest, to_float(x[i]));
  }
  largest = team_max<WARPS>(largest, warp_sums);

  const uint64_t least = kth_largest<THREADS>(x, vocabulary, min(k, vocabulary));
  const int stretch = (vocabulary + THREADS - 1) / THREADS;
  const int start = min((int)threadIdx.x * stretch, vocabulary);
  const int stop = min(start + stretch, vocabulary);
  float sum = 0.0f;
  for (int i = start; i < stop; i++) {
    if (key_of(x, i) >= least) sum += expf((to_float(x[i]) - largest) / temperature);
  }
  if (threadIdx.x == 0) chosen = THREADS, last = -1;
  block_prefix(sum, sums, warp_sums);
  const float target = uniforms[blockIdx.x] * sums[THREADS - 1];
  if (sum > 0.0f) {
    atomicMax(&last, (int)threadIdx.x);
    if (sums[threadIdx.x] > target) atomicMin(&chosen, (int)threadIdx.x);
  }
  __syncthreads();

  if (!(fabsf(largest) < INFINITY)) {
    if (threadIdx.x == 0) tokens[blockIdx.x] = -1;
    return;
  }
  if ((int)threadIdx.x != min(chosen, last)) return;  // rounding may leave the last one
  float reached = threadIdx.x == 0 ? 0.0f : sums[threadIdx.x - 1];
  int token = -1;
  for (int i = start; i < stop; i++) {
    if (key_of(x, i) < least) continue;
    const float weight = expf((to_float(x[i]) - largest) / temperature);
    if (weight == 0.0f) continue;
    reached += weight;
    token = i;
    if (reached > target) break;
  }
  tokens[blockIdx.x] = token;
}
