// What kernels/hopper.cuh does on the CPU: boxes of arrays cut into pieces for the runtime's bulk copies, and the
// products of warpgroups read through their descriptors.
#pragma once
#include <algorithm>
#include <vector>

#include "tensor_core.hpp"

namespace sim {

// The 128-byte swizzle, of an address of shared memory.
inline uint32_t swizzled(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// ---- TMA -------------------------------------------------------------------------------------------------------

// What the hardware refuses, or silently does wrong.
inline const char* fault(const TensorMap& map, const void* shared, uint32_t rank) {
  if (map.rank != rank) return "the tensor map has another number of dimensions than the instruction";
  if (map.swizzle != 0 && map.swizzle != 128) return "only the 128-byte swizzle, or none, is emulated";
  const uint32_t address = shared_address(shared), row = map.box[0] * map.element_bytes;
  if (address % (map.swizzle == 128 ? 1024 : 128)) return "the tile is not aligned for its swizzle (1,024 bytes; 128 without)";
  if (row % 16) return "a row of the box is not a multiple of 16 bytes";
  if (map.swizzle == 128 && row > 128) return "a row of the box is longer than the swizzle's span";
  if (reinterpret_cast<uintptr_t>(map.base) % 16) return "the array does not begin at a multiple of 16 bytes";
  for (uint32_t d = 0; d < rank; d++) {
    if (map.box[d] == 0 || map.box[d] > 256) return "a box has 1 to 256 elements in each dimension";
    if (d + 1 < rank && map.stride[d] % 16) return "a stride of the array is not a multiple of 16 bytes";
  }
  return nullptr;
}

// The box at `at`, 16 bytes of shared memory at a time; a piece that the array's edge cuts is two.
template <size_t N>
SIM_OUTSIDE std::vector<Piece> pieces(const TensorMap& map, void* shared, const int (&at)[N]) {
  if (const char* what = fault(map, shared, N)) trap("tma", what);
  std::vector<Piece> result;
  const uint32_t tile = shared_address(shared), row_bytes = map.box[0] * map.element_bytes;
  uint32_t rows = 1;
  for (size_t d = 1; d < N; d++) rows *= map.box[d];
  for (uint32_t row = 0; row < rows; row++) {
    bool inside = true;
    unsigned char* line = map.base;
    uint32_t rest = row;
    for (size_t d = 1; d < N; d++) {
      const int64_t index = int64_t{at[d]} + rest % map.box[d];
      rest /= map.box[d];
      inside = inside && index >= 0 && index < map.size[d];
      line += index * static_cast<int64_t>(map.stride[d - 1]);
    }
    const int64_t length = int64_t{map.size[0]} * map.element_bytes, first = int64_t{at[0]} * map.element_bytes;
    for (uint32_t byte = 0; byte < row_bytes; byte += 16) {
      const uint32_t address = tile + row * row_bytes + byte;
      auto* target = static_cast<char*>(shared_pointer(map.swizzle == 128 ? swizzled(address) : address));
      const int64_t low = first + byte;  // of the line
      const int64_t begin = inside ? std::clamp<int64_t>(-low, 0, 16) : 16;
      const int64_t end = inside ? std::clamp<int64_t>(length - low, begin, 16) : 16;
      if (begin > 0) result.push_back({target, nullptr, static_cast<uint32_t>(begin)});
      if (end > begin) result.push_back({target + begin, line + low + begin, static_cast<uint32_t>(end - begin)});
      if (end < 16 && end >= begin && begin < 16) {
        result.push_back({target + end, nullptr, static_cast<uint32_t>(16 - end)});
      }
    }
  }
  return result;
}

template <size_t N>
SIM_INLINE void tma_load(void* shared, const TensorMap* map, const int (&at)[N], uint64_t* barrier) {
  const Emulation here;
  const std::vector<Piece> box = pieces(*map, shared, at);
  bulk_load(box.data(), box.size(), barrier);
}

template <size_t N> SIM_INLINE void tma_store(const TensorMap* map, const void* shared, const int (&at)[N]) {
  const Emulation here;
  for (const int first : at) {
    if (first < 0) trap("tma", "a store begins before the array, which an H100 calls an illegal instruction");
  }
  const std::vector<Piece> box = pieces(*map, const_cast<void*>(shared), at);
  bulk_store(box.data(), box.size());
}

// ---- wgmma -----------------------------------------------------------------------------------------------------

// The address of element (i, k) of a factor, i along M or N; a transposed one runs along i (PTX ISA 9.7.16.5.1).
inline const char* element(uint64_t descriptor, bool transposed, uint32_t i, uint32_t k) {
  if (descriptor >> 62 != 1) trap("wgmma", "only descriptors with the 128-byte swizzle are emulated");
  const auto field = [&](int shift) { return static_cast<uint32_t>(descriptor >> shift & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  const uint32_t address = transposed ? start + i / 64 * leading + i % 64 * 2 + k / 8 * stride + k % 8 * 128
                                      : start + i / 8 * stride + i % 8 * 128 + k * 2;
  return static_cast<const char*>(shared_pointer(swizzled(address)));
}

// ROWS x 16 numbers from row `first` on; every 16 bytes that are read are declared once.
template <int ROWS, typename T, int transposed>
inline void read_factor(float (&factor)[ROWS][16], uint64_t descriptor, int first) {
  for (int i = 0; i < ROWS; i++) {
    for (int k = 0; k < 16; k++) {
      const char* place = element(descriptor, transposed, first + i, k);
      if ((transposed ? i : k) % 8 == 0) touch_async_proxy(place, 16, Access::read);
      uint16_t bits;
      std::memcpy(&bits, place, 2);
      factor[i][k] = number<T>(bits);
    }
  }
}

// One warp's 16 rows of D (+)= A B; see kernels/hopper.cuh for who holds what.
template <int N, typename T, int transpose_a, int transpose_b>
SIM_OUTSIDE void multiply(const Product& product, float* const (&d)[32]) {
  float A[16][16], B[N][16];
  if (product.a_in_registers) {
    for (int lane = 0; lane < 32; lane++) put_fragment_a<T>(A, product.a_registers[lane], lane);
  } else {
    read_factor<16, T, transpose_a>(A, product.a, 16 * (self.warp % 4));
  }
  read_factor<N, T, transpose_b>(B, product.b, 0);
  for (int lane = 0; lane < 32; lane++) {
    for (int e = 0; e < N / 2; e++) {
      const int row = lane / 4 + e / 2 % 2 * 8, column = e / 4 * 8 + 2 * (lane % 4) + e % 2;
      float sum = product.accumulate ? d[lane][e] : 0.0f;
      for (int k = 0; k < 16; k++) sum += A[row][k] * B[column][k];
      d[lane][e] = sum;
    }
  }
}

}  // namespace sim
