// shadow.hpp: what is remembered of every 4 bytes of memory, to find races and reads of what was never written.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "abi.hpp"
#include "state.hpp"

namespace sim {

using ByteMask = uint8_t;  // one bit for each of the 4 bytes

// The accesses since the last block barrier that may still conflict: three lists, in a store that every block
// barrier empties (see shadow.cpp). Lists of an earlier epoch are void.
struct Word {
  uint32_t epoch = 0;
  uint32_t first[3] = {};  // by Access; 0: none
};

struct SharedWord : Word {
  uint32_t block = 0;       // which block the rest is about
  ByteMask written = 0;     // has a value
  ByteMask arriving = 0;    // an asynchronous copy may write it at any moment
  ByteMask leaving = 0;     // an asynchronous copy may read it at any moment
  bool generic = false;     // last written by an ordinary store: then when, for the asynchronous proxy
  uint16_t writer = 0;
  uint32_t write_epoch = 0;
  Clock write_clock = 0;
};

struct GlobalWord : Word {
  uint32_t stamps[3] = {};  // lists of what all blocks did, by Access; 0: none
};

// The words of a buffer, made page by page when they are first used; pages come from a pool that launches share.
class GlobalShadow {
 public:
  GlobalWord& word(size_t index);

 private:
  static constexpr size_t page_words = 256;
  std::vector<GlobalWord*> pages_;
  friend void reset_global_shadows();
};

struct Buffer;

// Checks an access and remembers it. `a` and `n` lie within one object.
void check_shared(Address a, size_t n, Access kind, Place place);
void check_global(Buffer& buffer, Address a, size_t n, Access kind, Place place);
void check_proxy(Address a, size_t n, Place place);  // ordinary stores are visible to the asynchronous proxy

// An asynchronous write to shared memory: allowed by what the running thread knows; then in flight until it lands.
void begin_arrival(Address a, size_t n, Place place);
void end_arrival(Address a, size_t n, Actor by, Place place);
void set_leaving(Address a, size_t n, bool leaving);

void forget_accesses();        // at a block barrier
void reset_global_shadows();   // at a launch

}  // namespace sim
