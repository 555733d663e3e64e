// warp.hpp: shuffles, votes and reductions of a warp.
#pragma once
#include <type_traits>

#include "abi.hpp"

namespace sim {

struct Shuffle {
  const void* value;
  size_t bytes;
  uint32_t source;  // lane
};

inline void shuffle(Lane (&lanes)[32], uint32_t arrived) {
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (!(arrived >> lane & 1)) continue;
    const Shuffle& mine = *static_cast<const Shuffle*>(lanes[lane].in);
    if (arrived >> mine.source & 1) {
      memcpy(lanes[lane].out, static_cast<const Shuffle*>(lanes[mine.source].in)->value, mine.bytes);
    } else {
      memset(lanes[lane].out, 0xFF, mine.bytes);
      report("shuffle", "a shuffle reads from a lane that does not take part in it");
    }
  }
}

template <class T>
SIM_INLINE T shuffle_from(unsigned mask, T value, uint32_t source, const char* name) {
  T result;
  const Shuffle mine{&value, sizeof(T), source};
  warp_collective(mask, shuffle, &mine, &result, name);
  return result;
}

// Combines the values of all lanes with f and gives every lane the result.
template <class T, T (*f)(T, T)>
void reduce(Lane (&lanes)[32], uint32_t arrived) {
  bool any = false;
  T all{};
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (!(arrived >> lane & 1)) continue;
    const T value = *static_cast<const T*>(lanes[lane].in);
    all = any ? f(all, value) : value;
    any = true;
  }
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (arrived >> lane & 1) *static_cast<T*>(lanes[lane].out) = all;
  }
}

template <class T> T plus(T a, T b) { return a + b; }
template <class T> T smaller(T a, T b) { return b < a ? b : a; }
template <class T> T larger(T a, T b) { return a < b ? b : a; }
template <class T> T bit_and(T a, T b) { return a & b; }
template <class T> T bit_or(T a, T b) { return a | b; }
template <class T> T bit_xor(T a, T b) { return a ^ b; }

template <class T, T (*f)(T, T)>
SIM_INLINE T reduced(unsigned mask, T value, const char* name) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "__reduce_*_sync takes 32-bit integers");
  T result;
  warp_collective(mask, reduce<T, f>, &value, &result, name);
  return result;
}

}  // namespace sim

// `width` is a power of two: the warp is taken as groups of so many lanes.
template <class T>
SIM_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const uint32_t lane = sim::self.lane, group = lane & ~uint32_t(width - 1);
  return sim::shuffle_from(mask, value, group | (uint32_t(source) & uint32_t(width - 1)), "__shfl_sync");
}
template <class T>
SIM_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const uint32_t lane = sim::self.lane, source = lane ^ uint32_t(lanes);
  const bool beyond = source > (lane | uint32_t(width - 1));
  return sim::shuffle_from(mask, value, beyond ? lane : source, "__shfl_xor_sync");
}
template <class T>
SIM_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const uint32_t lane = sim::self.lane;
  const bool beyond = (lane & uint32_t(width - 1)) + lanes >= uint32_t(width);
  return sim::shuffle_from(mask, value, beyond ? lane : lane + lanes, "__shfl_down_sync");
}
template <class T>
SIM_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  const uint32_t lane = sim::self.lane;
  const bool beyond = (lane & uint32_t(width - 1)) < lanes;
  return sim::shuffle_from(mask, value, beyond ? lane : lane - lanes, "__shfl_up_sync");
}

SIM_INLINE unsigned __ballot_sync(unsigned mask, int predicate) {
  return sim::reduced<unsigned, sim::bit_or>(mask, predicate ? 1u << sim::self.lane : 0, "__ballot_sync");
}
SIM_INLINE int __any_sync(unsigned mask, int predicate) {
  return sim::reduced<unsigned, sim::bit_or>(mask, predicate != 0, "__any_sync") != 0;
}
SIM_INLINE int __all_sync(unsigned mask, int predicate) {
  return sim::reduced<unsigned, sim::bit_and>(mask, predicate != 0, "__all_sync") != 0;
}
template <class T> SIM_INLINE T __reduce_add_sync(unsigned mask, T v) {
  return sim::reduced<T, sim::plus>(mask, v, "__reduce_add_sync");
}
template <class T> SIM_INLINE T __reduce_min_sync(unsigned mask, T v) {
  return sim::reduced<T, sim::smaller>(mask, v, "__reduce_min_sync");
}
template <class T> SIM_INLINE T __reduce_max_sync(unsigned mask, T v) {
  return sim::reduced<T, sim::larger>(mask, v, "__reduce_max_sync");
}
template <class T> SIM_INLINE T __reduce_and_sync(unsigned mask, T v) {
  return sim::reduced<T, sim::bit_and>(mask, v, "__reduce_and_sync");
}
template <class T> SIM_INLINE T __reduce_or_sync(unsigned mask, T v) {
  return sim::reduced<T, sim::bit_or>(mask, v, "__reduce_or_sync");
}
template <class T> SIM_INLINE T __reduce_xor_sync(unsigned mask, T v) {
  return sim::reduced<T, sim::bit_xor>(mask, v, "__reduce_xor_sync");
}
