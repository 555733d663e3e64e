// Tensor cores as every GPU since Ampere (sm_80) has them: fragments are loaded from shared memory by a
// warp (ldmatrix), multiplied by a warp (mma.sync), and shared memory is filled behind their backs
// (cp.async). One function is one instruction; sections are those of NVIDIA's PTX ISA.
//
// A fragment is a small matrix spread over the registers of a warp. With g = lane / 4 and t = lane % 4,
// of a 16 x 16 matrix A (row-major), a 16 x 8 matrix B (column-major) and a 16 x 8 matrix D a lane holds
//
//   a[0] = A[g][2t, 2t+1]    a[1] = A[g+8][2t, 2t+1]    a[2] = A[g][2t+8, 2t+9]  a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g]    b[1] = B[2t+8, 2t+9][g]
//   d[0], d[1] = D[g][2t, 2t+1]                         d[2], d[3] = D[g+8][2t, 2t+1]
#pragma once
#include "common.cuh"

// ---- ldmatrix (9.7.15.5.15) ------------------------------------------------------------------------
//
// 8 x 8 matrices of 16-bit numbers. Lane l gives the address of row l % 8 of matrix l / 8, 16 bytes that
// begin at a multiple of 16; r[m] is then the lane's part of matrix m, [g][2t, 2t+1]; transposed,
// [2t, 2t+1][g].

DEVICE void load_matrix_x4(uint32_t (&r)[4], const void* row) {
#ifdef TINYGEN_SIM
  sim::load_matrix<4, false>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}

DEVICE void load_matrix_x4_transposed(uint32_t (&r)[4], const void* row) {
#ifdef TINYGEN_SIM
  sim::load_matrix<4, true>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
#endif
}

// Only the addresses of lanes 0 to 15 count.
DEVICE void load_matrix_x2(uint32_t (&r)[2], const void* row) {
#ifdef TINYGEN_SIM
  sim::load_matrix<2, false>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
#endif
}

DEVICE void load_matrix_x2_transposed(uint32_t (&r)[2], const void* row) {
#ifdef TINYGEN_SIM
  sim::load_matrix<2, true>(r, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
#endif
}

// ---- mma.sync (9.7.15.5.14) --------------------------------------------------------------------------

// d += a b, with the products' sum kept in float32.
template <typename T>
DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

#ifdef TINYGEN_SIM
template <typename T>
DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  sim::mma_m16n8k16<T>(d, a, b);
}
#else
#define MMA_M16N8K16(TYPE)                                                                            \
  template <>                                                                                         \
  DEVICE void mma_m16n8k16<TYPE>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {     \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." #TYPE "." #TYPE ".f32 "                     \
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                              \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                 \
  }
MMA_M16N8K16(bf16)
MMA_M16N8K16(f16)
#undef MMA_M16N8K16
#endif

// ---- cp.async (9.7.9.25.3) ---------------------------------------------------------------------------

// 16 bytes from global to shared memory, past the registers and the first-level cache; zeros where
// `valid` is false (`global` is not read then, but must be an address). Both begin at a multiple of 16.
DEVICE void copy_async_16(void* shared, const void* global, bool valid) {
#ifdef TINYGEN_SIM
  sim::copy_async(shared, global, 16, valid ? 16 : 0);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
#endif
}

// Closes a group of this thread's copies.
DEVICE void copy_async_commit() {
#ifdef TINYGEN_SIM
  sim::copy_async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most N of this thread's groups are under way. Other threads see the copies only after
// a barrier.
template <int N> DEVICE void copy_async_wait() {
#ifdef TINYGEN_SIM
  sim::copy_async_wait(N);
#else
  delay();
  asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
#endif
}
