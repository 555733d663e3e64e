// atomics.hpp: atomic operations. There is one operating-system thread, so reading and writing in turn is atomic.
#pragma once
#include <type_traits>

#include "abi.hpp"

namespace sim {

template <class T> using Same = std::type_identity_t<T>;  // an argument that converts to the pointer's type

}  // namespace sim

// `result` is what *p becomes, of its value `old` and the argument v.
#define SIM_ATOMIC(name, result)                     \
  namespace sim {                                    \
  template <class T> SIM_OUTSIDE T name(T* p, T v) { \
    const T old = *p;                                \
    *p = result;                                     \
    return old;                                      \
  }                                                  \
  }                                                  \
  template <class T>                                 \
  SIM_INLINE T name(T* p, sim::Same<T> v) {          \
    sim::touch(p, sizeof(T), sim::Access::atomic);   \
    return sim::name<T>(p, v);                       \
  }
SIM_ATOMIC(atomicAdd, old + v)
SIM_ATOMIC(atomicSub, old - v)
SIM_ATOMIC(atomicMin, v < old ? v : old)
SIM_ATOMIC(atomicMax, old < v ? v : old)
SIM_ATOMIC(atomicAnd, old & v)
SIM_ATOMIC(atomicOr, old | v)
SIM_ATOMIC(atomicXor, old ^ v)
SIM_ATOMIC(atomicExch, v)
SIM_ATOMIC(atomicInc, old >= v ? T(0) : T(old + 1))
SIM_ATOMIC(atomicDec, old == 0 || old > v ? v : T(old - 1))
#undef SIM_ATOMIC

namespace sim {
template <class T> SIM_OUTSIDE T atomicCAS(T* p, T expected, T v) {
  const T old = *p;
  if (old == expected) *p = v;
  return old;
}
}  // namespace sim

template <class T>
SIM_INLINE T atomicCAS(T* p, sim::Same<T> expected, sim::Same<T> v) {
  sim::touch(p, sizeof(T), sim::Access::atomic);
  return sim::atomicCAS<T>(p, expected, v);
}
