// Several elements as one access: a warp then moves up to 512 bytes with one instruction, and a
// memory-bound kernel issues a quarter (float) or an eighth (16-bit types) of the loads.
#pragma once
#include "common.cuh"

// V elements of T as they lie in memory, at most 16 bytes, at an address that is a multiple of
// their size: the alignment is what makes a copy of them one instruction. They stay packed in
// registers until they are computed with.
template <typename T, int V> struct alignas(sizeof(T) * V) packed {
  T element[V];
};

template <int V, typename T> DEVICE packed<T, V> load_packed(const T* from) {
  return *reinterpret_cast<const packed<T, V>*>(from);
}

template <int V, typename T> DEVICE void store_packed(T* to, const packed<T, V>& p) {
  *reinterpret_cast<packed<T, V>*>(to) = p;
}

template <typename T, int V> DEVICE void unpack(float (&x)[V], const packed<T, V>& p) {
#pragma unroll
  for (int j = 0; j < V; j++) x[j] = to_float(p.element[j]);
}

template <typename T, int V> DEVICE packed<T, V> pack(const float (&x)[V]) {
  packed<T, V> p;
#pragma unroll
  for (int j = 0; j < V; j++) p.element[j] = from_float<T>(x[j]);
  return p;
}

// V elements from memory as floats, and back.
template <int V, typename T> DEVICE void load(float (&x)[V], const T* from) {
  unpack(x, load_packed<V>(from));
}

template <int V, typename T> DEVICE void store(T* to, const float (&x)[V]) {
  store_packed(to, pack<T>(x));
}

// V floats, four of them an access where V allows it.
template <int V> DEVICE void store_floats(float* to, const float (&x)[V]) {
  constexpr int W = V % 4 == 0 ? 4 : V;
#pragma unroll
  for (int i = 0; i < V; i += W) {
    packed<float, W> p;
#pragma unroll
    for (int j = 0; j < W; j++) p.element[j] = x[i + j];
    store_packed(to + i, p);
  }
}
