// report.hpp: the findings of a launch, for control.cpp.
#pragma once
#include <cstddef>
#include <string>

namespace sim {
void clear_findings();
size_t count_findings();
std::string findings_text();
}  // namespace sim
