// Philox 4x64-10 (Salmon et al. 2011, section 4.3): 256 random bits as a pure function of a key and
// the number of a block, the bits that tinygen.random draws on the CPU.
#pragma once
#include "common.cuh"

// Where a stream stands, in device memory: a captured graph draws from where the last one ended.
// The number of a block has 256 bits, the lowest word first.
struct philox_state {
  uint64_t key[2];
  uint64_t block[4];
};

// block + n, modulo 2^256.
DEVICE void philox_skip(uint64_t (&block)[4], uint64_t n) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    block[i] += n;
    n = block[i] < n;  // the carry
  }
}

// The four words of the n-th block from the state on. NumPy counts before it draws, so that its
// block n is the function at n + 1.
DEVICE void philox(uint64_t (&word)[4], const philox_state& state, uint64_t n) {
  uint64_t key0 = state.key[0], key1 = state.key[1];
#pragma unroll
  for (int i = 0; i < 4; i++) word[i] = state.block[i];
  philox_skip(word, n);
  philox_skip(word, 1);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const uint64_t high0 = __umul64hi(0xD2E7470EE14C6C93ull, word[0]);
    const uint64_t high1 = __umul64hi(0xCA5A826395121157ull, word[2]);
    const uint64_t low0 = 0xD2E7470EE14C6C93ull * word[0];
    const uint64_t low1 = 0xCA5A826395121157ull * word[2];
    word[0] = high1 ^ word[1] ^ key0;
    word[1] = low1;
    word[2] = high0 ^ word[3] ^ key1;
    word[3] = low0;
    key0 += 0x9E3779B97F4A7C15ull;  // the golden ratio
    key1 += 0xBB67AE8584CAA73Bull;  // sqrt(3) - 1
  }
}

// The i-th half word, the low half of a word first: a block has eight.
template <int N> DEVICE uint32_t half_word(const uint64_t (&word)[N], int i) {
  return (uint32_t)(word[i / 2] >> (32 * (i % 2)));
}

// Half word n of a stream, by itself: the whole block is made for it.
DEVICE uint32_t philox_half_word(const philox_state& state, uint64_t n) {
  uint64_t word[4];
  philox(word, state, n / 8);
  const int i = n % 8;
  const uint64_t low = i & 2 ? word[1] : word[0], high = i & 2 ? word[3] : word[2];
  return (uint32_t)((i & 4 ? high : low) >> (32 * (i & 1)));
}

// Uniform in [0, 1), from the upper 24 bits.
DEVICE float unit_float(uint32_t bits) { return (float)(bits >> 8) * 5.9604644775390625e-8f; }
