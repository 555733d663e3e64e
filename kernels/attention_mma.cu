// Attention on tensor cores by mma.sync: bf16 and f16 with float32 sums, sm_80 and later, after
// FlashAttention-2 (Dao 2023, arXiv:2307.08691).
//
// A warp has whole rows: 16 queries against all keys of a tile. So the scores of a row lie in the four
// lanes of a quad, its maximum and its sum are two exchanges away, and the scores need not leave the
// registers: as accumulators of one product they are, rounded to 16 bits, the left factor of the next.
//
// Block of 128 threads (4 warps), (x, y, z) = (tile of 64 rows, head, batch element). What the rows are
// multiplied with comes through shared memory in tiles of STEP rows, two of them, so that cp.async fills
// one while the other is multiplied. Rows are HEAD + 8 elements apart: eight rows of a fragment then
// lie in eight different groups of banks.
//
// 4 B H T^2 D operations forward and 14 backward, as attention_simt.cu, on arithmetic that is 16 times
// as fast. Rows of q, k, v begin at multiples of 16 bytes, and `width` is a multiple of 8.
#include "attention.cuh"
#include "tensor_core.cuh"

constexpr int THREADS = 128, ROWS = 64, PAD = 8, ROW = HEAD + PAD;
constexpr int DEPTH = HEAD / 16, WIDE = HEAD / 8;  // fragments along a row: as a factor, as a result

using T = TYPE;

// Starts the copies of `count` rows of a matrix from `first` on; zeros behind its last row and width. Not
// unrolled: the addresses of several copies at once would take the registers of the products.
template <int count>
DEVICE void copy_rows(T* tile, const T* matrix, int64_t stride, int first, int rows, int width) {
#pragma unroll 1
  for (int i = threadIdx.x; i < count * HEAD / 8; i += THREADS) {
    const int row = i / (HEAD / 8), column = i % (HEAD / 8) * 8;
    const bool inside = first + row < rows && column < width;
    copy_async_16(tile + row * ROW + column, inside ? matrix + (first + row) * stride + column : matrix, inside);
  }
}

// 16 x 16 of the rows from `row` on, as the left factor.
DEVICE void read_left(uint32_t (&fragment)[4], const T* tile, int row, int k) {
  const int lane = threadIdx.x % 32;
  load_matrix_x4(fragment, tile + (row + lane % 16) * ROW + k + lane / 16 * 8);
}

// Right factors of 16 of k and 16 columns, as two fragments of 8 (registers 0, 1 and 2, 3). The tile's
// rows are the columns of the product, along k ...
DEVICE void read_right(uint32_t (&fragments)[4], const T* tile, int column, int k) {
  const int lane = threadIdx.x % 32;
  load_matrix_x4(fragments, tile + (column + lane / 16 * 8 + lane % 8) * ROW + k + lane / 8 % 2 * 8);
}

// ... or its rows are k, and ldmatrix transposes.
DEVICE void read_right_across(uint32_t (&fragments)[4], const T* tile, int column, int k) {
  const int lane = threadIdx.x % 32;
  load_matrix_x4_transposed(fragments, tile + (k + lane % 16) * ROW + column + lane / 16 * 8);
}

// d += a b for two neighbouring fragments of 8 columns.
DEVICE void multiply_two(float (&d0)[4], float (&d1)[4], const uint32_t (&a)[4], const uint32_t (&b)[4]) {
  const uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
  mma_m16n8k16<T>(d0, a, b0);
  mma_m16n8k16<T>(d1, a, b1);
}

// Accumulators of 16 columns as a left factor of 16 of k (tensor_core.cuh says who holds what).
DEVICE void as_left(uint32_t (&a)[4], const float (&s0)[4], const float (&s1)[4]) {
  a[0] = pack<T>(s0[0], s0[1]);
  a[1] = pack<T>(s0[2], s0[3]);
  a[2] = pack<T>(s1[0], s1[1]);
  a[3] = pack<T>(s1[2], s1[3]);
}

// out (16 x 8 N) = rows of `left` from `row` on, times the first 8 N rows of `right`.
template <int N>
DEVICE void row_products(float (&out)[N][4], const T* left, int row, const T* right) {
#pragma unroll
  for (int j = 0; j < N; j++) out[j][0] = out[j][1] = out[j][2] = out[j][3] = 0.0f;
#pragma unroll
  for (int k = 0; k < DEPTH; k++) {
    uint32_t a[4], b[4];
    read_left(a, left, row, 16 * k);
#pragma unroll
    for (int j = 0; j < N; j += 2) {
      read_right(b, right, 8 * j, 16 * k);
      multiply_two(out[j], out[j + 1], a, b);
    }
  }
}

