// Tensor cores as Hopper (sm_90a) has them: four warps multiply tiles that lie in shared memory while they
// do other things (wgmma), and a single thread has whole tiles copied there (TMA), which announces itself
// on a barrier in shared memory (mbarrier). One function is one instruction or a few; sections are those
// of NVIDIA's PTX ISA.
#pragma once
#include "tensor_core.cuh"

// ---- mbarrier (9.7.13.15) ----------------------------------------------------------------------------
//
// A barrier of 8 bytes in shared memory that counts arrivals and bytes. Its phase ends when `arrivals`
// threads have arrived and every byte that was expected has come; waiting for parity p returns once
// the phase of that parity has ended. A fresh barrier is in phase 0, and waiting for parity 1 returns at
// once: so a producer finds all buffers empty.

DEVICE void barrier_init(uint64_t* barrier, int arrivals) {
#ifdef TINYGEN_SIM
  sim::mbarrier_init(barrier, arrivals);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}

// Makes the barriers that this thread has initialised known to bulk copies; __syncthreads must follow.
DEVICE void barrier_init_fence() {
#ifdef TINYGEN_SIM
  sim::mbarrier_init_fence();
#else
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
#endif
}

// One arrival, and `bytes` more to wait for in this phase.
DEVICE void barrier_expect(uint64_t* barrier, uint32_t bytes) {
#ifdef TINYGEN_SIM
  sim::mbarrier_arrive(barrier, bytes);
#else
  delay();
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
               :: "r"(shared_address(barrier)), "r"(bytes) : "memory");
#endif
}

DEVICE void barrier_arrive(uint64_t* barrier) {
#ifdef TINYGEN_SIM
  sim::mbarrier_arrive(barrier, 0);
#else
  delay();
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(shared_address(barrier)) : "memory");
#endif
}

DEVICE void barrier_wait(uint64_t* barrier, uint32_t parity) {
#ifdef TINYGEN_SIM
  sim::mbarrier_wait(barrier, parity);
#else
  delay();
  uint32_t ended;
  do {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(ended) : "r"(shared_address(barrier)), "r"(parity) : "memory");
  } while (!ended);
#endif
}

// ---- TMA (9.7.9.27) -----------------------------------------------------------------------------------
//
// Copies a box out of an array of 2 to 5 dimensions in global memory, or into it. The array, the box and
// how its rows are swizzled stand in a tensor_map, which the host prepares and the kernel takes as
// `const __grid_constant__ tensor_map`. x is the fastest dimension; what lies outside the array is loaded
// as zeros and not stored. With the 128-byte swizzle a row of the box is 128 bytes, the tile begins at a
// multiple of 1,024, and byte address a of the tile lies at a ^ (a / 128 % 8) * 16.

#ifdef TINYGEN_SIM
using tensor_map = sim::TensorMap;
#else
struct alignas(64) tensor_map {
  unsigned long long opaque[16];  // a CUtensorMap
};
#endif

// Where byte `place` of a tile lies in it, with the 128-byte swizzle.
DEVICE int swizzled_place(int place) { return place ^ (place / 128 % 8) * 16; }

// Called by one thread; the bytes of the box, zeros included, are counted on `barrier`.

DEVICE void tma_load_2d(void* shared, const tensor_map* map, int x, int y, uint64_t* barrier) {
#ifdef TINYGEN_SIM
  sim::tma_load(shared, map, {x, y}, barrier);
#else
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
               :: "r"(shared_address(shared)), "l"(map), "r"(x), "r"(y), "r"(shared_address(barrier))
               : "memory");
#endif
}

DEVICE void tma_load_3d(void* shared, const tensor_map* map, int x, int y, int z, uint64_t* barrier) {
#ifdef TINYGEN_SIM
  sim::tma_load(shared, map, {x, y, z}, barrier);
#else
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];"
               :: "r"(shared_address(shared)), "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(barrier))
               : "memory");
#endif
}

DEVICE void tma_load_4d(void* shared, const tensor_map* map, int x, int y, int z, int w, uint64_t* barrier) {
#ifdef TINYGEN_SIM
  sim::tma_load(shared, map, {x, y, z, w}, barrier);
#else
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];"
               :: "r"(shared_address(shared)), "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(shared_address(barrier))
               : "memory");
#endif
}

// Called by one thread, after `fence_async_proxy` by those who wrote the tile and a barrier.

DEVICE void tma_store_2d(const tensor_map* map, const void* shared, int x, int y) {
#ifdef TINYGEN_SIM
  sim::tma_store(map, shared, {x, y});
#else
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];"
               :: "l"(map), "r"(x), "r"(y), "r"(shared_address(shared)) : "memory");
#endif
}

DEVICE void tma_store_3d(const tensor_map* map, const void* shared, int x, int y, int z) {
#ifdef TINYGEN_SIM
  sim::tma_store(map, shared, {x, y, z});
#else
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%1, %2, %3}], [%4];"
               :: "l"(map), "r"(x), "r"(y), "r"(z), "r"(shared_address(shared)) : "memory");
