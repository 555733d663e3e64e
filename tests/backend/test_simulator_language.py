"""CUDA's functions as the simulator supplies them, against Python's own arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.backend.simulator import Module, empty, require_toolchain
from tinygen.errors import UnavailableError

SOURCE = r"""
extern "C" __global__ void bits(unsigned* out, const unsigned* a, const unsigned* b, int n) {
  const int i = threadIdx.x;
  if (i >= n) return;
  const unsigned x = a[i], y = b[i];
  unsigned* row = out + 12 * i;
  row[0] = __popc(x);
  row[1] = __clz(int(x));
  row[2] = __ffs(int(x));
  row[3] = __brev(x);
  row[4] = __umulhi(x, y);
  row[5] = unsigned(__mulhi(int(x), int(y)));
  row[6] = __funnelshift_l(x, y, 9);
  row[7] = __funnelshift_r(x, y, 9);
  row[8] = __byte_perm(x, y, 0x6240);
  row[9] = max(x, y);
  row[10] = unsigned(min(int(x), int(y)));
  row[11] = __float_as_uint(__uint_as_float(x));
}

extern "C" __global__ void reals(float* out, const float* a, int n) {
  const int i = threadIdx.x;
  if (i >= n) return;
  const float x = a[i];
  float* row = out + 8 * i;
  row[0] = rsqrtf(x);
  row[1] = __expf(-x);
  row[2] = fmaxf(x, nanf(""));
  row[3] = max(x, nanf(""));
  row[4] = __saturatef(x);
  row[5] = __fmaf_rn(x, x, -1.0f);
  row[6] = erff(x);
  row[7] = cospif(x);
}

extern "C" __global__ void shuffles(int* out, const int* in, int operand, int width) {
  const int x = in[threadIdx.x];
  int* row = out + threadIdx.x;
  row[0 * 64] = __shfl_sync(0xFFFFFFFFu, x, operand, width);
  row[1 * 64] = __shfl_up_sync(0xFFFFFFFFu, x, operand, width);
  row[2 * 64] = __shfl_down_sync(0xFFFFFFFFu, x, operand, width);
  row[3 * 64] = __shfl_xor_sync(0xFFFFFFFFu, x, operand, width);
}

extern "C" __global__ void votes(unsigned* out, const int* in) {
  const unsigned all = 0xFFFFFFFFu;
  const int x = in[threadIdx.x];
  unsigned* row = out + threadIdx.x;
  row[0 * 64] = __ballot_sync(all, x > 0);
  row[1 * 64] = __any_sync(all, x == 7);
  row[2 * 64] = __all_sync(all, x >= 0);
  row[3 * 64] = __reduce_add_sync(all, x);
  row[4 * 64] = __reduce_min_sync(all, x);
  row[5 * 64] = __reduce_max_sync(all, x);
  row[6 * 64] = __reduce_xor_sync(all, unsigned(x));
  row[7 * 64] = __syncthreads_count(x > 0);
  row[8 * 64] = __syncthreads_and(x >= 0);
  row[9 * 64] = __syncthreads_or(x == 7);
}

