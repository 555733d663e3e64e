// Softmax cross-entropy of logits x (rows, classes) for integer targets t, with label smoothing s
// and z-loss weight z (Chowdhery et al. 2022, section 5):
//
//   lse  = log sum exp(x),  nll = lse - x[t]
//   loss = (1 - s) nll + s mean(lse - x) + z lse^2
//   dx   = g ((1 + 2 z lse) softmax(x) - (1 - s) onehot(t) - s / classes)
//
// A row whose target is `ignore` has loss and gradient 0, whatever its logits are; every other
// target is in [0, classes). lse is kept as max x and log sum exp(x - max x), which are not added
// where that would round; the target's entry of dx is expm1(-nll) instead of softmax - 1, so that a
// nearly certain target keeps its digits.
//
// Compile-time: TYPE of logits, losses and gradients; VECTOR, elements an access, which divides the
// number of classes. Sums are float32. Blocks have 256 threads, one block a row.
#include "online.cuh"
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;

struct row_loss {
  exp_sum sum;
  float nll;   // of the target
  float loss;
};

// ---- naive: a thread a row, in uncoalesced pieces

// Two passes over the row.
DEVICE row_loss loss_of_thread(const T* row, int64_t target, int classes, float smoothing,
                               float z_loss) {
  row_loss r = {{to_float(row[0]), 0.0f}, 0.0f, 0.0f};
  int at = 0;  // the place of the largest, whose term is left out
  for (int i = 1; i < classes; i++) {
    const float value = to_float(row[i]);
    if (value > r.sum.largest) r.sum.largest = value, at = i;
  }
  float total = 0.0f;
  for (int i = 0; i < classes; i++) {
    const float below = to_float(row[i]) - r.sum.largest, term = expf(below);
    if (i != at) r.sum.others += term;
    total += below;
  }
  const float log_sum = r.sum.log_sum(), lse = r.sum.largest + log_sum;
  r.nll = (r.sum.largest - to_float(row[target])) + log_sum;
  r.loss = (1.0f - smoothing) * r.nll;
  if (z_loss != 0.0f) r.loss += z_loss * lse * lse;
  if (smoothing != 0.0f) r.loss += smoothing * (log_sum - total / classes);
  return r;
}

// One pass more. `gradient` and `row` may be one place.
DEVICE void gradient_of_thread(T* gradient, const T* row, const row_loss& r, int64_t target,
                               int classes, float g, float smoothing, float z_loss) {
  const float log_sum = r.sum.log_sum(), pull = 2.0f * z_loss * (r.sum.largest + log_sum);
  for (int i = 0; i < classes; i++) {
    const float probability = expf((to_float(row[i]) - r.sum.largest) - log_sum);
    float slope = pull * probability - smoothing / classes;
    slope += i == target ? expm1f(-r.nll) + smoothing : probability;
    gradient[i] = from_float<T>(g * slope);
  }
}

extern "C" __global__ void cross_entropy_forward_naive(
    T* __restrict__ losses, float* __restrict__ shift, float* __restrict__ others,
    float* __restrict__ nll, const T* __restrict__ logits, const int64_t* __restrict__ targets,
    int rows, int classes, float smoothing, float z_loss, int64_t ignore) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  row_loss r = {{0.0f, 0.0f}, 0.0f, 0.0f};
  if (targets[row] != ignore) {
    r = loss_of_thread(logits + (size_t)row * classes, targets[row], classes, smoothing, z_loss);
  }
  losses[row] = from_float<T>(r.loss);
  shift[row] = r.sum.largest;
  others[row] = r.sum.others;
  nll[row] = r.nll;
}

extern "C" __global__ void cross_entropy_backward_naive(
    T* __restrict__ dlogits, const T* __restrict__ g, const T* __restrict__ logits,
    const float* __restrict__ shift, const float* __restrict__ others,
    const float* __restrict__ nll, const int64_t* __restrict__ targets, int rows, int classes,
    float smoothing, float z_loss, int64_t ignore) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const size_t start = (size_t)row * classes;
  if (targets[row] == ignore) {
    for (int i = 0; i < classes; i++) dlogits[start + i] = from_float<T>(0.0f);
    return;
  }
  const row_loss r = {{shift[row], others[row]}, nll[row], 0.0f};
  gradient_of_thread(dlogits + start, logits + start, r, targets[row], classes, to_float(g[row]),
                     smoothing, z_loss);
}

extern "C" __global__ void cross_entropy_in_place_naive(T* __restrict__ losses, T* logits,
                                                        const int64_t* __restrict__ targets,
                                                        int rows, int classes, float scale,
                                                        float smoothing, float z_loss,
                                                        int64_t ignore) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  T* x = logits + (size_t)row * classes;
  row_loss r = {{0.0f, 0.0f}, 0.0f, 0.0f};
  if (targets[row] == ignore) {
    for (int i = 0; i < classes; i++) x[i] = from_float<T>(0.0f);
  } else {
    r = loss_of_thread(x, targets[row], classes, smoothing, z_loss);
    gradient_of_thread(x, x, r, targets[row], classes, scale, smoothing, z_loss);
  }
  losses[row] = from_float<T>(r.loss);
}

// ---- a block a row

