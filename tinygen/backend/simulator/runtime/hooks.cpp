// hooks.cpp: the calls that the compiler puts into a checking build.
//
// -fsanitize=thread makes the compiler announce every load and store, -fsanitize=undefined every undefined operation,
// -fsanitize-coverage=trace-pc every basic block. These sanitizers' libraries are not linked: the calls come here.
#include <cstdlib>
#include <string>
#include <utility>

#include "access.hpp"
#include "memory.hpp"
#include "signals.hpp"
#include "state.hpp"

namespace sim {
namespace {

inline void hook(void* a, size_t n, Access kind, Place place) {
  if (!rt.accounting) return;
  rt.accounting = false;
  const bool visible = access(Address(a), n, kind, place);
  rt.accounting = true;
  if (visible) maybe_preempt();
}

[[noreturn]] void undefined(const char* what, Place place) {
  if (!rt.me) abort();  // not in a kernel
  stop("undefined", std::string(what) + ": the C++ standard gives it no meaning", place);
}

struct TypeMismatch {  // as the compiler lays it out, before its last member
  const char* file;
  uint32_t line, column;
  const void* type;
  unsigned char log_alignment;
};

[[noreturn]] void bad_pointer(const TypeMismatch* data, Address a, Place place) {
  if (!rt.me) abort();
  if (a < page_bytes) stop("null-pointer", "access through a null pointer", place);
  const unsigned alignment = 1u << data->log_alignment;
  stop("misaligned", "access at " + memory.describe(a) + ", which is not a multiple of " + std::to_string(alignment),
       place);
}

constexpr uint64_t steps_between_turns = 1 << 16;

}  // namespace

Emulation::Emulation()
    : accounting_(std::exchange(rt.accounting, false)), place_(std::exchange(rt.place, SIM_CALLER)) {}
Emulation::~Emulation() {
  rt.accounting = accounting_;
  rt.place = place_;
}

}  // namespace sim

#pragma GCC visibility push(default)
extern "C" {

#define SIM_HOOKS(n)                                                                                             \
  void __tsan_read##n(void* a) { sim::hook(a, n, sim::Access::read, SIM_CALLER); }                               \
  void __tsan_write##n(void* a) { sim::hook(a, n, sim::Access::write, SIM_CALLER); }                             \
  void __tsan_unaligned_read##n(void* a) { sim::hook(a, n, sim::Access::read, SIM_CALLER); }                     \
  void __tsan_unaligned_write##n(void* a) { sim::hook(a, n, sim::Access::write, SIM_CALLER); }                   \
  void __tsan_volatile_read##n(void* a) { sim::hook(a, n, sim::Access::read, SIM_CALLER); }                      \
  void __tsan_volatile_write##n(void* a) { sim::hook(a, n, sim::Access::write, SIM_CALLER); }
SIM_HOOKS(1)
SIM_HOOKS(2)
SIM_HOOKS(4)
SIM_HOOKS(8)
SIM_HOOKS(16)
#undef SIM_HOOKS

void __tsan_read_range(void* a, size_t n) { sim::hook(a, n, sim::Access::read, SIM_CALLER); }
void __tsan_write_range(void* a, size_t n) { sim::hook(a, n, sim::Access::write, SIM_CALLER); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void*) {}
void __tsan_init() {}

void __sanitizer_cov_trace_pc() {
  using sim::rt;
  if (!rt.accounting) return;
  const sim::Address offset = sim::Address(SIM_CALLER) - sim::memory.image_begin;
  if (offset < rt.reached->size()) (*rt.reached)[offset] = 1;
  if (rt.expired) sim::stop_endless(SIM_CALLER);
  if (++rt.steps % sim::steps_between_turns) return;
  sim::suspend();  // others may write what this thread's loop reads
}

#define SIM_UNDEFINED(name, what)                                                                \
  void __ubsan_handle_##name(void*, ...) { sim::undefined(what, SIM_CALLER); }                   \
  void __ubsan_handle_##name##_abort(void*, ...) { sim::undefined(what, SIM_CALLER); }
SIM_UNDEFINED(out_of_bounds, "an index outside its array")
SIM_UNDEFINED(pointer_overflow, "pointer arithmetic that overflows")
SIM_UNDEFINED(add_overflow, "integer overflow in +")
SIM_UNDEFINED(sub_overflow, "integer overflow in -")
SIM_UNDEFINED(mul_overflow, "integer overflow in *")
SIM_UNDEFINED(negate_overflow, "integer overflow in unary -")
SIM_UNDEFINED(divrem_overflow, "integer division by zero, or overflow in it")
SIM_UNDEFINED(shift_out_of_bounds, "a shift by a negative amount or by more than the width")
SIM_UNDEFINED(load_invalid_value, "a bool or enum that holds no value of its type")
SIM_UNDEFINED(float_cast_overflow, "a float converted to an integer type that cannot hold it")
SIM_UNDEFINED(builtin_unreachable, "reached what was declared unreachable")
SIM_UNDEFINED(missing_return, "a function that ended without its return value")
SIM_UNDEFINED(vla_bound_not_positive, "an array with a size that is not positive")
SIM_UNDEFINED(nonnull_arg, "a null argument where none may be")
SIM_UNDEFINED(nonnull_return_v1, "a null result where none may be")
SIM_UNDEFINED(invalid_builtin, "an argument that a builtin does not take")
SIM_UNDEFINED(alignment_assumption, "a pointer less aligned than assumed")
#undef SIM_UNDEFINED
void __ubsan_handle_type_mismatch_v1_abort(sim::TypeMismatch* data, void* pointer) {
  sim::bad_pointer(data, sim::Address(pointer), SIM_CALLER);
}

}  // extern "C"
#pragma GCC visibility pop
