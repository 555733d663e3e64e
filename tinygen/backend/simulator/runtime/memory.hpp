// memory.hpp: where an address lies. Shared memory is the kernel's static arrays, which are objects of its compiled
// image, and one dynamic region; global memory is the arguments' buffers.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "shadow.hpp"
#include "state.hpp"

namespace sim {

enum class Space : uint8_t { shared, global };

struct SharedArray {
  Address begin, end;
  std::string name;
};

struct Buffer {
  Address begin, end;
  bool read_only;
  std::string name;
  GlobalShadow shadow;
};

struct Memory {
  // shared
  std::vector<SharedArray> arrays;          // of this kernel, by address
  std::vector<Address> hidden;              // bytes the compiler put among them (guards of initialisation)
  Address static_begin = 0, static_end = 0;  // everything between is shared memory or out of bounds
  Address dynamic_begin = 0;
  size_t dynamic_bytes = 0;
  std::vector<SharedWord> static_words, dynamic_words;
  // global
  std::vector<Buffer> buffers;
  // the image of the compiled kernels: constants
  Address image_begin = 0, image_end = 0;

  const SharedArray* array_at(Address a) const;
  Buffer* buffer_at(Address a);
  bool in_dynamic(Address a) const { return a - dynamic_begin < dynamic_bytes; }
  bool in_static(Address a) const { return a - static_begin < static_end - static_begin; }
  bool in_shared(Address a) const { return in_dynamic(a) || in_static(a); }
  SharedWord& shared_word(Address a) {
    return in_dynamic(a) ? dynamic_words[(a - dynamic_begin) / 4] : static_words[(a - static_begin) / 4];
  }
  std::string describe(Address a) const;  // "byte 128 of 'tile' (128 bytes)": the nearest object
};
extern Memory memory;

void place_dynamic_shared(size_t bytes, size_t alignment);
void poison_shared();

}  // namespace sim
