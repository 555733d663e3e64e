// launch.hpp: from a kernel to a function that the driver can call. The driver appends SIM_EXPORT(kernel) to a file
// for each of its kernels.
#pragma once
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace sim {

// One character for a parameter's kind, one for its type; see `arguments.py`.
template <class T>
constexpr char type_code() {
  using U = std::remove_cv_t<T>;
  if (std::is_same_v<U, float>) return 'f';
  if (std::is_same_v<U, double>) return 'd';
  if (std::is_same_v<U, bool>) return '?';
  if (std::is_integral_v<U>) return "bBhHiI..lL"[(sizeof(U) == 1 ? 0 : sizeof(U) == 2 ? 2 : sizeof(U) == 4 ? 4 : 8) +
                                                 std::is_unsigned_v<U>];
  return 'x';  // 16-bit floats, vectors, structures: known by their size alone
}

template <class T>
struct Parameter {
  static constexpr char kind = 'v';  // a value
  static constexpr char type = type_code<T>();
  static constexpr size_t size = sizeof(T);
};
template <class T>
struct Parameter<T*> {
  static constexpr char kind = std::is_const_v<T> ? 'c' : 'm';  // a pointer to constant or to mutable memory
  static constexpr char type = std::is_void_v<T> ? 'v' : type_code<T>();
  static constexpr size_t size = [] {
    if constexpr (std::is_void_v<T>) return size_t(1);
    else return sizeof(T);
  }();
};

struct Signature {
  char kind, type;
  unsigned short size;  // of the value, or of what the pointer points to
};

template <class... A>
struct Kernel {
  template <void (*function)(A...), size_t... I>
  __attribute__((no_sanitize("thread"), no_sanitize("undefined"), no_sanitize_coverage)) static void call(
      void** arguments, std::index_sequence<I...>) {
    function(*static_cast<std::remove_cvref_t<A>*>(arguments[I])...);
  }
};

// Of what __launch_bounds__ was given: the most threads of a block.
template <class... More>
constexpr int first(int threads, More...) {
  return threads;
}

template <auto function>
struct Export;
template <class... A, void (*function)(A...)>
struct Export<function> {
  static void body(void* arguments) {
    Kernel<A...>::template call<function>(static_cast<void**>(arguments), std::index_sequence_for<A...>{});
  }
  static constexpr size_t count = sizeof...(A);
  static constexpr Signature signature[count + 1] = {
      {Parameter<std::remove_cv_t<A>>::kind, Parameter<std::remove_cv_t<A>>::type,
       static_cast<unsigned short>(Parameter<std::remove_cv_t<A>>::size)}...,
      {0, 0, 0}};
};

}  // namespace sim

#define SIM_EXPORT(kernel, ...)                                                                                      \
  extern "C" __attribute__((visibility("default"))) void sim_body_##kernel(void* a) { sim::Export<&kernel>::body(a); } \
  extern "C" __attribute__((visibility("default"))) const sim::Signature* sim_signature_##kernel() {             \
    return sim::Export<&kernel>::signature;                                                                      \
  }                                                                                                              \
  extern "C" __attribute__((visibility("default"))) int sim_bounds_##kernel() { return sim::first(__VA_ARGS__); }