extern "C" __global__ void atomics(unsigned* out, int* old) {
  const unsigned i = threadIdx.x;
  atomicAdd(out + 0, i);
  atomicSub(out + 1, i);
  atomicMin(out + 2, i + 3);
  atomicMax(out + 3, i);
  atomicAnd(out + 4, ~(1u << i % 32));
  atomicOr(out + 5, 1u << i % 16);
  atomicXor(out + 6, i);
  atomicInc(out + 7, 9);
  atomicDec(out + 8, 9);
  atomicCAS(out + 9, 5u, 6u);
  old[i] = int(atomicExch(out + 10, i));
}
"""


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "checked"])
def module(request: pytest.FixtureRequest) -> Module:
    try:
        require_toolchain()
    except UnavailableError as error:
        pytest.skip(str(error))
    return Module(SOURCE, checking=request.param)


def filled(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    values = np.asarray(values, dtype)
    array = empty(values.shape, dtype)
    array[...] = values
    return array


def test_bit_functions(module: Module) -> None:
    a = filled([1, 0xF0F0A5C3, 0x80000000, 12345, 0xFFFFFFFF], np.uint32)
    b = filled([7, 0x0F1E2D3C, 0xDEADBEEF, 0, 0xFFFFFFFE], np.uint32)
    out = empty((5, 12), np.uint32)
    module.launch("bits", (1,), (32,), [out, a, b, np.int32(5)])
    for row, x, y in zip(out.tolist(), a.tolist(), b.tolist(), strict=True):
        signed_x, signed_y = (v - (v >> 31 << 32) for v in (x, y))
        both, pool = y << 32 | x, x.to_bytes(4, "little") + y.to_bytes(4, "little")
        assert row == [
            x.bit_count(),
            32 - x.bit_length(),
            (x & -x).bit_length(),
            int(f"{x:032b}"[::-1], 2),
            x * y >> 32,
            (signed_x * signed_y >> 32) & 0xFFFFFFFF,
            (both << 9 >> 32) & 0xFFFFFFFF,
            (both >> 9) & 0xFFFFFFFF,
            int.from_bytes([pool[i] for i in (0, 4, 2, 6)], "little"),
            max(x, y),
            min(signed_x, signed_y) & 0xFFFFFFFF,
            x,
        ]


def test_real_functions(module: Module) -> None:
    a = filled([0.25, 1.0, 1.5, 3.0], np.float32)
    out = empty((4, 8), np.float32)
    module.launch("reals", (1,), (32,), [out, a, np.int32(4)])
    x = a.astype(np.float64)
    erf = [0.27632639, 0.84270079, 0.96610515, 0.99997791]
    truth = np.stack(
        [x**-0.5, np.exp(-x), x, x, np.clip(x, 0, 1), x * x - 1, erf, np.cos(np.pi * x)], axis=1
    )
    np.testing.assert_allclose(out, truth, rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("width", [32, 16, 4, 1])
@pytest.mark.parametrize("operand", [0, 1, 3, 17])
def test_shuffles(module: Module, operand: int, width: int) -> None:
    """A lane whose source lies outside its group of `width` lanes keeps its own value."""
    x = filled(np.random.default_rng(0).permutation(64), np.int32)
    out = empty((4, 64), np.int32)
    module.launch("shuffles", (1,), (64,), [out, x, np.int32(operand), np.int32(width)])
    lane = np.arange(64)
    group, within = lane // width * width, lane % width
    sources = [
        group + operand % width,
        np.where(within >= operand, lane - operand, lane),
        np.where(within + operand < width, lane + operand, lane),
        np.where((lane ^ operand) < group + width, lane ^ operand, lane),
    ]
    np.testing.assert_array_equal(out, x[np.stack(sources) % 64])


def test_votes_and_reductions(module: Module) -> None:
    x = filled(np.random.default_rng(1).integers(0, 7, 64), np.int32)
    x[40] = 7
    out = empty((10, 64), np.uint32)
    module.launch("votes", (1,), (64,), [out, x])
    for warp in (slice(0, 32), slice(32, 64)):
        values = x[warp].tolist()
        told = [
            sum(1 << lane for lane, v in enumerate(values) if v > 0),
            7 in values,
            min(values) >= 0,
            sum(values),
            min(values),
            max(values),
            np.bitwise_xor.reduce(values),
            np.count_nonzero(x > 0),
            1,
            1,
        ]
        np.testing.assert_array_equal(out[:, warp], np.repeat(np.array([told]).T, 32, axis=1))


def test_atomic_operations(module: Module) -> None:
    """64 threads; the counters of Inc and Dec go round at 9."""
    start = [10, 5000, 50, 5, 2**32 - 1, 0, 0, 0, 0, 5, 99]
    for schedule in ("forward", "random"):
        out, old = filled(start, np.uint32), empty(64, np.int32)
        module.launch("atomics", (1,), (64,), [out, old], schedule=schedule, seed=1)
        total = 64 * 63 // 2
        assert out[:10].tolist() == [10 + total, 5000 - total, 3, 63, 0, 0xFFFF, 0, 4, 6, 6]
        assert sorted([*old.tolist(), int(out[10])]) == [*range(64), 99]
