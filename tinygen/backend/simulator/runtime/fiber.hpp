// fiber.hpp: switching between stacks. x86-64, System V calling convention.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#if !defined(__x86_64__)
#error "the simulator switches stacks with x86-64 instructions"
#endif

namespace sim {

constexpr size_t stack_bytes = 128 << 10;
constexpr size_t page_bytes = 4096;

// Saves the callee-saved registers on this stack and its pointer in *from, then continues on the stack `to`.
extern "C" void sim_switch(void** from, void* to);
asm(R"(
.text
.globl sim_switch
.hidden sim_switch
.type sim_switch,@function
sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sim_switch,.-sim_switch
)");

// The stack pointer of a fiber that will begin with `entry`, which must never return.
inline void* new_fiber(char* stack, void (*entry)()) {
  void** top = reinterpret_cast<void**>(stack + stack_bytes);
  *--top = nullptr;  // the return address of `entry`; keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  return top;
}

// Stacks live as long as the process. Each lies behind a page that may not be touched: an overflow is a crash.
inline char* stack_number(size_t i) {
  static std::vector<char*> stacks;
  while (stacks.size() <= i) {
    void* memory = mmap(nullptr, page_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mprotect(memory, page_bytes, PROT_NONE);
    stacks.push_back(static_cast<char*>(memory) + page_bytes);
  }
  return stacks[i];
}

}  // namespace sim
