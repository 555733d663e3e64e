// Group norm and an activation in one, of x (N, positions, C) with C the fastest axis (NHWC):
//
//   u = (x - mean) rstd weight + bias over each group of C / G channels and all positions of an
//   image (Wu and He 2018, eqs. 1-3),  y = f(u)
//   dx = rstd (h - mean(h) - xhat mean(h xhat)) with gu = g f'(u), h = gu weight
//   dweight = sum of gu xhat,  dbias = sum of gu
//
// A group is a narrow stripe of an image, and there are few groups: one block a group reads 32 to
// 64 bytes at a time and leaves most of the GPU idle. So an image is cut into chunks of positions,
// whose partial sums by channel are added up in a second, small kernel, and a third one applies
// them. Sums are float32, in an order that depends on the launch alone. mean and rstd (N, G) are
// float32.
//
// Compile-time: TYPE, ACTIVATION (gelu.cuh), VECTOR, elements an access, which divides C. Blocks
// have (32, 8) threads: x over 32 VECTOR channels, y over positions; grids are (ceil(C / (32
// VECTOR)), chunks, N). weight, bias and slope = f'(u) may be null.
#include "gelu.cuh"
#include "reduce.cuh"
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef ACTIVATION
#define ACTIVATION silu
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;
using F = ACTIVATION;

// ---- naive: a block of 256 threads a group of an image

// Three passes over its stripe.
extern "C" __global__ void __launch_bounds__(256)
    group_norm_naive(T* __restrict__ y, T* __restrict__ slope, float* __restrict__ mean,
                     float* __restrict__ rstd, const T* __restrict__ x,
                     const T* __restrict__ weight, const T* __restrict__ bias, int positions,
                     int channels, int groups, float eps) {
  __shared__ float scratch[8];
  const int size = channels / groups, n = blockIdx.x / groups, group = blockIdx.x % groups;
  const size_t start = (size_t)n * positions * channels + group * size;
  const int count = positions * size;
  float m = 0.0f, squares = 0.0f;
  for (int i = threadIdx.x; i < count; i += 256) {
    m += to_float(x[start + (size_t)(i / size) * channels + i % size]);
  }
  m = team_sum<8>(m, scratch) / count;
  for (int i = threadIdx.x; i < count; i += 256) {
    const float centred = to_float(x[start + (size_t)(i / size) * channels + i % size]) - m;
    squares += centred * centred;
  }
  const float r = 1.0f / sqrtf(team_sum<8>(squares, scratch) / count + eps);
  for (int i = threadIdx.x; i < count; i += 256) {
    const size_t place = start + (size_t)(i / size) * channels + i % size;
    const int channel = group * size + i % size;
    float u = (to_float(x[place]) - m) * r;
    if (weight) u *= to_float(weight[channel]);
    if (bias) u += to_float(bias[channel]);
    y[place] = from_float<T>(F::value(u));
    if (slope) slope[place] = from_float<T>(F::slope(u));
  }
  if (threadIdx.x == 0) {
    mean[blockIdx.x] = m;
    rstd[blockIdx.x] = r;
  }
}

// Two passes: a thread walks down a channel for the image's dweight and dbias (N, C), of which the
// means of the group are made; most threads have no channel. Then all of them write dx.
extern "C" __global__ void __launch_bounds__(256)
    group_norm_backward_naive(T* __restrict__ dx, float* __restrict__ dweight,
                              float* __restrict__ dbias, const T* __restrict__ g,
                              const T* __restrict__ slope, const T* __restrict__ x,
                              const T* __restrict__ weight, const float* __restrict__ mean,
                              const float* __restrict__ rstd, int positions, int channels,
                              int groups) {
  __shared__ float scratch[16];
  const int size = channels / groups, n = blockIdx.x / groups;
  const int first = blockIdx.x % groups * size, count = positions * size;  // channel, elements
  const size_t start = (size_t)n * positions * channels + first;
  const float m = mean[blockIdx.x], r = rstd[blockIdx.x];
  float sums[2] = {0.0f, 0.0f};
  for (int c = threadIdx.x; c < size; c += 256) {
    float dw = 0.0f, db = 0.0f;
    for (int p = 0; p < positions; p++) {
      const size_t place = start + (size_t)p * channels + c;
      const float gu = to_float(g[place]) * (slope ? to_float(slope[place]) : 1.0f);
      dw += gu * (to_float(x[place]) - m) * r;
      db += gu;
    }
    dweight[(size_t)n * channels + first + c] = dw;
    dbias[(size_t)n * channels + first + c] = db;
    const float w = weight ? to_float(weight[first + c]) : 1.0f;
    sums[0] += w * db;
    sums[1] += w * dw;
  }
  team_sums<8>(sums, scratch);
  for (int i = threadIdx.x; dx && i < count; i += 256) {
    const size_t place = start + (size_t)(i / size) * channels + i % size;
    const float gu = to_float(g[place]) * (slope ? to_float(slope[place]) : 1.0f);
    const float h = gu * (weight ? to_float(weight[first + i % size]) : 1.0f);
    const float xhat = (to_float(x[place]) - m) * r;
    dx[place] = from_float<T>(r * (h - sums[0] / count - xhat * (sums[1] / count)));
  }
}