// out (16 x HEAD) += s (16 x 8 N, in registers) times the first 8 N rows of `right`.
template <int N>
DEVICE void add_product(float (&out)[WIDE][4], const float (&s)[N][4], const T* right) {
#pragma unroll
  for (int j = 0; j < N; j += 2) {
    uint32_t a[4], b[4];
    as_left(a, s[j], s[j + 1]);
#pragma unroll
    for (int d = 0; d < WIDE; d += 2) {
      read_right_across(b, right, 8 * d, 8 * j);
      multiply_two(out[d], out[d + 1], a, b);
    }
  }
}

// A warp's 16 rows of a result; factor[0] for row lane / 4, factor[1] for the one 8 below.
DEVICE void store_rows(T* matrix, int64_t stride, int first, int rows, int width,
                       const float (&values)[WIDE][4], float factor0, float factor1) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int d = 0; d < WIDE; d++) {
    const int column = 8 * d + lane % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = first + lane / 4 + 8 * half;
      const float factor = half ? factor1 : factor0;
      if (row < rows && column < width) {
        *reinterpret_cast<uint32_t*>(matrix + row * stride + column) =
            pack<T>(values[d][2 * half] * factor, values[d][2 * half + 1] * factor);
      }
    }
  }
}

// Over the quad of lanes that share a row.
DEVICE float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

DEVICE float quad_sum(float v) {
  v += __shfl_xor_sync(0xffffffffu, v, 1);
  return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

// A lane's scores of the queries `query` and `query + 8` by the keys from `key` on, as row_products leaves
// them: `hidden` where the query does not see the key.
template <int N>
DEVICE void hide(float (&scores)[N][4], const band& visible, int query, int key, float hidden) {
#pragma unroll
  for (int j = 0; j < N; j++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (!visible.sees(query + i / 2 * 8, key + 8 * j + i % 2)) scores[j][i] = hidden;
    }
  }
}

// ---- forward -------------------------------------------------------------------------------------
//
// Shared memory: the tile of queries, then two stages of a tile of keys and one of values.

constexpr int STEP = 64, COLUMNS = STEP / 8;

extern "C" __global__ void __launch_bounds__(THREADS)
attention_mma(const T* q, const T* k, const T* v, T* out, float* lse,
              int heads, int kv_heads, int queries, int keys, int width,
              int64_t q_batch, int64_t q_head, int64_t q_row,
              int64_t kv_batch, int64_t kv_head, int64_t kv_row,
              int64_t out_batch, int64_t out_head, int64_t out_row,
              float scale, int behind, int ahead) {
  extern __shared__ __align__(16) unsigned char shared[];
  T* q_tile = reinterpret_cast<T*>(shared);
  T* stages = q_tile + ROWS * ROW;
  const int first_query = blockIdx.x * ROWS, head = blockIdx.y, batch = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const band visible = {queries, keys, behind, ahead};
  const int kv = head / (heads / kv_heads);
  q += batch * q_batch + head * q_head;
  k += batch * kv_batch + kv * kv_head;
  v += batch * kv_batch + kv * kv_head;
  out += batch * out_batch + head * out_head;
  const int first_key = visible.first_key(first_query) / STEP * STEP;
  const int last_key = visible.last_key(first_query, ROWS);

  copy_rows<ROWS>(q_tile, q, q_row, first_query, queries, width);
  copy_rows<STEP>(stages, k, kv_row, first_key, keys, width);
  copy_rows<STEP>(stages + STEP * ROW, v, kv_row, first_key, keys, width);
  copy_async_commit();

  float total[WIDE][4] = {}, sum[2] = {}, largest[2] = {-INFINITY, -INFINITY};
  int stage = 0;
  for (int key = first_key; key < last_key; key += STEP, stage ^= 1) {
    T* next = stages + (stage ^ 1) * 2 * STEP * ROW;
    copy_async_wait<0>();
    __syncthreads();  // this tile is there, and everyone has read the other one
    if (key + STEP < last_key) {
      copy_rows<STEP>(next, k, kv_row, key + STEP, keys, width);
      copy_rows<STEP>(next + STEP * ROW, v, kv_row, key + STEP, keys, width);
    }
    copy_async_commit();
    const T* k_tile = stages + stage * 2 * STEP * ROW;
    float scores[COLUMNS][4];
    row_products(scores, q_tile, 16 * warp, k_tile);
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) scores[j][i] *= scale * LOG2_E;
    }
    if (!visible.all_seen(first_query, ROWS, key, STEP)) {
      hide(scores, visible, first_query + 16 * warp + lane / 4, key + lane % 4 * 2, -INFINITY);
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
      float top = largest[half];
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) {
        top = fmaxf(top, fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
      }
      top = quad_max(top);
      const float shift = top == -INFINITY ? 0.0f : top;  // nothing seen yet
      const float shrink = fast_exp2(largest[half] - shift);
      float row = 0.0f;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; i++) {
          scores[j][i] = fast_exp2(scores[j][i] - shift);
          row += scores[j][i];
        }
      }
      sum[half] = sum[half] * shrink + row;  // of this lane's columns; the quad's are added at the end
      largest[half] = top;
