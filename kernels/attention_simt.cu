// Attention on ordinary arithmetic: the two lower rungs, for every GPU and every TYPE.
//
//   naive   one block a query, all its scores in shared memory
//   tiled   tiles of queries against tiles of keys, softmax as it goes: the scores never exist
//
// Forward of B H heads, T queries and keys: 4 B H T^2 D floating-point operations (half of them for
// a causal model), and exp for each score.
#include "attention.cuh"

// ---- naive ---------------------------------------------------------------------------------------
//
// Block (x, y, z) = (query, head, batch element); 128 threads share the keys among them, then the
// columns of the output. Shared memory: the query, and a score for every key, so T is limited by it.
// Every block reads all keys and values that it sees from memory: 2 T D elements for 4 T D
// operations, and each warp reads a key a lane, HEAD elements apart.

constexpr int NAIVE_THREADS = 128;

DEVICE float block_reduce(float v, bool maximum, float* scratch) {
  scratch[threadIdx.x] = v;
  __syncthreads();
  for (int half = NAIVE_THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      const float other = scratch[threadIdx.x + half];
      scratch[threadIdx.x] = maximum ? fmaxf(scratch[threadIdx.x], other) : scratch[threadIdx.x] + other;
    }
    __syncthreads();
  }
  v = scratch[0];
  __syncthreads();  // before the next call writes
  return v;
}

extern "C" __global__ void __launch_bounds__(NAIVE_THREADS)
attention_naive(const TYPE* q, const TYPE* k, const TYPE* v, TYPE* out, float* lse,
                int heads, int kv_heads, int queries, int keys, int width,
                int64_t q_batch, int64_t q_head, int64_t q_row,
                int64_t kv_batch, int64_t kv_head, int64_t kv_row,
                int64_t out_batch, int64_t out_head, int64_t out_row,
                float scale, int behind, int ahead) {
  extern __shared__ __align__(16) unsigned char shared[];
  float* query = reinterpret_cast<float*>(shared);  // width
  float* scratch = query + width;                   // NAIVE_THREADS
  float* scores = scratch + NAIVE_THREADS;          // keys
  const int i = blockIdx.x, head = blockIdx.y, batch = blockIdx.z;
  const band visible = {queries, keys, behind, ahead};
  const int kv = head / (heads / kv_heads);
  q += batch * q_batch + head * q_head + i * q_row;
  k += batch * kv_batch + kv * kv_head;
  v += batch * kv_batch + kv * kv_head;
  out += batch * out_batch + head * out_head + i * out_row;

  for (int d = threadIdx.x; d < width; d += NAIVE_THREADS) query[d] = to_float(q[d]);
  __syncthreads();

  float largest = -INFINITY;
  for (int j = threadIdx.x; j < keys; j += NAIVE_THREADS) {
    float score = -INFINITY;
    if (visible.sees(i, j)) {
      score = 0.0f;
      for (int d = 0; d < width; d++) score += query[d] * to_float(k[j * kv_row + d]);
      score *= scale * LOG2_E;
    }
    scores[j] = score;
    largest = fmaxf(largest, score);
  }
  largest = block_reduce(largest, true, scratch);
  const float shift = largest == -INFINITY ? 0.0f : largest;

  float sum = 0.0f;
  for (int j = threadIdx.x; j < keys; j += NAIVE_THREADS) {
    scores[j] = exp2f(scores[j] - shift);
    sum += scores[j];
  }
  sum = block_reduce(sum, false, scratch);
  const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;

  for (int d = threadIdx.x; d < width; d += NAIVE_THREADS) {
    float total = 0.0f;
    for (int j = 0; j < keys; j++) {
      if (scores[j] > 0.0f) total += scores[j] * to_float(v[j * kv_row + d]);
    }
    out[d] = from_float<TYPE>(total * inverse);
  }
  if (threadIdx.x == 0) {
    const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries + i;
    lse[row] = sum > 0.0f ? (shift + log2f(sum)) * LN_2 : INFINITY;
  }
}

// ---- tiled ---------------------------------------------------------------------------------------
//
// Block (x, y, z) = (tile of TILE queries, head, batch element), 128 threads as 8 x 16: a thread has
// ROWS rows and every 16th column of the tile of scores, and of the output. A tile of keys, then of
// values, is read once for TILE queries; the softmax goes along (Milakov and Gimelshein 2018,
// arXiv:1805.02867): when a larger score turns up, sum and output so far are scaled down. Over naive
// it gains a factor TILE in bytes read, and no limit on T.
//
// Shared memory: rows of HEAD + 1 floats, so that a column's elements lie in different banks.

