// AdamW (Loshchilov and Hutter 2019, algorithm 2, as PyTorch has it) on flat buffers that hold all
// parameters of an optimiser, with the global norm of the gradients and clipping by it:
//
//   norm = sqrt(sum g^2),  g <- g min(1, max_norm / norm)
//   m <- beta1 m + g,  v <- beta2 v + g^2
//   p <- (1 - lr weight_decay) p - lr c1 m / (sqrt(c2 v) + eps),  c = (1 - beta) / (1 - beta^step)
//
// The moments are sums, as on the CPU: the scalars c make them the bias-corrected means. lr, the
// step and the clipping factor lie in device memory, so that a CUDA graph captured once serves
// every step. Parameters and moments are float32 (the master weights); TYPE is that of the
// gradients and of the copy of the parameters that the model computes with.
//
// Compile-time: TYPE; VECTOR, floats an access: 4, or 1 where a buffer does not begin at 16 bytes.
#include "reduce.cuh"
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;
constexpr int THREADS = 256;

// What a step needs beside its arrays: 8 floats. `lr` is written by the schedule, `step` counts to
// 2^24; the others are of this step.
struct adamw_state {
  float lr;
  float step;
  float decay;    // 1 - lr weight_decay
  float rate;     // lr c1 / sqrt(c2)
  float damping;  // eps / sqrt(c2)
  float clip;     // min(1, max_norm / norm)
  float norm;
  float spare;
};

// ---- the global norm

// Naive: one block walks over everything.
extern "C" __global__ void __launch_bounds__(THREADS)
    grad_norm_naive(adamw_state* __restrict__ state, const T* __restrict__ grad, int64_t n,
                    float max_norm) {
  __shared__ float scratch[THREADS / 32];
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += to_float(grad[i]) * to_float(grad[i]);
  sum = team_sum<THREADS / 32>(sum, scratch);
  if (threadIdx.x != 0) return;
  state->norm = sqrtf(sum);
  state->clip = state->norm > max_norm ? max_norm / state->norm : 1.0f;
}

