// log sum exp in one pass (Milakov and Gimelshein 2018, algorithm 3), so that nothing is lost where
// one term outweighs the rest.
#pragma once
#include "reduce.cuh"

// sum of exp(x) = exp(largest) (1 + others): the largest term is left out of `others`, so that
// log1p(others) has all digits of the logarithm of a sum that is nearly 1. Of nothing: -inf and -1.
// A NaN or +inf among x makes `others`, or `largest`, not finite.
struct exp_sum {
  float largest = -INFINITY;
  float others = -1.0f;

  // log sum exp(x) - largest; 0 where infinity has the last word.
  DEVICE float log_sum() const { return fabsf(largest) < INFINITY ? log1pf(others) : 0.0f; }

  // softmax(x) = exp(x - largest) scale(): NaN where there is no distribution.
  DEVICE float scale() const { return 1.0f / (1.0f + others) + (largest - largest); }

  // V terms at once. Where none exceeds the largest so far, which after the first few is so nearly
  // always, a term costs one approximate exponential and four more instructions.
  template <int V> DEVICE void add(const float (&x)[V]) {
    float top = x[0];
#pragma unroll
    for (int j = 1; j < V; j++) top = fmaxf(top, x[j]);
    if (top > largest) {
      others = (others + 1.0f) * expf(largest - top);
      float equal = -1.0f;  // one of the new largest ones is left out
#pragma unroll
      for (int j = 0; j < V; j++) {
        if (x[j] == top) equal += 1.0f;
        else others += expf(x[j] - top);
      }
      others += equal;
      largest = top;
    } else if (largest > -INFINITY) {
#pragma unroll
      for (int j = 0; j < V; j++) others += __expf(x[j] - largest);
    } else {  // nothing but -inf so far, and NaN, which must not be lost
#pragma unroll
      for (int j = 0; j < V; j++) others += x[j] == -INFINITY ? 0.0f : x[j];
    }
  }

  DEVICE void add(const exp_sum& s) {
    if (s.largest == -INFINITY && s.others == -1.0f) return;  // exp(-inf - -inf) would be NaN
    const float ratio = expf(-fabsf(s.largest - largest));
    if (s.largest <= largest) {
      others += (s.others + 1.0f) * ratio;
    } else {
      others = (others + 1.0f) * ratio + s.others;
      largest = s.largest;
    }
  }
};

// The sum over all threads of a block of several warps, one thread high; every thread gets it. Lane 0 of
// a warp has its sum in five steps down, in which the upper lanes add what nobody reads.
template <int WARPS> DEVICE exp_sum team_exp_sum(exp_sum s, float* scratch) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    exp_sum other;
    other.largest = __shfl_down_sync(0xffffffffu, s.largest, offset);
    other.others = __shfl_down_sync(0xffffffffu, s.others, offset);
    s.add(other);
  }
  __syncthreads();  // whoever still reads the last sums
  if (threadIdx.x % 32 == 0) {
    scratch[threadIdx.x / 32] = s.largest;
    scratch[WARPS + threadIdx.x / 32] = s.others;
  }
  __syncthreads();
  s = exp_sum();
  for (int warp = 0; warp < WARPS; warp++) {
    exp_sum other;
    other.largest = scratch[warp];
    other.others = scratch[WARPS + warp];
    s.add(other);
  }
  return s;
}