// ---- forward

// Sums of x - K and (x - K)^2 over a chunk, by channel, to partial (N, chunks, 2, C). K is the
// channel's first number in its image: near its values, so that nothing cancels later.
extern "C" __global__ void __launch_bounds__(256)
    group_norm_sums(float* __restrict__ partial, const T* __restrict__ x, int positions,
                    int channels) {
  __shared__ float scratch[8][32];
  const int channel = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  const bool inside = channel < channels;
  const T* image = x + (size_t)blockIdx.z * positions * channels + channel;
  float sums[VECTOR] = {}, squares[VECTOR] = {};
  if (inside) {
    float first[VECTOR];
    load(first, image);
    for (int p = blockIdx.y * 8 + threadIdx.y; p < positions; p += gridDim.y * 8) {
      float value[VECTOR];
      load(value, image + (size_t)p * channels);
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        const float d = value[j] - first[j];
        sums[j] += d;
        squares[j] += d * d;
      }
    }
  }
  float* out = partial + ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * 2 * channels + channel;
#pragma unroll
  for (int j = 0; j < VECTOR; j++) {
    const float sum = column_sum(sums[j], scratch), square = column_sum(squares[j], scratch);
    if (threadIdx.y == 0 && inside) {
      out[j] = sum;
      out[channels + j] = square;
    }
  }
}

// A warp a group of an image, grid (G, N): mean and rstd from the partial sums. With a mean mu_c
// and a centred sum of squares M_c for each channel over P positions, those of the group are
// mean(mu_c) and sum M_c + P sum (mu_c - mean)^2 (Chan et al. 1983, eq. 2.1): no difference of
// large numbers.
extern "C" __global__ void __launch_bounds__(32)
    group_norm_statistics(float* __restrict__ mean, float* __restrict__ rstd,
                          const float* __restrict__ partial, const T* __restrict__ x, int chunks,
                          int positions, int channels, float eps) {
  const int groups = gridDim.x, size = channels / groups, n = blockIdx.y;
  const float* sums = partial + (size_t)n * chunks * 2 * channels + blockIdx.x * size;
  const T* first = x + (size_t)n * positions * channels + blockIdx.x * size;
  const float centre = to_float(first[0]);  // of the means of the channels
  float total = 0.0f, spread = 0.0f, squares = 0.0f;
  for (int c = threadIdx.x; c < size; c += 32) {
    float sum = 0.0f, square = 0.0f;
    for (int k = 0; k < chunks; k++) {
      sum += sums[(size_t)k * 2 * channels + c];
      square += sums[(size_t)k * 2 * channels + channels + c];
    }
    const float shifted = sum / positions;
    const float d = to_float(first[c]) - centre + shifted;
    total += d;
    spread += d * d;
    squares += fmaxf(square - sum * shifted, 0.0f);
  }
  total = warp_sum(total) / size;
  spread = fmaxf(warp_sum(spread) / size - total * total, 0.0f);
  const float variance = warp_sum(squares) / size / positions + spread;
  if (threadIdx.x == 0) {
    mean[n * groups + blockIdx.x] = centre + total;
    rstd[n * groups + blockIdx.x] = 1.0f / sqrtf(variance + eps);
  }
}

// y = f(a (x - mean) + b), with a and b of a thread's channels in registers.
extern "C" __global__ void __launch_bounds__(256)
    group_norm_apply(T* __restrict__ y, T* __restrict__ slope, const T* __restrict__ x,
                     const T* __restrict__ weight, const T* __restrict__ bias,
                     const float* __restrict__ mean, const float* __restrict__ rstd,
                     int positions, int channels, int groups) {
  const int channel = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  if (channel >= channels) return;
  float m[VECTOR], a[VECTOR], b[VECTOR] = {};
#pragma unroll
  for (int j = 0; j < VECTOR; j++) {
    const int group = blockIdx.z * groups + (channel + j) / (channels / groups);
    m[j] = mean[group];
    a[j] = rstd[group];
    if (weight) a[j] *= to_float(weight[channel + j]);
    if (bias) b[j] = to_float(bias[channel + j]);
  }
  const size_t image = (size_t)blockIdx.z * positions * channels + channel;
  for (int p = blockIdx.y * 8 + threadIdx.y; p < positions; p += gridDim.y * 8) {
    const size_t i = image + (size_t)p * channels;
    float u[VECTOR], value[VECTOR];
    load(u, x + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      u[j] = a[j] * (u[j] - m[j]) + b[j];
      value[j] = F::value(u[j]);
    }
    store(y + i, value);
    if (!slope) continue;
#pragma unroll
    for (int j = 0; j < VECTOR; j++) value[j] = F::slope(u[j]);
    store(slope + i, value);
  }
}

// ---- backward