constexpr int TILE = HEAD <= 64 ? 32 : 16;
constexpr int ROWS = TILE / 8, COLUMNS = TILE / 16, PARTS = HEAD / 16;
constexpr int THREADS = 128;

using tile_of_rows = float[TILE][HEAD + 1];
using tile_of_scores = float[TILE][TILE + 1];

DEVICE int my_row(int i) { return threadIdx.x / 16 * ROWS + i; }     // of the tile
DEVICE int my_column(int j) { return threadIdx.x % 16 + 16 * j; }

// Rows `first` .. of `matrix` as floats, zeros beyond its last row and its width.
DEVICE void load_tile(tile_of_rows& tile, const TYPE* matrix, int64_t row_stride, int first, int rows,
                      int width) {
  for (int i = threadIdx.x; i < TILE * HEAD; i += THREADS) {
    const int row = i / HEAD, column = i % HEAD;
    const bool inside = first + row < rows && column < width;
    tile[row][column] = inside ? to_float(matrix[(first + row) * row_stride + column]) : 0.0f;
  }
}

// out[i][j] += sum over d of a[my_row(i)][d] b[my_column(j)][d]
DEVICE void add_row_products(float (&out)[ROWS][COLUMNS], const tile_of_rows& a, const tile_of_rows& b) {
#pragma unroll 4
  for (int d = 0; d < HEAD; d++) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) out[i][j] += a[my_row(i)][d] * b[my_column(j)][d];
    }
  }
}

// out[i][j] += sum over the tile's columns c of a[my_row(i)][c] b[c][my_column(j)]; with
// `transposed` of a[c][my_row(i)].
template <bool transposed>
DEVICE void add_product(float (&out)[ROWS][PARTS], const tile_of_scores& a, const tile_of_rows& b) {
#pragma unroll 2
  for (int c = 0; c < TILE; c++) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const float factor = transposed ? a[c][my_row(i)] : a[my_row(i)][c];
#pragma unroll
      for (int j = 0; j < PARTS; j++) out[i][j] += factor * b[c][my_column(j)];
    }
  }
}

DEVICE void store_tile(TYPE* matrix, int64_t row_stride, int first, int rows, int width,
                       const float (&values)[ROWS][PARTS], float factor) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
#pragma unroll
    for (int j = 0; j < PARTS; j++) {
      const int row = first + my_row(i), column = my_column(j);
      if (row < rows && column < width) {
        matrix[row * row_stride + column] = from_float<TYPE>(values[i][j] * factor);
      }
    }
  }
}

// Over the 16 threads that share a row.
DEVICE float row_max(float v) {
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, offset));
  return v;
}

DEVICE float row_sum(float v) {
#pragma unroll
  for (int offset = 8; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

extern "C" __global__ void __launch_bounds__(THREADS)
attention_tiled(const TYPE* q, const TYPE* k, const TYPE* v, TYPE* out, float* lse,
                int heads, int kv_heads, int queries, int keys, int width,
                int64_t q_batch, int64_t q_head, int64_t q_row,
                int64_t kv_batch, int64_t kv_head, int64_t kv_row,
                int64_t out_batch, int64_t out_head, int64_t out_row,
                float scale, int behind, int ahead) {
  __shared__ tile_of_rows q_tile, kv_tile;
  __shared__ tile_of_scores p_tile;
  const int first_query = blockIdx.x * TILE, head = blockIdx.y, batch = blockIdx.z;
  const band visible = {queries, keys, behind, ahead};
  const int kv = head / (heads / kv_heads);
  q += batch * q_batch + head * q_head;
  k += batch * kv_batch + kv * kv_head;
  v += batch * kv_batch + kv * kv_head;
  out += batch * out_batch + head * out_head;

  float total[ROWS][PARTS] = {}, sum[ROWS] = {}, largest[ROWS];
#pragma unroll
  for (int i = 0; i < ROWS; i++) largest[i] = -INFINITY;
  load_tile(q_tile, q, q_row, first_query, queries, width);

  const int last_key = visible.last_key(first_query, TILE);
  for (int key = visible.first_key(first_query) / TILE * TILE; key < last_key; key += TILE) {
    __syncthreads();  // the last values are read
    load_tile(kv_tile, k, kv_row, key, keys, width);
    __syncthreads();
    float scores[ROWS][COLUMNS] = {};
    add_row_products(scores, q_tile, kv_tile);
    __syncthreads();  // the keys are read
    load_tile(kv_tile, v, kv_row, key, keys, width);

#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      float top = largest[i];
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) {
        const bool seen = visible.sees(first_query + my_row(i), key + my_column(j));
        scores[i][j] = seen ? scores[i][j] * (scale * LOG2_E) : -INFINITY;
        top = fmaxf(top, scores[i][j]);
      }
      top = row_max(top);
      const float shift = top == -INFINITY ? 0.0f : top;  // nothing seen yet
      const float shrink = exp2f(largest[i] - shift);
      float row = 0.0f;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) {
        const float p = exp2f(scores[i][j] - shift);
        p_tile[my_row(i)][my_column(j)] = p;
        row += p;
      }
      sum[i] = sum[i] * shrink + row_sum(row);
      largest[i] = top;
#pragma unroll
      for (int j = 0; j < PARTS; j++) total[i][j] *= shrink;
    }
    __syncthreads();  // probabilities and values are written
    add_product<false>(total, p_tile, kv_tile);
  }

