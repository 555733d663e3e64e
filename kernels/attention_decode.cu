// Attention of few queries and many keys, as when a model writes a token: split over the keys (Dao et al.
// 2023, "Flash-Decoding"), for every GPU and every TYPE.
//
// One query of one head is little work: a block a head would leave most of a GPU idle and walk over all
// keys alone. So the keys are cut into splits, and each block has one key/value head, one split, and all
// the queries that look at it, those of the `group` query heads that share the head: keys and values
// are read from memory once for all of them. It leaves the sum of its values, weighted by exp(S - m),
// the sum of the weights, and m, its largest score. A second kernel adds the splits, in order: the same
// bits in every run.
//
//   m = max_s m_s,  w_s = exp(m_s - m),  O = sum_s w_s O_s / sum_s w_s l_s,  lse = m + log sum_s w_s l_s
//
// Bytes: keys and values once, 4 D B H_kv T_k (float16) for 4 B H T_q T_k D operations: as many operations
// for a byte as there are queries that share a head, so memory is the limit up to dozens of them.
#include "attention.cuh"
#include "vector.cuh"

#ifndef ROWS
#define ROWS 1  // the queries of a block, group * queries at most: 1, 2, 4, 8 or 16
#endif
#ifndef VECTOR
#define VECTOR 1  // elements a load: as many as 16 bytes hold if rows lie and end at such places
#endif

constexpr int THREADS = 128;
constexpr int KEYS = HEAD <= 64 ? 64 : 32;  // of a tile
constexpr int LANES = THREADS / KEYS;       // threads that share a key: each has every LANES-th row
constexpr int OWN = (ROWS + LANES - 1) / LANES;
constexpr int COLUMN_THREADS = HEAD <= THREADS ? THREADS / HEAD : 1;  // that share a column of the output
constexpr int WARP_ROWS = (ROWS + THREADS / 32 - 1) / (THREADS / 32);  // whose softmax a warp takes
constexpr int TOTALS = (ROWS + COLUMN_THREADS - 1) / COLUMN_THREADS;

// KEYS rows from `first` on as floats; zeros beyond the last and the width.
DEVICE void load_rows(float (&tile)[KEYS][HEAD + 1], const TYPE* matrix, int64_t stride, int first, int last,
                      int width) {
#pragma unroll 4
  for (int i = threadIdx.x * VECTOR; i < KEYS * HEAD; i += THREADS * VECTOR) {
    const int row = i / HEAD, column = i % HEAD;
    float x[VECTOR] = {};
    if (first + row < last && column < width) load(x, matrix + (first + row) * stride + column);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) tile[row][column + j] = x[j];
  }
}

// Block blockIdx.x = (batch element, key/value head, split), split fastest. `chunk` keys a split, a
// multiple of KEYS. Partial results lie (split, batch, head, query): totals of `width` columns, and
// their m (in base 2) and sum.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
attention_decode(const TYPE* q, const TYPE* k, const TYPE* v, float* totals, float* stats, int heads,
                 int kv_heads, int queries, int keys, int width, int64_t q_batch, int64_t q_head,
                 int64_t q_row, int64_t kv_batch, int64_t kv_head, int64_t kv_row, float scale,
                 int behind, int ahead, int batches, int splits, int chunk) {
  __shared__ float q_rows[ROWS][HEAD], tile[KEYS][HEAD + 1], weights[ROWS][KEYS], shrinks[ROWS];
  const int split = blockIdx.x % splits, kv = blockIdx.x / splits % kv_heads;
  const int batch = blockIdx.x / splits / kv_heads;
  const int group = heads / kv_heads, rows = group * queries;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const band visible = {queries, keys, behind, ahead};
  k += batch * kv_batch + kv * kv_head;
  v += batch * kv_batch + kv * kv_head;

  for (int i = threadIdx.x; i < ROWS * HEAD; i += THREADS) {
    const int row = i / HEAD, column = i % HEAD;
    const int64_t at = batch * q_batch + (kv * group + row / queries) * q_head + row % queries * q_row;
    q_rows[row][column] = row < rows && column < width ? to_float(q[at + column]) : 0.0f;
  }

  float total[TOTALS] = {};
  float sum[WARP_ROWS], largest[WARP_ROWS];  // of the rows warp, warp + 4, ...
#pragma unroll
  for (int i = 0; i < WARP_ROWS; i++) {
    sum[i] = 0.0f;
    largest[i] = -INFINITY;
  }
  const int begin = visible.first_key(0) / KEYS * KEYS + split * chunk;
  const int end = min(begin + chunk, visible.last_key(0, queries));
  for (int first = begin; first < end; first += KEYS) {
    __syncthreads();  // the values before are read; at first, the queries are written
    load_rows(tile, k, kv_row, first, end, width);
    __syncthreads();
    {  // scores: a thread has one key and OWN rows
      const int key = threadIdx.x % KEYS, from = threadIdx.x / KEYS;
      float scores[OWN] = {};
#pragma unroll 8
      for (int d = 0; d < HEAD; d++) {
        const float x = tile[key][d];
#pragma unroll
        for (int r = 0; r < OWN; r++) {
          if (from + r * LANES < ROWS) scores[r] += q_rows[from + r * LANES][d] * x;
        }
      }
#pragma unroll
      for (int r = 0; r < OWN; r++) {
        const int row = from + r * LANES;
        if (row >= ROWS) continue;
        const bool seen = row < rows && first + key < end && visible.sees(row % queries, first + key);
        weights[row][key] = seen ? scores[r] * (scale * LOG2_E) : -INFINITY;
      }
    }
    __syncthreads();  // the scores are written and the keys are read
    load_rows(tile, v, kv_row, first, end, width);
    // softmax: a warp has every fourth row
#pragma unroll
    for (int i = 0; i < WARP_ROWS; i++) {
      const int r = warp + THREADS / 32 * i;
      if (r >= ROWS) continue;
      float top = largest[i];
      for (int key = lane; key < KEYS; key += 32) top = fmaxf(top, weights[r][key]);
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, offset));
      const float shift = top == -INFINITY ? 0.0f : top;  // nothing seen yet
      float added = 0.0f;
      for (int key = lane; key < KEYS; key += 32) {
        const float weight = exp2f(weights[r][key] - shift);
        weights[r][key] = weight;
        added += weight;
      }
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2) added += __shfl_xor_sync(0xffffffffu, added, offset);
      const float shrink = exp2f(largest[i] - shift);
      sum[i] = sum[i] * shrink + added;
      largest[i] = top;
      if (lane == 0) shrinks[r] = shrink;
    }
    __syncthreads();  // weights and values are written
    const int column = threadIdx.x % HEAD, from = threadIdx.x / HEAD;
