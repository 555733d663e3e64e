// memory.cpp: see memory.hpp.
#include "memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace sim {

Memory memory;

namespace {

constexpr size_t most_dynamic = 256 << 10;
constexpr uint32_t first_shared_address = 1024;  // on the GPU the first KiB is the system's

// Between two regions that are out of reach, so that an access beyond the end meets no other object.
char* dynamic_region() {
  static char* region = static_cast<char*>(mmap(nullptr, 3 * most_dynamic, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) + most_dynamic;
  return region;
}

std::string within(const std::string& name, Address begin, Address end, Address a) {
  const long offset = long(a - begin);
  return "byte " + std::to_string(offset) + " of '" + name + "' (" + std::to_string(end - begin) + " bytes)";
}

size_t distance(Address begin, Address end, Address a) { return a < begin ? begin - a : a >= end ? a - end + 1 : 0; }

}  // namespace

const SharedArray* Memory::array_at(Address a) const {
  const auto after = std::upper_bound(arrays.begin(), arrays.end(), a,
                                      [](Address x, const SharedArray& array) { return x < array.end; });
  return after != arrays.end() && a >= after->begin ? &*after : nullptr;
}

Buffer* Memory::buffer_at(Address a) {
  for (Buffer& buffer : buffers) {
    if (a - buffer.begin < buffer.end - buffer.begin) return &buffer;
  }
  return nullptr;
}

std::string Memory::describe(Address a) const {
  size_t nearest = 64 << 20;
  std::string text = "memory that is no argument of the kernel";
  auto consider = [&](const std::string& name, Address begin, Address end) {
    const size_t d = distance(begin, end, a);
    if (d >= nearest) return;
    nearest = d;
    text = within(name, begin, end, a);
  };
  if (distance(dynamic_begin, dynamic_begin + dynamic_bytes, a) < most_dynamic) {
    consider("dynamic shared memory", dynamic_begin, dynamic_begin + dynamic_bytes);
  }
  if (in_static(a)) {
    for (const SharedArray& array : arrays) consider(array.name, array.begin, array.end);
  } else {
    for (const Buffer& buffer : buffers) consider(buffer.name, buffer.begin, buffer.end);
  }
  if (nearest == (64 << 20)) {
    for (size_t i = 0; i < rt.count; i++) {
      const bool local = a - Address(rt.threads[i].stack) < stack_bytes;
      if (local) return "the local memory of " + name_of(uint32_t(i));
    }
  }
  return text;
}

void place_dynamic_shared(size_t bytes, size_t alignment) {
  // Aligned as the kernel declares and no better, so that a wrong declaration is found.
  const size_t offset = alignment < first_shared_address ? first_shared_address + alignment : 0;
  memory.dynamic_begin = Address(dynamic_region()) + offset;
  memory.dynamic_bytes = bytes;
  if (rt.checking && memory.dynamic_words.size() < bytes / 4 + 2) memory.dynamic_words.resize(bytes / 4 + 2);
}

// Every byte 0xFF: NaN as any floating-point number.
void poison_shared() {
  for (const SharedArray& array : memory.arrays) {
    memset(reinterpret_cast<void*>(array.begin), 0xFF, array.end - array.begin);
  }
  memset(reinterpret_cast<void*>(memory.dynamic_begin), 0xFF, memory.dynamic_bytes);
}

void* dynamic_shared() { return reinterpret_cast<void*>(memory.dynamic_begin); }

// Dynamic shared memory is at 1024, the static arrays behind it.
namespace {
Address dynamic_base() { return Address(dynamic_region()) - first_shared_address; }
uint32_t static_base() { return uint32_t((memory.dynamic_bytes + 4 * first_shared_address) / 1024 * 1024); }
}  // namespace

uint32_t shared_address(const void* pointer) {
  const Address a = Address(pointer);
  if (memory.in_static(a)) return uint32_t(a - memory.static_begin / 1024 * 1024) + static_base();
  const Address offset = a - dynamic_base();
  if (offset < first_shared_address + most_dynamic) return uint32_t(offset);
  note("out-of-bounds", "shared_address of a pointer that is not to shared memory: " + memory.describe(a), SIM_CALLER);
  return 0;
}

void* shared_pointer(uint32_t address) {
  const uint32_t base = static_base();
  if (address >= base && memory.static_end) {
    return reinterpret_cast<void*>(memory.static_begin / 1024 * 1024 + (address - base));
  }
  return reinterpret_cast<void*>(dynamic_base() + address);
}

}  // namespace sim
