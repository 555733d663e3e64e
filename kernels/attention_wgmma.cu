// Attention forward on Hopper (sm_90a), after FlashAttention-3 (Shah et al. 2024, arXiv:2407.08608): TMA
// brings the tiles, two warpgroups multiply and take the softmax by turns.
//
// Block of 384 threads, one an SM, for a tile of 128 queries of a head: warpgroup 0 is the producer, 1 and
// 2 have 64 queries each and walk over the keys in steps of STEP. For each step
//
//   S = Q K^T     both factors from shared memory, 64 x STEP in STEP / 2 registers a thread
//   P = exp2(S - m), row sums, and what was added up so far scaled down to the new largest score m
//   O += P V      P from the registers where S lay, V from shared memory, 64 x HEAD
//
// The tensor cores need not wait for exp2. Within a warpgroup, S of a step is started together with O of
// the step before; between the two, a named barrier passes the right to start products back and forth,
// so that one takes its softmax while the other multiplies.
//
// Shared memory, in slabs of rows of 64 elements (the 128-byte swizzle that TMA writes and wgmma reads): Q,
// then STAGES of a tile of K and one of V, each with a barrier on which TMA counts the bytes that have
// come and one on which the consumers say that they have read. Beyond the last row and the width TMA
// writes zeros; wgmma has no other widths than HEAD = 64 and 128.
//
// 4 B H T^2 D operations (half for a causal model), at twice the rate of mma.sync; exp2 has a sixteenth
// of an SM's arithmetic, and takes as long as the products of 64 columns. Tiles are numbered from the last
// on: those of a causal model that see most keys begin first.
//
// Rows of q, k, v begin at multiples of 16 bytes, `width` is a multiple of 8, and scale is above 0: the
// largest score is that of the largest product.
#include "attention.cuh"
#include "hopper.cuh"

#ifndef STAGES
#define STAGES 2
#endif

using T = TYPE;

constexpr int ROWS = 128, STEP = 128, SLABS = HEAD / 64;
constexpr int Q_TILE = ROWS * HEAD, KV_TILE = STEP * HEAD;  // elements
constexpr int TILE_BYTES = KV_TILE * sizeof(T);

struct barriers {
  uint64_t q, k_full[STAGES], k_empty[STAGES], v_full[STAGES], v_empty[STAGES];
};

// One thread's copies of `rows` rows of a head, slab by slab.
DEVICE void load_rows(T* tile, const tensor_map* map, int rows, int row, int head, int batch, uint64_t* full) {
  for (int slab = 0; slab < SLABS; slab++) {
    tma_load_4d(tile + slab * rows * 64, map, 64 * slab, row, head, batch, full);
  }
}

// Starts S = Q K^T.
DEVICE void start_scores(float (&s)[STEP / 2], const T* q, const T* k) {
  wgmma_fence();
#pragma unroll
  for (int d = 0; d < HEAD / 16; d++) {
    const uint64_t a = wgmma_descriptor(q + d / 4 * ROWS * 64 + d % 4 * 16);
    const uint64_t b = wgmma_descriptor(k + d / 4 * STEP * 64 + d % 4 * 16);
    wgmma<STEP, T, 0, 0>(s, a, b, d > 0);
  }
  wgmma_commit();
}

// Starts O += P V.
DEVICE void start_values(float (&o)[HEAD / 2], const uint32_t (&p)[STEP / 16][4], const T* v) {
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < STEP / 16; k++) {
    wgmma_registers<HEAD, T, 1>(o, p[k], wgmma_descriptor(v + k * 16 * 64, STEP * 64 * sizeof(T)));
  }
  wgmma_commit();
}

// Accumulators of 16 columns are, rounded, a left factor of 16 of k.
DEVICE void as_left(uint32_t (&p)[STEP / 16][4], const float (&s)[STEP / 2]) {
#pragma unroll
  for (int k = 0; k < STEP / 16; k++) {
#pragma unroll
    for (int i = 0; i < 4; i++) p[k][i] = pack<T>(s[8 * k + 2 * i], s[8 * k + 2 * i + 1]);
  }
}