// The loss of the block's row in one pass. The mean of the logits is taken of x - x[t], which at
// logits of 1e8 still has digits; only label smoothing needs it.
DEVICE row_loss loss_of_row(const T* row, int64_t target, int classes, float smoothing,
                            float z_loss) {
  __shared__ float scratch[2 * WARPS];
  const float picked = to_float(row[target]);
  const float centre = fabsf(picked) < INFINITY ? picked : 0.0f;
  exp_sum sum;
  float total = 0.0f;
#pragma unroll 2
  for (int i = threadIdx.x * VECTOR; i < classes; i += THREADS * VECTOR) {
    float x[VECTOR];
    load(x, row + i);
    sum.add(x);
    if (smoothing == 0.0f) continue;
#pragma unroll
    for (int j = 0; j < VECTOR; j++) total += x[j] - centre;
  }

  row_loss r;
  r.sum = team_exp_sum<WARPS>(sum, scratch);
  const float log_sum = r.sum.log_sum(), lse = r.sum.largest + log_sum;
  r.nll = (r.sum.largest - picked) + log_sum;
  r.loss = (1.0f - smoothing) * r.nll;
  if (z_loss != 0.0f) r.loss += z_loss * lse * lse;
  if (smoothing != 0.0f) {
    const float mean = team_sum<WARPS>(total, scratch) / classes;
    r.loss += smoothing * (log_sum + (r.sum.largest - centre - mean));
  }
  return r;
}

// The gradient of the block's row, from its last columns to its first: what was read last lies in
// the cache. `gradient` and `row` may be one place.
DEVICE void gradient_of_row(T* gradient, const T* row, const row_loss& r, int64_t target,
                            int classes, float g, float smoothing, float z_loss) {
  const float pull = 2.0f * z_loss * (r.sum.largest + r.sum.log_sum());
  const float factor = g * (1.0f + pull) * r.sum.scale();
  const float spread = g * smoothing / classes;
  const float probability = expf(-r.nll);
  const float at_target = g * (expm1f(-r.nll) + pull * probability + smoothing) - spread;
  const int vectors = classes / VECTOR;
#pragma unroll 2
  for (int k = vectors - 1 - (int)threadIdx.x; k >= 0; k -= THREADS) {
    const int i = k * VECTOR;
    float x[VECTOR];
    load(x, row + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      x[j] = i + j == target ? at_target : factor * __expf(x[j] - r.sum.largest) - spread;
    }
    store(gradient + i, x);
  }
}

DEVICE void zero_row(T* row, int classes) {
  for (int i = threadIdx.x * VECTOR; i < classes; i += THREADS * VECTOR) {
    float zeros[VECTOR] = {};
    store(row + i, zeros);
  }
}

// The loss alone, one read of the logits; backward needs `shift`, `others` and `nll`, a float a row
// each.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_forward(T* __restrict__ losses, float* __restrict__ shift,
                          float* __restrict__ others, float* __restrict__ nll,
                          const T* __restrict__ logits, const int64_t* __restrict__ targets,
                          int classes, float smoothing, float z_loss, int64_t ignore) {
  const size_t row = blockIdx.x;
  row_loss r = {{0.0f, 0.0f}, 0.0f, 0.0f};
  if (targets[row] != ignore) {
    r = loss_of_row(logits + row * classes, targets[row], classes, smoothing, z_loss);
  }
  if (threadIdx.x == 0) {
    losses[row] = from_float<T>(r.loss);
    shift[row] = r.sum.largest;
    others[row] = r.sum.others;
    nll[row] = r.nll;
  }
}

// From g, the gradient of each row's loss: a read of the logits and a write.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_backward(T* __restrict__ dlogits, const T* __restrict__ g,
                           const T* __restrict__ logits, const float* __restrict__ shift,
                           const float* __restrict__ others, const float* __restrict__ nll,
                           const int64_t* __restrict__ targets, int classes, float smoothing,
                           float z_loss, int64_t ignore) {
  const size_t row = blockIdx.x;
  if (targets[row] == ignore) return zero_row(dlogits + row * classes, classes);
  const row_loss r = {{shift[row], others[row]}, nll[row], 0.0f};
  gradient_of_row(dlogits + row * classes, logits + row * classes, r, targets[row], classes,
                  to_float(g[row]), smoothing, z_loss);
}

// Loss and gradient in one kernel, the gradient in the place of the logits: the row is read from
// memory once, since its second read comes from the cache while the block still holds it, and no
// second array of that size exists. `scale` multiplies the gradient: 1 / counted rows for a mean.
extern "C" __global__ void __launch_bounds__(THREADS)
    cross_entropy_in_place(T* __restrict__ losses, T* logits,
                           const int64_t* __restrict__ targets, int classes, float scale,
                           float smoothing, float z_loss, int64_t ignore) {
  const size_t row = blockIdx.x;
  T* x = logits + row * classes;
  if (targets[row] == ignore) {
    if (threadIdx.x == 0) losses[row] = from_float<T>(0.0f);
    return zero_row(x, classes);
  }
  const row_loss r = loss_of_row(x, targets[row], classes, smoothing, z_loss);
  if (threadIdx.x == 0) losses[row] = from_float<T>(r.loss);
  gradient_of_row(x, x, r, targets[row], classes, scale, smoothing, z_loss);
}
