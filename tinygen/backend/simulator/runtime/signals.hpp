// signals.hpp: what would kill the process, or never end, becomes a finding.
#pragma once
#include <signal.h>
#include <sys/time.h>

#include "state.hpp"

namespace sim {

// While one of these lives: a kernel's access to memory that is not there, an overflow of its stack, an integer
// division by zero, and more than `seconds` of computing end the launch. (The checking build judges accesses before
// they happen and so meets only the overflow.)
class Signals {
 public:
  explicit Signals(double seconds);
  ~Signals();
  Signals(const Signals&) = delete;

 private:
  static constexpr int caught_[] = {SIGSEGV, SIGBUS, SIGFPE, SIGVTALRM};
  struct sigaction before_[4];
  stack_t stack_before_;
  itimerval timer_before_;
};

[[noreturn]] void stop_endless(Place place);

}  // namespace sim