#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    const float inverse = sum[i] > 0.0f ? 1.0f / sum[i] : 0.0f;
#pragma unroll
    for (int j = 0; j < PARTS; j++) total[i][j] *= inverse;
    const int query = first_query + my_row(i);
    if (threadIdx.x % 16 == 0 && query < queries) {
      const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries + query;
      lse[row] = sum[i] > 0.0f ? (largest[i] + log2f(sum[i])) * LN_2 : INFINITY;
    }
  }
  store_tile(out, out_row, first_query, queries, width, total, 1.0f);
}

// ---- backward ------------------------------------------------------------------------------------
//
//   delta = rowsum(dO O),  P = exp(S - lse),  dV = P^T dO,  dP = dO V^T,  dS = P (dP - delta),
//   dQ = scale dS K,  dK = scale dS^T Q
//
// Three kernels, so that nothing is added by atomics and the same bits come out of every run: delta;
// dQ by tiles of queries, which walk over the keys; dK and dV by tiles of keys, which walk over the
// queries, of all heads that share the keys. S and dP are computed twice for it: 14 instead of 10
// B H T^2 D operations.

// One warp a row of the output, rows (B, H, T) in order.
extern "C" __global__ void __launch_bounds__(THREADS)
attention_delta(const TYPE* grad, const TYPE* out, float* delta, int heads, int queries, int width,
                int64_t rows, int64_t grad_batch, int64_t grad_head, int64_t grad_row,
                int64_t out_batch, int64_t out_head, int64_t out_row) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int64_t query = row % queries, head = row / queries % heads, batch = row / queries / heads;
  grad += batch * grad_batch + head * grad_head + query * grad_row;
  out += batch * out_batch + head * out_head + query * out_row;
  float sum = 0.0f;
  for (int d = threadIdx.x % 32; d < width; d += 32) sum += to_float(grad[d]) * to_float(out[d]);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (threadIdx.x % 32 == 0) delta[row] = sum;
}

// A thread's part of P and dS of one pair of tiles. `lse` and `delta` are those of the head.
DEVICE void scores_again(float (&p)[ROWS][COLUMNS], float (&dscores)[ROWS][COLUMNS],
                         const tile_of_rows& q, const tile_of_rows& k, const tile_of_rows& grad,
                         const tile_of_rows& v, const float* lse, const float* delta, int query,
                         int key, const band& visible, float scale) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) p[i][j] = dscores[i][j] = 0.0f;
  }
  add_row_products(p, q, k);
  add_row_products(dscores, grad, v);
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    const int row = query + my_row(i);
    const float log_sum = row < visible.queries ? lse[row] * LOG2_E : INFINITY;
    const float mean = row < visible.queries ? delta[row] : 0.0f;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) {
      const bool seen = row < visible.queries && visible.sees(row, key + my_column(j));
      p[i][j] = seen ? exp2f(p[i][j] * (scale * LOG2_E) - log_sum) : 0.0f;
      dscores[i][j] = p[i][j] * (dscores[i][j] - mean);
    }
  }
}