// Sums of gu and of gu (x - mean) over a chunk, by channel, to partial (N, chunks, 2, C).
extern "C" __global__ void __launch_bounds__(256)
    group_norm_backward_sums(float* __restrict__ partial, const T* __restrict__ g,
                             const T* __restrict__ slope, const T* __restrict__ x,
                             const float* __restrict__ mean, int positions, int channels,
                             int groups) {
  __shared__ float scratch[8][32];
  const int channel = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  const bool inside = channel < channels;
  const size_t image = (size_t)blockIdx.z * positions * channels + channel;
  float sums[VECTOR] = {}, moments[VECTOR] = {};
  if (inside) {
    float m[VECTOR];
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      m[j] = mean[blockIdx.z * groups + (channel + j) / (channels / groups)];
    }
    for (int p = blockIdx.y * 8 + threadIdx.y; p < positions; p += gridDim.y * 8) {
      const size_t i = image + (size_t)p * channels;
      float gu[VECTOR], value[VECTOR];
      load(gu, g + i);
      if (slope) {
        load(value, slope + i);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) gu[j] *= value[j];
      }
      load(value, x + i);
#pragma unroll
      for (int j = 0; j < VECTOR; j++) {
        sums[j] += gu[j];
        moments[j] += gu[j] * (value[j] - m[j]);
      }
    }
  }
  float* out = partial + ((size_t)blockIdx.z * gridDim.y + blockIdx.y) * 2 * channels + channel;
#pragma unroll
  for (int j = 0; j < VECTOR; j++) {
    const float sum = column_sum(sums[j], scratch), moment = column_sum(moments[j], scratch);
    if (threadIdx.y == 0 && inside) {
      out[j] = sum;
      out[channels + j] = moment;
    }
  }
}

// A warp a group of an image, grid (G, N). Each image's dweight and dbias (N, C), which
// `column_sums_finish` of column_sums.cu adds up; and the two numbers a group that dx needs,
// projection (N, 2, G): dx = rstd weight gu - projection0 - projection1 (x - mean).
extern "C" __global__ void __launch_bounds__(32)
    group_norm_projection(float* __restrict__ projection, float* __restrict__ dweight,
                          float* __restrict__ dbias, const float* __restrict__ partial,
                          const T* __restrict__ weight, const float* __restrict__ rstd,
                          int chunks, int positions, int channels) {
  const int groups = gridDim.x, size = channels / groups, n = blockIdx.y;
  const float r = rstd[n * groups + blockIdx.x];
  const float* sums = partial + (size_t)n * chunks * 2 * channels;
  float total = 0.0f, moments = 0.0f;
  for (int i = threadIdx.x; i < size; i += 32) {
    const int c = blockIdx.x * size + i;
    float sum = 0.0f, moment = 0.0f;
    for (int k = 0; k < chunks; k++) {
      sum += sums[(size_t)k * 2 * channels + c];
      moment += sums[(size_t)k * 2 * channels + channels + c];
    }
    dweight[(size_t)n * channels + c] = moment * r;
    dbias[(size_t)n * channels + c] = sum;
    const float w = weight ? to_float(weight[c]) : 1.0f;
    total += w * sum;
    moments += w * moment;
  }
  const float share = r / ((float)size * positions);
  total = warp_sum(total) * share;
  moments = warp_sum(moments) * share * r * r;
  if (threadIdx.x == 0) {
    projection[n * 2 * groups + blockIdx.x] = total;
    projection[(n * 2 + 1) * groups + blockIdx.x] = moments;
  }
}

extern "C" __global__ void __launch_bounds__(256)
    group_norm_backward_apply(T* __restrict__ dx, const T* __restrict__ g,
                              const T* __restrict__ slope, const T* __restrict__ x,
                              const T* __restrict__ weight, const float* __restrict__ mean,
                              const float* __restrict__ rstd,
                              const float* __restrict__ projection, int positions, int channels,
                              int groups) {
  const int channel = (blockIdx.x * 32 + threadIdx.x) * VECTOR;
  if (channel >= channels) return;
  float m[VECTOR], a[VECTOR], offset[VECTOR], factor[VECTOR];
#pragma unroll
  for (int j = 0; j < VECTOR; j++) {
    const int group = (channel + j) / (channels / groups);
    m[j] = mean[blockIdx.z * groups + group];
    a[j] = rstd[blockIdx.z * groups + group];
    if (weight) a[j] *= to_float(weight[channel + j]);
    offset[j] = projection[blockIdx.z * 2 * groups + group];
    factor[j] = projection[(blockIdx.z * 2 + 1) * groups + group];
  }
  const size_t image = (size_t)blockIdx.z * positions * channels + channel;
  for (int p = blockIdx.y * 8 + threadIdx.y; p < positions; p += gridDim.y * 8) {
    const size_t i = image + (size_t)p * channels;
    float gu[VECTOR], value[VECTOR];
    load(gu, g + i);
    if (slope) {
      load(value, slope + i);
#pragma unroll
      for (int j = 0; j < VECTOR; j++) gu[j] *= value[j];
    }
    load(value, x + i);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) {
      value[j] = a[j] * gu[j] - offset[j] - factor[j] * (value[j] - m[j]);
    }
    store(dx + i, value);
  }
}