// The sum of squares of each block's share, 16 bytes an access, in VECTOR sums a thread. Bytes: one
// read of the gradients.
extern "C" __global__ void __launch_bounds__(THREADS)
    grad_norm_partial(float* __restrict__ partial, const T* __restrict__ grad, int64_t n) {
  __shared__ float scratch[THREADS / 32];
  float sums[VECTOR] = {};
  const int64_t whole = n / VECTOR * VECTOR, step = (int64_t)gridDim.x * THREADS * VECTOR;
  const int64_t thread = (int64_t)blockIdx.x * THREADS + threadIdx.x;
#pragma unroll 4
  for (int64_t i = thread * VECTOR; i < whole; i += step) {
    float g[VECTOR];
    load(g, grad + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sums[j] += g[j] * g[j];
  }
  if (whole + thread < n) {  // fewer than VECTOR are left
    const float g = to_float(grad[whole + thread]);
    sums[0] += g * g;
  }
#pragma unroll
  for (int j = 1; j < VECTOR; j++) sums[0] += sums[j];
  const float sum = team_sum<THREADS / 32>(sums[0], scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// One block of 256 threads: the partial sums (blocks,) to the norm and the clipping factor. A norm
// that is not finite leaves the gradients as they are: there is no right scale for them.
extern "C" __global__ void __launch_bounds__(THREADS)
    grad_norm_finish(adamw_state* __restrict__ state, const float* __restrict__ partial,
                     int blocks, float max_norm) {
  __shared__ float scratch[THREADS / 32];
  float sum = 0.0f;
  for (int i = threadIdx.x; i < blocks; i += THREADS) sum += partial[i];
  const float norm = sqrtf(team_sum<THREADS / 32>(sum, scratch));
  if (threadIdx.x != 0) return;
  state->norm = norm;
  state->clip = norm > max_norm && norm < INFINITY ? max_norm / norm : 1.0f;
}

// ---- the step

// One thread: counts the step and makes its scalars, in float64 since 1 - beta^step of float32
// would have few digits at first.
extern "C" __global__ void adamw_begin(adamw_state* state, double beta1, double beta2, double eps,
                                       double weight_decay) {
  const float step = state->step + 1.0f;
  const double lr = state->lr;
  const double c1 = (1.0 - beta1) / (1.0 - pow(beta1, (double)step));
  const double root2 = sqrt((1.0 - beta2) / (1.0 - pow(beta2, (double)step)));
  state->step = step;
  state->decay = (float)(1.0 - lr * weight_decay);
  state->rate = (float)(lr * c1 / root2);
  state->damping = (float)(eps / root2);
}

DEVICE void adamw_element(float& p, float& m, float& v, float g, const adamw_state& s, float beta1,
                          float beta2) {
  // Fused by hand: left to the compiler, the rungs would differ in their last bit.
  g *= s.clip;
  m = fmaf(beta1, m, g);
  v = fmaf(beta2, v, g * g);
  p = fmaf(s.decay, p, -(s.rate * m / (sqrtf(v) + s.damping)));
}

DEVICE adamw_state adamw_scalars(float decay, float rate, float damping, float clip) {
  adamw_state s = {};
  s.decay = decay;
  s.rate = rate;
  s.damping = damping;
  s.clip = clip;
  return s;
}

// Naive: a thread an element, 4 bytes an access; the scalars by value.
extern "C" __global__ void adamw_naive(float* __restrict__ param, T* __restrict__ copy,
                                       float* __restrict__ m, float* __restrict__ v,
                                       const T* __restrict__ grad, int64_t n, float beta1,
                                       float beta2, float decay, float rate, float damping,
                                       float clip) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const adamw_state s = adamw_scalars(decay, rate, damping, clip);
  adamw_element(param[i], m[i], v[i], to_float(grad[i]), s, beta1, beta2);
  if (copy) copy[i] = from_float<T>(param[i]);
}

// VECTOR elements a thread and access, over all parameters of the optimiser. Bytes an element: 3
// floats read and written and a gradient read, and the copy written where it is not null.
DEVICE void adamw_vectors(float* __restrict__ param, T* __restrict__ copy, float* __restrict__ m,
                          float* __restrict__ v, const T* __restrict__ grad, const adamw_state s,
                          int64_t n, float beta1, float beta2) {
  const int64_t whole = n / VECTOR * VECTOR, step = (int64_t)gridDim.x * THREADS * VECTOR;
  const int64_t thread = (int64_t)blockIdx.x * THREADS + threadIdx.x;
  for (int64_t i = thread * VECTOR; i < whole; i += step) {
    float p[VECTOR], first[VECTOR], second[VECTOR], g[VECTOR];
    load(p, param + i);
    load(first, m + i);
    load(second, v + i);
    load(g, grad + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      adamw_element(p[j], first[j], second[j], g[j], s, beta1, beta2);
    }
    store(param + i, p);
    store(m + i, first);
    store(v + i, second);
    if (copy) store(copy + i, p);
  }
  if (whole + thread < n) {  // fewer than VECTOR are left
    const int64_t i = whole + thread;
    adamw_element(param[i], m[i], v[i], to_float(grad[i]), s, beta1, beta2);
    if (copy) copy[i] = from_float<T>(param[i]);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    adamw_update(float* param, T* copy, float* m, float* v, const T* grad,
                 const adamw_state* state, int64_t n, float beta1, float beta2) {
  adamw_vectors(param, copy, m, v, grad, *state, n, beta1, beta2);
}

// The same with the scalars by value, for a step that no graph holds.
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw_update_by_value(float* param, T* copy, float* m, float* v, const T* grad, int64_t n,
                          float beta1, float beta2, float decay, float rate, float damping,
                          float clip) {
  const adamw_state s = adamw_scalars(decay, rate, damping, clip);
  adamw_vectors(param, copy, m, v, grad, s, n, beta1, beta2);
}