// A thread's two rows: lane / 4 of its warp's 16, and 8 below. s[i] is of the lower one where i % 4 > 1.
struct row_pair {
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};  // the sums are of this lane's columns

  // s becomes exp2(s scale - m), scale being above 0; returns in `shrink` what the rows so far are to be
  // multiplied with. Where all is seen, as everywhere but at the edges of the band, an element costs a
  // maximum, a fused multiplication, exp2 and an addition.
  DEVICE void add(float (&s)[STEP / 2], float (&shrink)[2], const band& visible, bool all_seen, int query,
                  int key, float scale) {
    const int first = key + threadIdx.x % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      if (!all_seen) {
        const int position = visible.position(query + 8 * half);
        const int low = position - visible.behind - first;
        const int high = min(position + visible.ahead, visible.keys - 1) - first;
#pragma unroll
        for (int i = 0; i < STEP / 2; i++) {
          const int offset = i / 4 * 8 + i % 2;
          if (i / 2 % 2 == half && (offset < low || offset > high)) s[i] = -INFINITY;
        }
      }
      float top = s[2 * half];
#pragma unroll
      for (int i = 0; i < STEP / 2; i++) {
        if (i / 2 % 2 == half) top = fmaxf(top, s[i]);
      }
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      top = fmaxf(largest[half], top * scale);
      const float shift = top == -INFINITY ? 0.0f : top;  // nothing seen yet
      shrink[half] = fast_exp2(largest[half] - shift);
      sum[half] *= shrink[half];
      largest[half] = top;
#pragma unroll
      for (int i = 0; i < STEP / 2; i++) {
        if (i / 2 % 2 != half) continue;
        s[i] = fast_exp2(s[i] * scale - shift);
        sum[half] += s[i];
      }
    }
  }
};