DEVICE void store_scores(tile_of_scores& tile, const float (&values)[ROWS][COLUMNS]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
#pragma unroll
    for (int j = 0; j < COLUMNS; j++) tile[my_row(i)][my_column(j)] = values[i][j];
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
attention_tiled_dq(const TYPE* grad, const TYPE* q, const TYPE* k, const TYPE* v, const float* lse,
                   const float* delta, TYPE* dq, int heads, int kv_heads, int queries, int keys,
                   int width, int64_t grad_batch, int64_t grad_head, int64_t grad_row,
                   int64_t q_batch, int64_t q_head, int64_t q_row,
                   int64_t kv_batch, int64_t kv_head, int64_t kv_row,
                   int64_t dq_batch, int64_t dq_head, int64_t dq_row,
                   float scale, int behind, int ahead) {
  __shared__ tile_of_rows q_tile, grad_tile, k_tile, v_tile;
  __shared__ tile_of_scores ds_tile;
  const int first_query = blockIdx.x * TILE, head = blockIdx.y, batch = blockIdx.z;
  const band visible = {queries, keys, behind, ahead};
  const int kv = head / (heads / kv_heads);
  const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries;
  k += batch * kv_batch + kv * kv_head;
  v += batch * kv_batch + kv * kv_head;
  load_tile(q_tile, q + batch * q_batch + head * q_head, q_row, first_query, queries, width);
  load_tile(grad_tile, grad + batch * grad_batch + head * grad_head, grad_row, first_query, queries, width);

  float total[ROWS][PARTS] = {};
  const int last_key = visible.last_key(first_query, TILE);
  for (int key = visible.first_key(first_query) / TILE * TILE; key < last_key; key += TILE) {
    __syncthreads();  // the last tiles are read
    load_tile(k_tile, k, kv_row, key, keys, width);
    load_tile(v_tile, v, kv_row, key, keys, width);
    __syncthreads();
    float p[ROWS][COLUMNS], dscores[ROWS][COLUMNS];
    scores_again(p, dscores, q_tile, k_tile, grad_tile, v_tile, lse + row, delta + row, first_query,
                 key, visible, scale);
    store_scores(ds_tile, dscores);
    __syncthreads();
    add_product<false>(total, ds_tile, k_tile);
  }
  store_tile(dq + batch * dq_batch + head * dq_head, dq_row, first_query, queries, width, total, scale);
}

extern "C" __global__ void __launch_bounds__(THREADS)
attention_tiled_dkv(const TYPE* grad, const TYPE* q, const TYPE* k, const TYPE* v, const float* lse,
                    const float* delta, TYPE* dk, TYPE* dv, int heads, int kv_heads, int queries,
                    int keys, int width, int64_t grad_batch, int64_t grad_head, int64_t grad_row,
                    int64_t q_batch, int64_t q_head, int64_t q_row,
                    int64_t kv_batch, int64_t kv_head, int64_t kv_row,
                    int64_t dkv_batch, int64_t dkv_head, int64_t dkv_row,
                    float scale, int behind, int ahead) {
  __shared__ tile_of_rows q_tile, grad_tile, k_tile, v_tile;
  __shared__ tile_of_scores p_tile;
  const int first_key = blockIdx.x * TILE, kv = blockIdx.y, batch = blockIdx.z;
  const band visible = {queries, keys, behind, ahead};
  const int group = heads / kv_heads;
  load_tile(k_tile, k + batch * kv_batch + kv * kv_head, kv_row, first_key, keys, width);
  load_tile(v_tile, v + batch * kv_batch + kv * kv_head, kv_row, first_key, keys, width);

  float dk_total[ROWS][PARTS] = {}, dv_total[ROWS][PARTS] = {};
  const int last_query = visible.last_query(first_key, TILE);
  for (int head = kv * group; head < (kv + 1) * group; head++) {
    const int64_t row = (static_cast<int64_t>(batch) * heads + head) * queries;
    for (int query = visible.first_query(first_key) / TILE * TILE; query < last_query; query += TILE) {
      __syncthreads();  // the last tiles are read
      load_tile(q_tile, q + batch * q_batch + head * q_head, q_row, query, queries, width);
      load_tile(grad_tile, grad + batch * grad_batch + head * grad_head, grad_row, query, queries, width);
      __syncthreads();
      float p[ROWS][COLUMNS], dscores[ROWS][COLUMNS];
      scores_again(p, dscores, q_tile, k_tile, grad_tile, v_tile, lse + row, delta + row, query,
                   first_key, visible, scale);
      store_scores(p_tile, p);
      __syncthreads();
      add_product<true>(dv_total, p_tile, grad_tile);
      __syncthreads();  // the probabilities are read
      store_scores(p_tile, dscores);
      __syncthreads();
      add_product<true>(dk_total, p_tile, q_tile);
    }
  }
  dk += batch * dkv_batch + kv * dkv_head;
  dv += batch * dkv_batch + kv * dkv_head;
  store_tile(dk, dkv_row, first_key, keys, width, dk_total, scale);
  store_tile(dv, dkv_row, first_key, keys, width, dv_total, 1.0f);
}
