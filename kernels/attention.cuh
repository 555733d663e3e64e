// What every attention kernel shares: which keys a query sees, and the arithmetic of the softmax.
//
//   S = scale Q K^T,  P = softmax(S),  O = P V                  (Vaswani et al. 2017, equation 1)
//
// Softmax is computed in base 2, with scale log2(e) folded into one multiplication: exp2 is one
// instruction of the GPU, exp is two. Backward makes P again from S and one number a query, the
// logarithm of its sum, lse = log sum exp S (Dao et al. 2022, arXiv:2205.14135, algorithm 4).
//
// Arrays are (B, H, T, D) with the elements of a row side by side; `x_batch`, `x_head` and `x_row` are
// the elements from one batch element, head or position to the next. So q, k and v may be views of one
// array (B, T, 3, H, D), and k and v lie alike.
#pragma once
#include "common.cuh"

#ifndef TYPE
#define TYPE float  // of q, k, v, out and their gradients: float, bf16 or f16
#endif
#ifndef HEAD
#define HEAD 64  // columns of a head in a tile, a multiple of 16: the head's own width or more
#endif

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

// Query i stands at position i + keys - queries among the keys, so that the last query sees the last
// key of a causal model. It sees the keys from `behind` before its position to `ahead` after it.
struct band {
  int queries, keys, behind, ahead;

  DEVICE int position(int query) const { return query + keys - queries; }
  DEVICE bool sees(int query, int key) const {
    const int distance = key - position(query);
    return key < keys && distance <= ahead && distance >= -behind;
  }
  // Whether all queries from `query` to `query + n - 1` see all keys from `key` to `key + m - 1`: so in
  // most tiles, and then nobody asks for each pair.
  DEVICE bool all_seen(int query, int n, int key, int m) const {
    return key + m <= keys && key + m - 1 <= position(query) + ahead &&
           key >= position(query + n - 1) - behind;
  }
  // [first_key, last_key): what any of the queries from `query` to `query + n - 1` may see.
  DEVICE int first_key(int query) const { return max(0, position(query) - behind); }
  DEVICE int last_key(int query, int n) const {
    return min(keys, position(min(query + n, queries) - 1) + ahead + 1);
  }
  // [first_query, last_query): who may see any of the keys from `key` to `key + n - 1`.
  DEVICE int first_query(int key) const { return max(0, key - ahead - keys + queries); }
  DEVICE int last_query(int key, int n) const {
    return min(queries, min(key + n, keys) - 1 + behind - keys + queries + 1);
  }
};