extern "C" __global__ void __launch_bounds__(384, 1)
attention_wgmma(const __grid_constant__ tensor_map q_map, const __grid_constant__ tensor_map k_map,
                const __grid_constant__ tensor_map v_map, T* out, float* lse, int heads, int kv_heads,
                int queries, int keys, int width, int64_t out_batch, int64_t out_head, int64_t out_row,
                float scale, int behind, int ahead) {
  extern __shared__ __align__(1024) unsigned char shared[];
  T* q_tile = reinterpret_cast<T*>(shared);
  T* k_tiles = q_tile + Q_TILE;
  T* v_tiles = k_tiles + STAGES * KV_TILE;
  barriers& b = *reinterpret_cast<barriers*>(v_tiles + STAGES * KV_TILE);
  const int first_query = (gridDim.x - 1 - blockIdx.x) * ROWS, head = blockIdx.y, batch = blockIdx.z;
  const band visible = {queries, keys, behind, ahead};
  const int first_key = visible.first_key(first_query) / STEP * STEP;
  const int steps = max(0, ceil_div(visible.last_key(first_query, ROWS) - first_key, STEP));
  const int warpgroup = threadIdx.x / 128;

  if (threadIdx.x == 0) {
    barrier_init(&b.q, 1);
    for (int s = 0; s < STAGES; s++) {
      barrier_init(&b.k_full[s], 1);
      barrier_init(&b.v_full[s], 1);
      barrier_init(&b.k_empty[s], 8);  // the consumers' warps
      barrier_init(&b.v_empty[s], 8);
    }
    barrier_init_fence();
  }
  __syncthreads();

  if (warpgroup == 0) {
    registers_decrease<40>();
    if (threadIdx.x != 0 || steps == 0) return;
    const int kv = head / (heads / kv_heads);
    barrier_expect(&b.q, Q_TILE * sizeof(T));
    load_rows(q_tile, &q_map, ROWS, first_query, head, batch, &b.q);
    for (int step = 0; step < steps; step++) {
      const int s = step % STAGES, parity = step / STAGES % 2 ^ 1, key = first_key + step * STEP;
      barrier_wait(&b.k_empty[s], parity);
      barrier_expect(&b.k_full[s], TILE_BYTES);
      load_rows(k_tiles + s * KV_TILE, &k_map, STEP, key, kv, batch, &b.k_full[s]);
      barrier_wait(&b.v_empty[s], parity);
      barrier_expect(&b.v_full[s], TILE_BYTES);
      load_rows(v_tiles + s * KV_TILE, &v_map, STEP, key, kv, batch, &b.v_full[s]);
    }
    return;
  }

  registers_increase<232>();
  const int consumer = warpgroup - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const int my_first = first_query + 64 * consumer;
  const int query = my_first + 16 * warp + lane / 4;
  const T* my_q = q_tile + consumer * 64 * 64;
  row_pair rows;
  float total[HEAD / 2] = {};
  if (steps > 0) {
    float scores[STEP / 2], shrink[2];
    uint32_t p[STEP / 16][4];
    const auto softmax = [&](int key) {
      const bool all_seen = visible.all_seen(my_first, 64, key, STEP);
      rows.add(scores, shrink, visible, all_seen, query, key, scale * LOG2_E);
    };
    barrier_wait(&b.q, 0);
    if (consumer == 1) named_barrier_arrive(1, 256);  // the first consumer begins
    barrier_wait(&b.k_full[0], 0);
    named_barrier_sync(1 + consumer, 256);
    start_scores(scores, my_q, k_tiles);
    wgmma_wait<0>();
    if (consumer == 0 || steps > 1) named_barrier_arrive(2 - consumer, 256);
    if (lane == 0) barrier_arrive(&b.k_empty[0]);
    softmax(first_key);
    as_left(p, scores);

    for (int step = 1; step < steps; step++) {
      const int s = step % STAGES, before = (step - 1) % STAGES;
      barrier_wait(&b.k_full[s], step / STAGES % 2);
      barrier_wait(&b.v_full[before], (step - 1) / STAGES % 2);
      named_barrier_sync(1 + consumer, 256);
      start_scores(scores, my_q, k_tiles + s * KV_TILE);
      start_values(total, p, v_tiles + before * KV_TILE);
      wgmma_wait<1>();
      if (consumer == 0 || step + 1 < steps) named_barrier_arrive(2 - consumer, 256);
      if (lane == 0) barrier_arrive(&b.k_empty[s]);
      softmax(first_key + step * STEP);
      wgmma_wait<0>();
      if (lane == 0) barrier_arrive(&b.v_empty[before]);
#pragma unroll
      for (int i = 0; i < HEAD / 2; i++) total[i] *= shrink[i / 2 % 2];
      as_left(p, scores);
    }

    const int last = (steps - 1) % STAGES;
    barrier_wait(&b.v_full[last], (steps - 1) / STAGES % 2);
    start_values(total, p, v_tiles + last * KV_TILE);
    wgmma_wait<0>();
  }

  out += batch * out_batch + head * out_head;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = rows.sum[half];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    const int row = query + 8 * half;
    if (row >= queries) continue;
    const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
    if (lane % 4 == 0) {
      const int64_t at = (static_cast<int64_t>(batch) * heads + head) * queries + row;
      lse[at] = sum > 0.0f ? (rows.largest[half] + log2f(sum)) * LN_2 : INFINITY;
    }
#pragma unroll
    for (int d = 0; d < HEAD / 8; d++) {
      const int column = 8 * d + lane % 4 * 2, i = 4 * d + 2 * half;
      if (column < width) {
        *reinterpret_cast<uint32_t*>(out + row * out_row + column) =
            pack<T>(total[i] * inverse, total[i + 1] * inverse);
      }
    }
  }
}
