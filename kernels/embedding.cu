// Rows of a table by index, y = weight[ids], and the gradient of the table: row r sums g over the
// places where r stands in ids.
//
// Compile-time: TYPE, VECTOR, elements an access, which divides the width. ids are int64 in
// [0, rows).
#include "vector.cuh"

#ifndef TYPE
#define TYPE float
#endif
#ifndef VECTOR
#define VECTOR 4
#endif

using T = TYPE;
constexpr int CHUNK = 32;  // positions that one block of backward adds up

// Naive: a thread an element.
extern "C" __global__ void embedding_naive(T* __restrict__ y, const T* __restrict__ weight,
                                           const int64_t* __restrict__ ids, int64_t n,
                                           int width) {
  const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n * width) y[i] = weight[ids[i / width] * width + i % width];
}

// Blocks of (32, 8) threads: a warp copies a row, 16 bytes a lane and access. Bytes: a read and a
// write of y.
extern "C" __global__ void __launch_bounds__(256)
    embedding_forward(T* __restrict__ y, const T* __restrict__ weight,
                      const int64_t* __restrict__ ids, int64_t n, int width) {
  for (int64_t i = (int64_t)blockIdx.x * 8 + threadIdx.y; i < n; i += (int64_t)gridDim.x * 8) {
    const T* row = weight + ids[i] * width;
    for (int c = threadIdx.x * VECTOR; c < width; c += 32 * VECTOR) {
      store_packed(y + i * width + c, load_packed<VECTOR>(row + c));
    }
  }
}

// Naive: a thread an element of the table, which looks through all ids: no two threads write one
// element, at rows x n comparisons.
extern "C" __global__ void embedding_backward_naive(T* __restrict__ dweight,
                                                    const T* __restrict__ g,
                                                    const int64_t* __restrict__ ids, int64_t n,
                                                    int rows, int width) {
  const int64_t place = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= (int64_t)rows * width) return;
  float sum = 0.0f;
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] == place / width) sum += to_float(g[i * width + place % width]);
  }
  dweight[place] = from_float<T>(sum);
}

// The ids sorted: `order` (n,) lists the positions by id, equal ids in the order of the batch.
// Block (k, i) of 32 threads adds up CHUNK positions of that list from CHUNK k on, in 32 VECTOR
// columns, whatever the ids are: a token that fills a tenth of the batch is no bottleneck. A run of
// one id that lies within the chunk is written to the table, which is zero before. What continues a
// run of an earlier chunk goes to head (chunks, width), what goes on in a later one to tail; then
// `embedding_backward_join` adds them up. Bytes: one read of g.
extern "C" __global__ void __launch_bounds__(32)
    embedding_backward(T* __restrict__ dweight, float* __restrict__ head,
                       float* __restrict__ tail, const T* __restrict__ g,
                       const int64_t* __restrict__ ids, const int64_t* __restrict__ order,
                       int64_t n, int width) {
  const int column = (blockIdx.y * 32 + threadIdx.x) * VECTOR;
  if (column >= width) return;
  const int64_t start = (int64_t)blockIdx.x * CHUNK;
  const int64_t stop = start + CHUNK < n ? start + CHUNK : n;
  const size_t place = (size_t)blockIdx.x * width + column;
  int64_t next = order[start], next_id = ids[next];
  bool continues = start > 0 && ids[order[start - 1]] == next_id;
  float sum[VECTOR] = {};
  for (int64_t i = start; i < stop; i++) {
    const int64_t id = next_id;
    float row[VECTOR];
    load(row, g + next * width + column);
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sum[j] += row[j];
    if (i + 1 < n) {
      next = order[i + 1];
      next_id = ids[next];
    }
    const bool goes_on = i + 1 < n && next_id == id;
    if (goes_on && i + 1 < stop) continue;
    if (continues) {
      store_floats(head + place, sum);
    } else if (goes_on) {
      store_floats(tail + place, sum);
    } else {
      store(dweight + id * width + column, sum);
    }
    continues = false;
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sum[j] = 0.0f;
  }
}

// Block (k, i) as above: if a run begins in chunk k and goes on beyond it, its tail and the heads
// of the chunks that it reaches, from the first to the last, are the row of the table.
extern "C" __global__ void __launch_bounds__(32)
    embedding_backward_join(T* __restrict__ dweight, const float* __restrict__ head,
                            const float* __restrict__ tail, const int64_t* __restrict__ ids,
                            const int64_t* __restrict__ order, int64_t n, int width) {
  const int column = (blockIdx.y * 32 + threadIdx.x) * VECTOR;
  if (column >= width) return;
  const int64_t start = (int64_t)blockIdx.x * CHUNK;
  int64_t next = start + CHUNK;
  if (next >= n) return;
  const int64_t id = ids[order[next - 1]];
  if (ids[order[next]] != id) return;  // ends with its chunk
  if (start > 0 && ids[order[start - 1]] == id) return;  // began before: an earlier block's
  float sum[VECTOR];
#pragma unroll
  for (int j = 0; j < VECTOR; j++) sum[j] = tail[(size_t)blockIdx.x * width + column + j];
  for (; next < n && ids[order[next]] == id; next += CHUNK) {
#pragma unroll
    for (int j = 0; j < VECTOR; j++) sum[j] += head[(size_t)(next / CHUNK) * width + column + j];
  }
  store(dweight + id * width + column, sum);
}
