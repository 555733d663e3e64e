// counters.cpp: see counters.hpp.
#include "counters.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sim {

namespace {

struct Request {
  uint32_t lanes = 0;
  uint32_t bytes = 0;  // of each lane
  std::array<uint32_t, 32> addresses;  // their lower halves
};

// The requests of one warp by one instruction since the last synchronisation.
struct Open {
  std::vector<Request> requests;
  uint32_t first = 0;               // those before have been served
  std::array<uint32_t, 32> next{};  // by lane: the number of its next request
};

struct Site {  // an instruction, in one of the two spaces
  Place place;
  Space space;
  Access kind;
  Counts counts;
  std::vector<Open> open;  // by warp
};

std::deque<Site> sites;
std::vector<std::array<uint32_t, 2>> site_of;  // by place in the image, and space; 0: none, else index + 1
std::unordered_map<Place, std::array<uint32_t, 2>> far_sites;
std::vector<std::pair<Site*, uint32_t>> waiting;  // sites and warps with open requests
std::map<std::pair<Place, std::string>, uint64_t> barriers;
uint64_t collectives = 0, switches = 0;
constexpr size_t most_open = 4096;

Site& site_at(Place place, Space space, Access kind) {
  const Address offset = Address(place) - memory.image_begin;
  const size_t size = memory.image_end - memory.image_begin;
  if (offset < size && site_of.size() < size) site_of.resize(size);
  uint32_t& number = (offset < size ? site_of[offset] : far_sites[place])[size_t(space)];
  if (!number) {
    sites.push_back({place, space, kind, {}, {}});
    number = uint32_t(sites.size());
  }
  return sites[number - 1];
}

// Distinct values of at most 64 numbers.
size_t distinct(uint32_t* values, size_t n) {
  if (std::is_sorted(values, values + n)) return size_t(std::unique(values, values + n) - values);
  std::sort(values, values + n);
  return size_t(std::unique(values, values + n) - values);
}

void serve_global(const Request& request, Counts& counts) {
  uint32_t sectors[64];
  uint32_t starts[32];
  size_t n = 0, lanes = 0;
  for (int lane = 0; lane < 32; lane++) {
    if (!(request.lanes >> lane & 1)) continue;
    const uint32_t a = request.addresses[lane];
    starts[lanes++] = a;
    sectors[n++] = a / 32;
    if ((a + request.bytes - 1) / 32 != a / 32) sectors[n++] = a / 32 + 1;
  }
  counts.transactions += distinct(sectors, n);
  counts.ideal += (distinct(starts, lanes) * request.bytes + 31) / 32;
}

void serve_shared(const Request& request, Counts& counts) {
  const int lanes_at_once = request.bytes <= 4 ? 32 : request.bytes <= 8 ? 16 : 8;
  for (int first = 0; first < 32; first += lanes_at_once) {
    uint32_t words[32];
    size_t n = 0;
    for (int lane = first; lane < first + lanes_at_once; lane++) {
      if (!(request.lanes >> lane & 1)) continue;
      const uint32_t a = request.addresses[lane];
      for (uint32_t word = a / 4; word <= (a + request.bytes - 1) / 4 && n < 32; word++) words[n++] = word;
    }
    if (!n) continue;
    n = distinct(words, n);
    int in_bank[32] = {};
    int busiest = 0;
    for (size_t i = 0; i < n; i++) busiest = std::max(busiest, ++in_bank[words[i] % 32]);
    counts.transactions += uint64_t(busiest);
    counts.ideal++;
  }
}

void serve(Site& site, const Request& request) {
  site.counts.requests++;
  if (site.space == Space::global) {
    serve_global(request, site.counts);
  } else {
    serve_shared(request, site.counts);
  }
}

void serve_all(Site& site, Open& open) {
  for (size_t i = open.first; i < open.requests.size(); i++) serve(site, open.requests[i]);
  open.requests.clear();
  open.first = 0;
  open.next.fill(0);
}

}  // namespace

void count_access(Place place, Space space, Access kind, Address a, size_t n) {
  Site& site = site_at(place, space, kind);
  site.counts.accesses++;
  site.counts.bytes += n;
  const Self& self = rt.me->self;
  if (site.open.size() <= self.warp) site.open.resize(self.warp + 1);
  Open& open = site.open[self.warp];
  if (open.requests.empty()) waiting.push_back({&site, self.warp});
  if (open.next[self.lane] == most_open) serve_all(site, open);
  const uint32_t number = open.next[self.lane]++;
  if (number == open.requests.size()) open.requests.emplace_back();
  Request& request = open.requests[number];
  request.lanes |= 1u << self.lane;
  request.bytes = uint32_t(n);
  request.addresses[self.lane] = uint32_t(a);
  if (number == open.first && request.lanes == 0xFFFFFFFFu) {
    serve(site, request);
    open.first++;
  }
}

void count_bulk(Place place, Space space, Access kind, size_t n) {
  if (!rt.checking) return;
  const size_t unit = space == Space::global ? 32 : 128;
  Counts& counts = site_at(place, space, kind).counts;
  counts.accesses++;
  counts.bytes += n;
  counts.transactions += (n + unit - 1) / unit;
  counts.ideal += (n + unit - 1) / unit;
}

void end_requests() {
  for (auto [site, warp] : waiting) serve_all(*site, site->open[warp]);
  waiting.clear();
}

void end_requests(uint32_t warp) {
  std::erase_if(waiting, [&](auto& entry) {
    if (entry.second != warp) return false;
    serve_all(*entry.first, entry.first->open[warp]);
    return true;
  });
}

void count_barrier(const char* name, Place place) { barriers[{place, name}]++; }
void count_collective() { collectives++; }
void count_switch() { switches++; }

void clear_counters() {
  sites.clear();
  site_of.clear();
  far_sites.clear();
  waiting.clear();
  barriers.clear();
  collectives = switches = 0;
}

std::string counters_text() {
  std::string text;
  char line[256];
  const char* kinds[] = {"read", "write", "atomic"};
  for (const Site& site : sites) {
    const Counts& c = site.counts;
    snprintf(line, sizeof line, "%llu\t%s\t%s\t%llu\t%llu\t%llu\t%llu\t%llu\n", (unsigned long long)site.place,
             site.space == Space::shared ? "shared" : "global", kinds[int(site.kind)], (unsigned long long)c.accesses,
             (unsigned long long)c.bytes, (unsigned long long)c.requests, (unsigned long long)c.transactions,
             (unsigned long long)c.ideal);
    text += line;
  }
  for (const auto& [barrier, times] : barriers) {
    snprintf(line, sizeof line, "%llu\t%s\t%llu\n", (unsigned long long)barrier.first, barrier.second.c_str(),
             (unsigned long long)times);
    text += line;
  }
  snprintf(line, sizeof line, "0\twarp collective\t%llu\n0\tswitch\t%llu\n", (unsigned long long)collectives,
           (unsigned long long)switches);
  return text + line;
}

}  // namespace sim