#pragma unroll
    for (int r = 0; r < TOTALS; r++) {
      const int row = from + r * COLUMN_THREADS;
      if (row >= ROWS || from >= COLUMN_THREADS) continue;
      float more = 0.0f;
#pragma unroll 8
      for (int key = 0; key < KEYS; key++) more += weights[row][key] * tile[key][column];
      total[r] = total[r] * shrinks[row] + more;
    }
  }

  const int64_t part = static_cast<int64_t>(split) * batches + batch;
  const int column = threadIdx.x % HEAD, from = threadIdx.x / HEAD;
#pragma unroll
  for (int r = 0; r < TOTALS; r++) {
    const int row = from + r * COLUMN_THREADS;
    if (row >= rows || row >= ROWS || from >= COLUMN_THREADS || column >= width) continue;
    const int64_t place = (part * heads + kv * group + row / queries) * queries + row % queries;
    totals[place * width + column] = total[r];
  }
#pragma unroll
  for (int i = 0; i < WARP_ROWS; i++) {
    const int r = warp + THREADS / 32 * i;
    if (r >= rows || r >= ROWS || lane != 0) continue;
    const int64_t place = (part * heads + kv * group + r / queries) * queries + r % queries;
    stats[2 * place] = largest[i];
    stats[2 * place + 1] = sum[i];
  }
}

// A warp a query: rows (batch, head, query) of them. A split that saw no key has weight 0.
extern "C" __global__ void __launch_bounds__(THREADS)
attention_combine(const float* totals, const float* stats, TYPE* out, float* lse, int heads, int queries,
                  int width, int64_t rows, int splits, int64_t out_batch, int64_t out_head,
                  int64_t out_row) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int64_t query = row % queries, head = row / queries % heads, batch = row / queries / heads;
  float largest = -INFINITY;
  for (int s = 0; s < splits; s++) largest = fmaxf(largest, stats[2 * (s * rows + row)]);
  const float shift = largest == -INFINITY ? 0.0f : largest;
  float sum = 0.0f;
  for (int s = 0; s < splits; s++) {
    sum += exp2f(stats[2 * (s * rows + row)] - shift) * stats[2 * (s * rows + row) + 1];
  }
  const float inverse = sum > 0.0f ? 1.0f / sum : 0.0f;
  out += batch * out_batch + head * out_head + query * out_row;
  for (int column = threadIdx.x % 32; column < width; column += 32) {
    float total = 0.0f;
    for (int s = 0; s < splits; s++) {
      total += exp2f(stats[2 * (s * rows + row)] - shift) * totals[(s * rows + row) * width + column];
    }
    out[column] = from_float<TYPE>(total * inverse);
  }
  if (threadIdx.x % 32 == 0) lse[row] = sum > 0.0f ? (shift + log2f(sum)) * LN_2 : INFINITY;
}
