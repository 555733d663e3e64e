// signals.cpp: see signals.hpp. The handler leaves a thread for good, as abort_block does: it runs on a stack of its
// own, and what it interrupts is a kernel's code, which holds no lock.
#include "signals.hpp"

#include <ucontext.h>

#include <cstring>
#include <string>

#include "memory.hpp"
#include "state.hpp"

namespace sim {

namespace {

alignas(16) char handlers_stack[64 << 10];

itimerval timer(double seconds) {
  itimerval value{};
  value.it_value.tv_sec = time_t(seconds);
  value.it_value.tv_usec = suseconds_t((seconds - double(time_t(seconds))) * 1e6);
  return value;
}

void handle(int signal, siginfo_t* info, void* context) {
  const Address at = Address(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  const bool in_kernel = at - memory.image_begin < memory.image_end - memory.image_begin;
  const Address address = Address(info->si_addr);
  const Place place = reinterpret_cast<Place>(at + 1);  // like a return address, behind the instruction
  if (signal == SIGVTALRM) {
    rt.expired = true;  // a checking build asks at its next basic block
    if (!rt.checking && in_kernel) stop_endless(place);
    const itimerval soon = timer(0.01);
    setitimer(ITIMER_VIRTUAL, &soon, nullptr);
    return;
  }
  if (!rt.me) {  // no kernel's doing
    ::signal(signal, SIG_DFL);
    return;
  }
  if (Address(rt.me->stack) - address <= page_bytes) {
    stop("stack-overflow", "local arrays and calls need more than the " + std::to_string(stack_bytes) +
         " bytes that a thread has here", place);
  }
  if (signal == SIGFPE) stop("undefined", "integer division by zero, or overflow in it", place);
  if (address < 1 << 20) {
    stop("null-pointer", "access through a null pointer, at byte " + std::to_string(address), place);
  }
  stop("out-of-bounds", "access to " + memory.describe(address), place);
}

}  // namespace

void stop_endless(Place place) { stop("endless", "the launch has computed for long, and this code goes on", place); }

Signals::Signals(double seconds) {
  rt.expired = false;
  stack_t stack{};
  stack.ss_sp = handlers_stack;
  stack.ss_size = sizeof handlers_stack;
  sigaltstack(&stack, &stack_before_);
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (size_t i = 0; i < std::size(caught_); i++) sigaction(caught_[i], &action, &before_[i]);
  const itimerval patience = timer(seconds);
  setitimer(ITIMER_VIRTUAL, &patience, &timer_before_);
}

Signals::~Signals() {
  setitimer(ITIMER_VIRTUAL, &timer_before_, nullptr);
  for (size_t i = 0; i < std::size(caught_); i++) sigaction(caught_[i], &before_[i], nullptr);
  sigaltstack(&stack_before_, nullptr);
}

}  // namespace sim
