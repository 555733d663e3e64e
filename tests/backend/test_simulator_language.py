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