#endif
}

// Closes a group of this thread's stores.
DEVICE void tma_store_commit() {
#ifdef TINYGEN_SIM
  sim::bulk_store_commit();
#else
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}

// Waits until at most N groups of this thread may still read shared memory.
template <int N> DEVICE void tma_store_wait() {
#ifdef TINYGEN_SIM
  sim::bulk_store_wait(N);
#else
  delay();
  asm volatile("cp.async.bulk.wait_group.read %0;" :: "n"(N) : "memory");
#endif
}

// What this thread wrote to shared memory becomes visible to TMA and wgmma, which see memory by another
// way (the asynchronous proxy) than loads and stores do.
DEVICE void fence_async_proxy() {
#ifdef TINYGEN_SIM
  sim::fence_async_proxy();
#else
  delay();
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// ---- wgmma (9.7.16) -------------------------------------------------------------------------------------
//
// The 4 warps of a warpgroup (128 threads) multiply A (64 x 16) by B (16 x N) and add to D (64 x N, in
// float32 registers), asynchronously: between the instruction and the wait for its group nobody may
// touch D or write to the factors. With w = warp % 4, g = lane / 4, t = lane % 4 a lane holds
//
//   d[4 j], d[4 j + 1] = D[16 w + g][8 j + 2 t, 8 j + 2 t + 1]      d[4 j + 2], d[4 j + 3]: 8 rows below
//
// and, where A comes from registers, of rows 16 w to 16 w + 15 what mma.sync takes (tensor_core.cuh).

// Orders accesses to the registers of D and A before the instructions that follow.
DEVICE void wgmma_fence() {
#ifdef TINYGEN_SIM
  sim::wgmma_fence();
#else
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

DEVICE void wgmma_commit() {
#ifdef TINYGEN_SIM
  sim::wgmma_commit();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Waits until at most N groups are under way.
template <int N> DEVICE void wgmma_wait() {
#ifdef TINYGEN_SIM
  sim::wgmma_wait(N);
#else
  delay();
  asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory");
#endif
}

// Where a factor lies in shared memory, in the layout that TMA's 128-byte swizzle writes (9.7.16.5.1):
// slabs of rows of 128 bytes, eight of which (1,024 bytes) are the pattern that the swizzle repeats.
//
//   K-major (a row of A, a column of B is a run of K):  `stride` bytes from 8 rows to the next 8;
//     the next 16 of K begin 32 bytes further, within the row. `leading` does not count.
//   transposed (rows are K, 64 elements of M or N long):  `leading` bytes from one slab of 64 to the
//     next, `stride` bytes from 8 rows of K to the next 8; the next 16 of K begin 2,048 bytes further.
DEVICE uint64_t wgmma_descriptor(const void* tile, int leading = 16, int stride = 1024) {
  return static_cast<uint64_t>((shared_address(tile) & 0x3ffff) >> 4) |
         static_cast<uint64_t>(leading >> 4) << 16 | static_cast<uint64_t>(stride >> 4) << 32 |
         static_cast<uint64_t>(1) << 62;
}

// d = a b + (accumulate ? d : 0), with both factors in shared memory. T is bf16 or f16; N 64, 128, 192 or 256.
// A and B are K-major, or, where `transpose` says so, run along M and N.
template <int N, typename T, int transpose_a, int transpose_b>
DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate);

// The same with A in registers.
template <int N, typename T, int transpose_b>
DEVICE void wgmma_registers(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate = 1);

#ifdef TINYGEN_SIM
template <int N, typename T, int transpose_a, int transpose_b>
DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) {
  sim::wgmma(d, N / 2, nullptr, a, b, accumulate, sim::multiply<N, T, transpose_a, transpose_b>);
}
template <int N, typename T, int transpose_b>
DEVICE void wgmma_registers(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  sim::wgmma(d, N / 2, a, 0, b, accumulate, sim::multiply<N, T, 0, transpose_b>);
}
#else
// The accumulators as operands 0 to N/2 - 1. A template cannot write the text of an instruction, so each
// N and type is spelt by a macro, and the templates choose among them.
#define OUT_8(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), \
                    "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define OUT_32(d, i) OUT_8(d, i), OUT_8(d, i + 8), OUT_8(d, i + 16), OUT_8(d, i + 24)
#define OUT_64(d, i) OUT_32(d, i), OUT_32(d, i + 32)
#define OUT_96(d, i) OUT_64(d, i), OUT_32(d, i + 64)
#define OUT_128(d, i) OUT_64(d, i), OUT_64(d, i + 64)
#define TEXT_32 \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"  \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"
#define TEXT_64 \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"  \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"  \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"  \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"
#define TEXT_96 \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"  \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"  \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"  \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"  \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"  \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95}"
#define TEXT_128 \
  "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"  \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"  \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"  \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"  \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"  \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"  \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"  \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}"