#pragma unroll
      for (int d = 0; d < WIDE; d++) {
        total[d][2 * half] *= shrink;
        total[d][2 * half + 1] *= shrink;
      }
    }
    add_product(total, scores, k_tile + STEP * ROW);
  }
  copy_async_wait<0>();

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    sum[half] = quad_sum(sum[half]);
    inverse[half] = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
    const int query = first_query + 16 * warp + lane / 4 + 8 * half;
    if (lane % 4 == 0 && query < queries) {
      const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries + query;
      lse[row] = sum[half] > 0.0f ? (largest[half] + log2f(sum[half])) * LN_2 : INFINITY;
    }
  }
  store_rows(out, out_row, first_query + 16 * warp, queries, width, total, inverse[0], inverse[1]);
}

// ---- backward ------------------------------------------------------------------------------------
//
// As in attention_simt.cu: dQ by tiles of queries that walk over the keys, dK and dV by tiles of keys
// that walk over the queries; `delta` comes from attention_delta there. Steps of 32 rows, since two
// tiles of scores and up to two results share the registers. P and dS are rounded to 16 bits where they
// are factors, as in every implementation.

constexpr int BACK = 32, BACK_COLUMNS = BACK / 8;

extern "C" __global__ void __launch_bounds__(THREADS, HEAD <= 64 ? 4 : 3)
attention_mma_dq(const T* grad, const T* q, const T* k, const T* v, const float* lse,
                 const float* delta, T* dq, int heads, int kv_heads, int queries, int keys,
                 int width, int64_t grad_batch, int64_t grad_head, int64_t grad_row,
                 int64_t q_batch, int64_t q_head, int64_t q_row,
                 int64_t kv_batch, int64_t kv_head, int64_t kv_row,
                 int64_t dq_batch, int64_t dq_head, int64_t dq_row,
                 float scale, int behind, int ahead) {
  extern __shared__ __align__(16) unsigned char shared[];
  T* q_tile = reinterpret_cast<T*>(shared);
  T* grad_tile = q_tile + ROWS * ROW;
  T* stages = grad_tile + ROWS * ROW;
  const int first_query = blockIdx.x * ROWS, head = blockIdx.y, batch = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const band visible = {queries, keys, behind, ahead};
  const int kv = head / (heads / kv_heads);
  const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries;
  k += batch * kv_batch + kv * kv_head;
  v += batch * kv_batch + kv * kv_head;
  const int first_key = visible.first_key(first_query) / BACK * BACK;
  const int last_key = visible.last_key(first_query, ROWS);

  copy_rows<ROWS>(q_tile, q + batch * q_batch + head * q_head, q_row, first_query, queries, width);
  copy_rows<ROWS>(grad_tile, grad + batch * grad_batch + head * grad_head, grad_row, first_query, queries, width);
  copy_rows<BACK>(stages, k, kv_row, first_key, keys, width);
  copy_rows<BACK>(stages + BACK * ROW, v, kv_row, first_key, keys, width);
  copy_async_commit();
  float log_sum[2], mean[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int query = first_query + 16 * warp + lane / 4 + 8 * half;
    log_sum[half] = query < queries ? lse[row + query] * LOG2_E : INFINITY;
    mean[half] = query < queries ? delta[row + query] : 0.0f;
  }

  float total[WIDE][4] = {};
  int stage = 0;
  for (int key = first_key; key < last_key; key += BACK, stage ^= 1) {
    T* next = stages + (stage ^ 1) * 2 * BACK * ROW;
    copy_async_wait<0>();
    __syncthreads();
    if (key + BACK < last_key) {
      copy_rows<BACK>(next, k, kv_row, key + BACK, keys, width);
      copy_rows<BACK>(next + BACK * ROW, v, kv_row, key + BACK, keys, width);
    }
    copy_async_commit();
    const T* k_tile = stages + stage * 2 * BACK * ROW;
    float p[BACK_COLUMNS][4], dscores[BACK_COLUMNS][4];
    row_products(p, q_tile, 16 * warp, k_tile);
    row_products(dscores, grad_tile, 16 * warp, k_tile + BACK * ROW);
#pragma unroll
    for (int j = 0; j < BACK_COLUMNS; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        p[j][i] = fast_exp2(p[j][i] * (scale * LOG2_E) - log_sum[i / 2]);
      }
    }
    if (!visible.all_seen(first_query, ROWS, key, BACK)) {
      hide(p, visible, first_query + 16 * warp + lane / 4, key + lane % 4 * 2, 0.0f);
    }
#pragma unroll
    for (int j = 0; j < BACK_COLUMNS; j++) {
#pragma unroll
      for (int i = 0; i < 4; i++) dscores[j][i] = p[j][i] * (dscores[j][i] - mean[i / 2]);
    }
    add_product(total, dscores, k_tile);
  }
  copy_async_wait<0>();
  dq += batch * dq_batch + head * dq_head;
  store_rows(dq, dq_row, first_query + 16 * warp, queries, width, total, scale, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
attention_mma_dkv(const T* grad, const T* q, const T* k, const T* v, const float* lse,
                  const float* delta, T* dk, T* dv, int heads, int kv_heads, int queries,
                  int keys, int width, int64_t grad_batch, int64_t grad_head, int64_t grad_row,
                  int64_t q_batch, int64_t q_head, int64_t q_row,
                  int64_t kv_batch, int64_t kv_head, int64_t kv_row,
                  int64_t dkv_batch, int64_t dkv_head, int64_t dkv_row,
                  float scale, int behind, int ahead) {
  extern __shared__ __align__(16) unsigned char shared[];
  T* k_tile = reinterpret_cast<T*>(shared);
  T* v_tile = k_tile + ROWS * ROW;
  T* stages = v_tile + ROWS * ROW;
  const int first_key = blockIdx.x * ROWS, kv = blockIdx.y, batch = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const band visible = {queries, keys, behind, ahead};
  const int group = heads / kv_heads;
  const int first_query = visible.first_query(first_key) / BACK * BACK;
  const int steps = max(0, ceil_div(visible.last_query(first_key, ROWS) - first_query, BACK));

  // Step s of all: query tile s % steps of head s / steps of the group.
  const auto copy_step = [&](int step, T* stage) {
    const int head = kv * group + step / steps, query = first_query + step % steps * BACK;
    copy_rows<BACK>(stage, q + batch * q_batch + head * q_head, q_row, query, queries, width);
    copy_rows<BACK>(stage + BACK * ROW, grad + batch * grad_batch + head * grad_head, grad_row, query, queries, width);
  };
  copy_rows<ROWS>(k_tile, k + batch * kv_batch + kv * kv_head, kv_row, first_key, keys, width);
  copy_rows<ROWS>(v_tile, v + batch * kv_batch + kv * kv_head, kv_row, first_key, keys, width);
  if (steps > 0) copy_step(0, stages);
  copy_async_commit();

  float dk_total[WIDE][4] = {}, dv_total[WIDE][4] = {};
  for (int step = 0; step < steps * group; step++) {
    copy_async_wait<0>();
    __syncthreads();
    if (step + 1 < steps * group) copy_step(step + 1, stages + (step + 1) % 2 * 2 * BACK * ROW);
    copy_async_commit();
    const T* q_tile = stages + step % 2 * 2 * BACK * ROW;
    const T* grad_tile = q_tile + BACK * ROW;
    const int head = kv * group + step / steps, query = first_query + step % steps * BACK;
    const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries;
    float p[BACK_COLUMNS][4], dscores[BACK_COLUMNS][4];  // transposed: rows are keys
    row_products(p, k_tile, 16 * warp, q_tile);
    row_products(dscores, v_tile, 16 * warp, grad_tile);
    const bool all_seen = visible.all_seen(query, BACK, first_key, ROWS);
#pragma unroll
    for (int j = 0; j < BACK_COLUMNS; j++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int column = query + 8 * j + lane % 4 * 2 + i;
        const bool exists = column < queries;
        const float log_sum = exists ? lse[row + column] * LOG2_E : INFINITY;
        const float mean = exists ? delta[row + column] : 0.0f;
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int at = 2 * half + i, key = first_key + 16 * warp + lane / 4 + 8 * half;
          p[j][at] = fast_exp2(p[j][at] * (scale * LOG2_E) - log_sum);  // 0 beyond the queries
          if (!all_seen && !visible.sees(column, key)) p[j][at] = 0.0f;
          dscores[j][at] = p[j][at] * (dscores[j][at] - mean);
        }
      }
    }
    add_product(dv_total, p, grad_tile);
    add_product(dk_total, dscores, q_tile);
  }
  copy_async_wait<0>();
  dk += batch * dkv_batch + kv * dkv_head;
  dv += batch * dkv_batch + kv * dkv_head;
  store_rows(dk, dkv_row, first_key + 16 * warp, keys, width, dk_total, scale, scale);
  store_rows(dv, dkv_row, first_key + 16 * warp, keys, width, dv_total, 1.0f, 1.0f);
}
