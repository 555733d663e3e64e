// shadow.cpp: see shadow.hpp and clocks.hpp.
#include "shadow.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "memory.hpp"

namespace sim {

namespace {

struct Node {  // one access, or the same by several lanes of a warp at the same clock
  uint32_t next;
  Clock clock;
  uint32_t lanes;
  uint16_t warp;
  ByteMask bytes;
  Place place;
};
std::vector<Node> nodes(1);

// One access to global memory, as other blocks see it.
struct Stamp {
  uint32_t next;
  uint32_t block, epoch;
  Clock clock;
  uint16_t thread;
  ByteMask bytes;
  Place place;
};
std::vector<Stamp> stamps(1);
constexpr int most_stamps = 8;  // of a kind and word; beyond it the oldest are forgotten and a race may be missed

// Takes out of a list those that touch nothing but `bytes`.
template <class Entry>
void drop(std::vector<Entry>& entries, uint32_t& first, ByteMask bytes) {
  for (uint32_t* link = &first; *link;) {
    if (entries[*link].bytes & ~bytes) {
      link = &entries[*link].next;
    } else {
      *link = entries[*link].next;
    }
  }
}

std::vector<std::unique_ptr<GlobalWord[]>> pool;
size_t pool_used = 0;

const char* verb(Access kind) {
  return kind == Access::read ? "read" : kind == Access::write ? "write" : "atomic operation";
}

bool conflict(Access a, Access b) {
  return a != b || a == Access::write;  // two reads agree, and so do two atomic operations
}

constexpr uint32_t nobody = ~0u;

// Who of them is not ordered before what the running thread does now.
uint32_t unordered_thread(const Node& node) {
  const Thread& me = *rt.me;
  for (uint32_t lanes = node.lanes; lanes; lanes &= lanes - 1) {
    const uint32_t thread = node.warp * 32u + uint32_t(std::countr_zero(lanes));
    if (thread != me.self.thread && !me.known.covers(thread, node.clock)) return thread;
  }
  return nobody;
}

std::string who(uint32_t thread) { return thread < rt.count ? name_of(thread) : "an asynchronous operation"; }

void refresh(Word& word) {
  if (word.epoch == rt.epoch) return;
  word.epoch = rt.epoch;
  word.first[0] = word.first[1] = word.first[2] = 0;
}

// The first remembered access that the running thread's access of `kind` conflicts with and is not ordered after.
const Node* find_race(const Word& word, ByteMask bytes, Access kind, Access* other, uint32_t* by) {
  for (const Access with : {Access::write, Access::atomic, Access::read}) {
    if (!conflict(kind, with)) continue;
    for (uint32_t i = word.first[int(with)]; i; i = nodes[i].next) {
      if (!(nodes[i].bytes & bytes) || (*by = unordered_thread(nodes[i])) == nobody) continue;
      *other = with;
      return &nodes[i];
    }
  }
  return nullptr;
}

void remember(Word& word, ByteMask bytes, Access kind, Actor by, Place place) {
  const auto warp = uint16_t(by.number / 32);
  const uint32_t lane = 1u << by.number % 32;
  if (kind == Access::write) {  // earlier accesses are ordered before this one, or were reported: it stands for them
    for (uint32_t& first : word.first) drop(nodes, first, bytes);
  } else {
    int looked = 0;
    for (uint32_t i = word.first[int(kind)]; i && looked < 8; i = nodes[i].next, looked++) {
      if (nodes[i].warp != warp || nodes[i].clock != by.clock || nodes[i].bytes != bytes) continue;
      nodes[i].lanes |= lane;
      nodes[i].place = place;
      return;
    }
  }
  nodes.push_back({word.first[int(kind)], by.clock, lane, warp, bytes, place});
  word.first[int(kind)] = uint32_t(nodes.size() - 1);
}

void order(Word& word, ByteMask bytes, Access kind, Place place, Address a) {
  refresh(word);
  Access other;
  uint32_t by;
  if (const Node* node = find_race(word, bytes, kind, &other, &by)) {
    note("race",
         std::string(verb(kind)) + " of " + memory.describe(a) + " races with a " + verb(other) + " by " +
             who(by) + " at " + token(node->place) + ": no synchronisation orders them",
         place, node->place);
  }
  remember(word, bytes, kind, actor(), place);
}

SharedWord& shared_word(Address a) {
  SharedWord& word = memory.shared_word(a);
  if (word.block != rt.block_number) {
    word = {};
    word.block = rt.block_number;
  }
  return word;
}

// Calls f(address of a word, mask of the accessed bytes in it) for every word of an access.
template <class F>
void for_words(Address a, size_t n, F f) {
  for (Address w = a & ~Address(3); w < a + n; w += 4) {
    ByteMask bytes = 0xF;
    if (w < a) bytes &= ByteMask(0xF << (a - w));
    if (w + 4 > a + n) bytes &= ByteMask(0xF >> (w + 4 - a - n));
    f(w < a ? a : w, bytes);
  }
}

// The same for accesses by other blocks, which have no order but what fences and atomic operations gave them.
void order_blocks(GlobalWord& word, ByteMask bytes, Access kind, Place place, Address a) {
  for (const Access with : {Access::write, Access::atomic, Access::read}) {
    if (!conflict(kind, with)) continue;
    for (uint32_t i = word.stamps[int(with)]; i; i = stamps[i].next) {
      const Stamp& stamp = stamps[i];
      if (stamp.block == rt.block_number || !(stamp.bytes & bytes)) continue;
      if (rt.me->known.covers_foreign(stamp.block, stamp.epoch, stamp.thread, stamp.clock)) continue;
      note("block-race",
           std::string(verb(kind)) + " of " + memory.describe(a) + " races with a " + verb(with) +
               " by another block at " + token(stamp.place) + ": blocks run in no order",
           place, stamp.place);
      break;
    }
  }
  if (kind == Access::write) {  // stands for what was before, as above
    for (uint32_t& first : word.stamps) drop(stamps, first, bytes);
  }
  const Thread& me = *rt.me;
  uint32_t& first = word.stamps[int(kind)];
  int kept = 0;
  for (uint32_t i = first; i; i = stamps[i].next) {
    Stamp& stamp = stamps[i];
    const bool same = stamp.block == rt.block_number && stamp.epoch == rt.epoch && stamp.clock == me.clock &&
                      stamp.thread == me.self.thread;
    if (same) {
      stamp.bytes |= bytes;
      stamp.place = place;
      return;
    }
    if (++kept == most_stamps) stamp.next = 0;
  }
  stamps.push_back({first, rt.block_number, rt.epoch, me.clock, uint16_t(me.self.thread), bytes, place});
  first = uint32_t(stamps.size() - 1);
}

}  // namespace

GlobalWord& GlobalShadow::word(size_t index) {
  const size_t page = index / page_words;
  if (page >= pages_.size()) pages_.resize(page + 1);
  if (!pages_[page]) {
    if (pool_used == pool.size()) pool.push_back(std::make_unique<GlobalWord[]>(page_words));
    pages_[page] = pool[pool_used++].get();
    std::fill_n(pages_[page], page_words, GlobalWord{});
  }
  return pages_[page][index % page_words];
}

void reset_global_shadows() {
  pool_used = 0;
  stamps.resize(1);
}

void forget_accesses() { nodes.resize(1); }

void check_global(Buffer& buffer, Address a, size_t n, Access kind, Place place) {
  if (buffer.read_only && kind == Access::read) return;
  const Address base = buffer.begin & ~Address(3);
  for_words(a, n, [&](Address at, ByteMask bytes) {
    GlobalWord& word = buffer.shadow.word((at - base) / 4);
    order(word, bytes, kind, place, at);
    order_blocks(word, bytes, kind, place, at);
  });
}

void check_shared(Address a, size_t n, Access kind, Place place) {
  for_words(a, n, [&](Address at, ByteMask bytes) {
    SharedWord& word = shared_word(at);
    order(word, bytes, kind, place, at);
    if (word.arriving & bytes) {
      note("unawaited-copy",
           std::string(verb(kind)) + " of " + memory.describe(at) +
               " while an asynchronous copy into it has not been waited for",
           place);
    } else if (kind != Access::write && (word.written & bytes) != bytes) {
      note("uninitialised", "read of " + memory.describe(at) + ", which this block has not written", place);
    }
    if (kind == Access::read) return;
    if (word.leaving & bytes) {
      note("unawaited-store",
           std::string(verb(kind)) + " of " + memory.describe(at) +
               " while an asynchronous store out of it has not been waited for",
           place);
    }
    word.written |= bytes;
    word.generic = true;
    word.writer = uint16_t(rt.me->self.thread);
    word.write_epoch = rt.epoch;
    word.write_clock = rt.me->clock;
  });
}

void check_proxy(Address a, size_t n, Place place) {
  const ProxyFence& mine = rt.me->proxy_fence;
  for_words(a, n, [&](Address at, ByteMask) {
    const SharedWord& word = shared_word(at);
    if (!word.generic) return;
    const ProxyFence& writers = rt.threads[word.writer].proxy_fence;
    const bool fenced_by_writer = writers.clock >= word.write_clock;
    const bool fenced_here = word.write_epoch < mine.epoch ||
                             (word.writer == rt.me->self.thread && word.write_clock <= mine.clock) ||
                             (mine.known && (*mine.known)[word.writer] >= word.write_clock);
    if (fenced_by_writer || fenced_here) return;
    note("proxy-fence",
         "the asynchronous proxy uses " + memory.describe(at) + ", which " + name_of(word.writer) +
             " wrote by an ordinary store, without fence_async_proxy between",
         place);
  });
}

void begin_arrival(Address a, size_t n, Place place) {
  for_words(a, n, [&](Address at, ByteMask bytes) {
    SharedWord& word = shared_word(at);
    if (word.arriving & bytes) {
      note("unawaited-copy", "a second asynchronous copy into " + memory.describe(at) + " before the first has landed",
           place);
    } else {
      order(word, bytes, Access::write, place, at);
    }
    if (word.leaving & bytes) {
      note("unawaited-store",
           "a copy into " + memory.describe(at) + " while an asynchronous store out of it has not been waited for",
           place);
    }
    word.written &= ByteMask(~bytes);
    word.arriving |= bytes;
    word.generic = false;
  });
}

void end_arrival(Address a, size_t n, Actor by, Place place) {
  for_words(a, n, [&](Address at, ByteMask bytes) {
    SharedWord& word = shared_word(at);
    refresh(word);
    remember(word, bytes, Access::write, by, place);
    word.written |= bytes;
    word.arriving &= ByteMask(~bytes);
  });
}

void set_leaving(Address a, size_t n, bool leaving) {
  for_words(a, n, [&](Address at, ByteMask bytes) {
    SharedWord& word = shared_word(at);
    word.leaving = leaving ? word.leaving | bytes : word.leaving & ByteMask(~bytes);
  });
}

}  // namespace sim
