// Random numbers, the same as tinygen.random.Generator draws on the CPU: words and uniforms bit for
// bit, normals to rounding. A thread makes whole blocks of Philox by itself, from their number:
// there is no state to hand on, and `random_advance` moves the stream once a draw.
#include "philox.cuh"

// After a draw of so many blocks.
extern "C" __global__ void random_advance(philox_state* state, uint64_t blocks) {
  philox_skip(state->block, blocks);
}

// Uniform numbers are low + scale u, brought into [least, most]. Product and sum are rounded apart,
// as on the CPU: one fused operation would give other bits.
DEVICE float uniform_of(uint32_t bits, float low, float scale, float least, float most) {
  const float value = __fadd_rn(__fmul_rn(unit_float(bits), scale), low);
  return fminf(fmaxf(value, least), most);
}

// Two standard normal numbers by Box-Muller, from the half words of the radius and of the angle.
DEVICE void normals_of(float (&pair)[2], uint32_t radius_bits, uint32_t angle_bits) {
  const float share = ((float)~radius_bits + 0.5f) * 2.3283064365386963e-10f;  // (0, 1]
  const float radius = sqrtf(-2.0f * logf(share));
  float cosine, sine;
  sincospif(2.0f * unit_float(angle_bits), &sine, &cosine);
  pair[0] = radius * cosine;
  pair[1] = radius * sine;
}

// Naive: a number a thread, which makes a whole block of Philox for it; two of them for a normal
// number.
extern "C" __global__ void random_uniform_naive(float* __restrict__ out,
                                                const philox_state* __restrict__ state, int64_t n,
                                                float low, float scale, float least, float most) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = uniform_of(philox_half_word(*state, i), low, scale, least, most);
}

extern "C" __global__ void random_normal_naive(float* __restrict__ out,
                                               const philox_state* __restrict__ state, int64_t n) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int64_t pair = i / 2, pairs = (n + 1) / 2;
  float both[2];
  normals_of(both, philox_half_word(*state, pair), philox_half_word(*state, pairs + pair));
  out[i] = i % 2 ? both[1] : both[0];
}

// The numbers of a block of 256 threads, EACH of them a thread's neighbours, through shared memory:
// a warp then writes neighbours, where its threads by themselves would write EACH apart. Number i of
// thread t stands in column i xor t EACH / 32 of row t, so that the 32 of every access lie in 32
// different banks.
template <int EACH> DEVICE void write_numbers(float* out, int64_t n, const float (&number)[EACH]) {
  __shared__ float staged[256][EACH];
  const int turn = threadIdx.x * EACH / 32 % EACH;
#pragma unroll
  for (int i = 0; i < EACH; i++) staged[threadIdx.x][i ^ turn] = number[i];
  __syncthreads();
  const int64_t first = (int64_t)blockIdx.x * 256 * EACH;
#pragma unroll
  for (int k = threadIdx.x; k < 256 * EACH; k += 256) {
    const int thread = k / EACH, i = k % EACH;
    if (first + k < n) out[first + k] = staged[thread][i ^ (thread * EACH / 32 % EACH)];
  }
}

// Words (n,), four a thread: 64-bit integer arithmetic, about 60 multiplications for 32 bytes.
extern "C" __global__ void __launch_bounds__(256)
    random_words(uint64_t* __restrict__ words, const philox_state* __restrict__ state, int64_t n) {
  const int64_t block = (int64_t)blockIdx.x * 256 + threadIdx.x;
  if (block * 4 >= n) return;
  uint64_t word[4];
  philox(word, *state, block);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (block * 4 + i < n) words[block * 4 + i] = word[i];
  }
}

// Uniform numbers (n,), eight a thread: all that a block of Philox has.
extern "C" __global__ void __launch_bounds__(256)
    random_uniform(float* __restrict__ out, const philox_state* __restrict__ state, int64_t n,
                   float low, float scale, float least, float most) {
  uint64_t word[4];
  philox(word, *state, (int64_t)blockIdx.x * 256 + threadIdx.x);
  float number[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    number[i] = uniform_of(half_word(word, i), low, scale, least, most);
  }
  write_numbers(out, n, number);
}

// Eight words without their first `shift` half words, in three steps, since registers have no
// index.
DEVICE void shift_half_words(uint64_t (&word)[8], int shift) {
#pragma unroll
  for (int i = 0; i < 6; i++) word[i] = shift & 4 ? word[i + 2] : word[i];
#pragma unroll
  for (int i = 0; i < 7; i++) word[i] = shift & 2 ? word[i + 1] : word[i];
#pragma unroll
  for (int i = 0; i < 7; i++) {
    if (shift & 1) word[i] = word[i] >> 32 | word[i + 1] << 32;
  }
}

// Standard normal numbers (n,) in pairs by Box-Muller: pair i has its radius from half word i and
// its angle from half word ceil(n / 2) + i. A thread makes eight pairs, whose radii are one block
// and whose angles lie in two.
extern "C" __global__ void __launch_bounds__(256)
    random_normal(float* __restrict__ out, const philox_state* __restrict__ state, int64_t n) {
  const int64_t pairs = (n + 1) / 2, first = ((int64_t)blockIdx.x * 256 + threadIdx.x) * 8;
  uint64_t radii[4], angles[8];
  philox(radii, *state, first / 8);
  uint64_t block[4];
  philox(block, *state, (pairs + first) / 8);
#pragma unroll
  for (int i = 0; i < 4; i++) angles[i] = block[i];
  philox(block, *state, (pairs + first) / 8 + 1);
#pragma unroll
  for (int i = 0; i < 4; i++) angles[4 + i] = block[i];
  shift_half_words(angles, pairs % 8);
  float number[16];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    float both[2];
    normals_of(both, half_word(radii, i), half_word(angles, i));
    number[2 * i] = both[0];
    number[2 * i + 1] = both[1];
  }
  write_numbers(out, n, number);
}
