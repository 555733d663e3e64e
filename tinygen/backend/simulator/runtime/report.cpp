// report.cpp: findings, collected as text for the driver. One line each:
// kind, times, block, thread, place, other place (0: none), message; fields apart by tabs.
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "report.hpp"
#include "state.hpp"

namespace sim {

Runtime rt;

struct Finding {
  std::string kind, message;
  Index3 block, thread;
  Place place, other;
  uint64_t times;
};

namespace {
constexpr size_t most_findings = 32;
std::vector<Finding> findings;
std::map<std::tuple<std::string, Place, Place>, size_t> known_findings;
}  // namespace

std::string token(Place place) {
  char text[32];
  snprintf(text, sizeof text, "@%p", place);
  return text;
}

std::string name_of(uint32_t thread) {
  const Index3& i = rt.threads[thread].index;
  return "thread (" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}

void note(const char* kind, const std::string& message, Place place, Place other) {
  auto [entry, fresh] = known_findings.try_emplace({kind, place, other}, findings.size());
  if (!fresh) {
    if (entry->second < findings.size()) findings[entry->second].times++;
  } else if (findings.size() < most_findings) {
    findings.push_back({kind, message, rt.block, rt.me ? rt.me->index : Index3{}, place, other, 1});
  }
}

void stop(const char* kind, const std::string& message, Place place) {
  note(kind, message, place);
  abort_block();
}

void clear_findings() {
  findings.clear();
  known_findings.clear();
}

size_t count_findings() { return findings.size(); }

std::string findings_text() {
  std::string text;
  for (const Finding& f : findings) {
    char head[256];
    snprintf(head, sizeof head, "%s\t%llu\t%u,%u,%u\t%u,%u,%u\t%llu\t%llu\t", f.kind.c_str(),
             static_cast<unsigned long long>(f.times), f.block.x, f.block.y, f.block.z, f.thread.x, f.thread.y,
             f.thread.z, reinterpret_cast<unsigned long long>(f.place), reinterpret_cast<unsigned long long>(f.other));
    text += head + f.message + "\n";
  }
  return text;
}

void report(const char* kind, const char* message) { note(kind, message, rt.place ? rt.place : SIM_CALLER); }
void trap(const char* kind, const char* message) { stop(kind, message, rt.place ? rt.place : SIM_CALLER); }

}  // namespace sim
