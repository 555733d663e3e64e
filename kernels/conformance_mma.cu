// One tiny kernel for each function of tensor_core.cuh, so that its two bodies can be held against each
// other: the simulator runs the one, a GPU the other, on the same registers, and both against what the
// PTX ISA says (tests/kernels/test_conformance.py). A machine with a GPU runs these first.
#include "tensor_core.cuh"

// tile (32 rows of 8 numbers) -> the registers of ldmatrix, each lane's side by side: x4, x4
// transposed, x2, x2 transposed: 12 a lane.
extern "C" __global__ void conform_load_matrix(uint32_t* out, const uint16_t* tile) {
  __shared__ __align__(16) uint16_t rows[32 * 8];
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; i++) rows[lane * 8 + i] = tile[lane * 8 + i];
  __syncthreads();
  uint32_t plain[4], turned[4], two[2], two_turned[2];
  load_matrix_x4(plain, rows + lane * 8);
  load_matrix_x4_transposed(turned, rows + lane * 8);
  load_matrix_x2(two, rows + lane % 16 * 8);
  load_matrix_x2_transposed(two_turned, rows + lane % 16 * 8);
  for (int i = 0; i < 4; i++) out[lane * 12 + i] = plain[i];
  for (int i = 0; i < 4; i++) out[lane * 12 + 4 + i] = turned[i];
  for (int i = 0; i < 2; i++) out[lane * 12 + 8 + i] = two[i];
  for (int i = 0; i < 2; i++) out[lane * 12 + 10 + i] = two_turned[i];
}

// d (32 lanes x 4) = a (x 4) b (x 2) + c (x 4).
template <typename T>
DEVICE void conform_mma(float* d, const uint32_t* a, const uint32_t* b, const float* c) {
  const int lane = threadIdx.x;
  uint32_t x[4], y[2];
  float sums[4];
  for (int i = 0; i < 4; i++) x[i] = a[lane * 4 + i];
  for (int i = 0; i < 2; i++) y[i] = b[lane * 2 + i];
  for (int i = 0; i < 4; i++) sums[i] = c[lane * 4 + i];
  mma_m16n8k16<T>(sums, x, y);
  for (int i = 0; i < 4; i++) d[lane * 4 + i] = sums[i];
}

extern "C" __global__ void conform_mma_bf16(float* d, const uint32_t* a, const uint32_t* b, const float* c) {
  conform_mma<bf16>(d, a, b, c);
}

extern "C" __global__ void conform_mma_f16(float* d, const uint32_t* a, const uint32_t* b, const float* c) {
  conform_mma<f16>(d, a, b, c);
}

// 64 pieces of 16 bytes through shared memory in two groups; of each group the odd pieces are invalid.
extern "C" __global__ void conform_copy_async(uint4* out, const uint4* in) {
  __shared__ uint4 pieces[64];
  const int lane = threadIdx.x;
  for (int group = 0; group < 2; group++) {
    copy_async_16(&pieces[32 * group + lane], &in[32 * group + lane], lane % 2 == 0);
    copy_async_commit();
  }
  copy_async_wait<1>();
  __syncthreads();
  out[lane] = pieces[lane];
  copy_async_wait<0>();
  __syncthreads();
  out[32 + lane] = pieces[32 + lane];
}

// Both types to 16 bits and back, and pairs: out holds to_float(from_float(x)) and the packed bits.
extern "C" __global__ void conform_conversions(float* out, uint32_t* pairs, const float* in) {
  const int lane = threadIdx.x;
  const float x = in[lane];
  out[lane] = to_float(from_float<bf16>(x));
  out[32 + lane] = to_float(from_float<f16>(x));
  pairs[lane] = pack<bf16>(x, in[(lane + 1) % 32]);
  pairs[32 + lane] = pack<f16>(x, in[(lane + 1) % 32]);
}