template <int N, typename T> struct wgmma_shared;
template <int N, typename T> struct wgmma_from_registers;

#define WGMMA(N, COUNT, TYPE, FACTORS, ACCUMULATE, TRANSPOSE_A, TRANSPOSE_B)                          \
  template <> struct wgmma_shared<N, TYPE> {                                                          \
    template <int transpose_a, int transpose_b>                                                       \
    static DEVICE void run(float (&d)[COUNT], uint64_t a, uint64_t b, int accumulate) {               \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, " ACCUMULATE ", 0; "                               \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #TYPE "." #TYPE " " TEXT_##COUNT \
                   ", " FACTORS ", p, 1, 1, " TRANSPOSE_A ", " TRANSPOSE_B "; }"                      \
                   : OUT_##COUNT(d, 0)                                                                \
                   : "l"(a), "l"(b), "r"(accumulate), "n"(transpose_a), "n"(transpose_b));            \
    }                                                                                                 \
  };
#define WGMMA_REGISTERS(N, COUNT, TYPE, FACTORS, ACCUMULATE, TRANSPOSE_B)                             \
  template <> struct wgmma_from_registers<N, TYPE> {                                                  \
    template <int transpose_b>                                                                        \
    static DEVICE void run(float (&d)[COUNT], const uint32_t (&a)[4], uint64_t b, int accumulate) {   \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, " ACCUMULATE ", 0; "                               \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #TYPE "." #TYPE " " TEXT_##COUNT \
                   ", " FACTORS ", p, 1, 1, " TRANSPOSE_B "; }"                                       \
                   : OUT_##COUNT(d, 0)                                                                \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate),             \
                     "n"(transpose_b));                                                               \
    }                                                                                                 \
  };
WGMMA(64, 32, bf16, "%32, %33", "%34", "%35", "%36")
WGMMA(64, 32, f16, "%32, %33", "%34", "%35", "%36")
WGMMA_REGISTERS(64, 32, bf16, "{%32,%33,%34,%35}, %36", "%37", "%38")
WGMMA_REGISTERS(64, 32, f16, "{%32,%33,%34,%35}, %36", "%37", "%38")
WGMMA(128, 64, bf16, "%64, %65", "%66", "%67", "%68")
WGMMA(128, 64, f16, "%64, %65", "%66", "%67", "%68")
WGMMA_REGISTERS(128, 64, bf16, "{%64,%65,%66,%67}, %68", "%69", "%70")
WGMMA_REGISTERS(128, 64, f16, "{%64,%65,%66,%67}, %68", "%69", "%70")
WGMMA(192, 96, bf16, "%96, %97", "%98", "%99", "%100")
WGMMA(192, 96, f16, "%96, %97", "%98", "%99", "%100")
WGMMA(256, 128, bf16, "%128, %129", "%130", "%131", "%132")
WGMMA(256, 128, f16, "%128, %129", "%130", "%131", "%132")
WGMMA_REGISTERS(256, 128, bf16, "{%128,%129,%130,%131}, %132", "%133", "%134")
WGMMA_REGISTERS(256, 128, f16, "{%128,%129,%130,%131}, %132", "%133", "%134")
#undef WGMMA
#undef WGMMA_REGISTERS

template <int N, typename T, int transpose_a, int transpose_b>
DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) {
  wgmma_shared<N, T>::template run<transpose_a, transpose_b>(d, a, b, accumulate);
}
template <int N, typename T, int transpose_b>
DEVICE void wgmma_registers(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  wgmma_from_registers<N, T>::template run<transpose_b>(d, a, b, accumulate);
}
#endif

// ---- registers and named barriers (9.7.20.5, 9.7.13.1) ------------------------------------------------
//
// A warpgroup that only starts copies gives registers away, those that multiply take them: N is a
// multiple of 8 from 24 to 256, and all four warps execute it.

template <int N> DEVICE void registers_increase() {
#ifndef TINYGEN_SIM
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N));
#endif
}

template <int N> DEVICE void registers_decrease() {
#ifndef TINYGEN_SIM
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N));
#endif
}

// A barrier for some warps of a block: `id` is 1 to 15 (0 is __syncthreads), `threads` counts those that
// wait and those that only arrive.
DEVICE void named_barrier_sync(int id, int threads) {
#ifdef TINYGEN_SIM
  sim::named_barrier_sync(id, threads);
#else
  delay();
  asm volatile("bar.sync %0, %1;" :: "r"(id), "r"(threads) : "memory");
#endif
}

DEVICE void named_barrier_arrive(int id, int threads) {
#ifdef TINYGEN_SIM
  sim::named_barrier_arrive(id, threads);
#else
  delay();
  asm volatile("bar.arrive %0, %1;" :: "r"(id), "r"(threads) : "memory");
#endif
}
