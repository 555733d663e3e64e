"""SwiGLU on the CPU: blocks, halves of one array and other layouts."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.backend.numpy_backend import swiglu


@pytest.mark.parametrize("block", [1, 7, 40, 10**6])
@pytest.mark.parametrize("layout", ["apart", "halves", "turned", "wide rows"])
def test_blocks_and_layouts_agree(block: int, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swiglu, "BLOCK", block)
    rng = np.random.default_rng(0)
    both, g = rng.standard_normal((3, 5, 8)), rng.standard_normal((3, 5, 4))
    gate, up = both[..., :4], both[..., 4:]
    if layout == "apart":
        gate, up = gate.copy(), up.copy()
    if layout == "turned":
        gate, up, g = (a.swapaxes(0, 1) for a in (gate, up, g))
    if layout == "wide rows":
        gate, up, g = gate[0], up[0], g[0, ::-1]
    s = 1 / (1 + np.exp(-gate))
    np.testing.assert_allclose(swiglu.swiglu_forward(gate, up), gate * s * up, rtol=1e-14)
    dgate, dup = g * up * (s + gate * s * (1 - s)), g * gate * s
    for needs in ((True, True), (True, False), (False, True)):
        found = swiglu.swiglu_backward(g, gate, up, needs)
        for need, got, wanted in zip(needs, found, (dgate, dup), strict=True):
            assert (got is not None) == need
            if need:
                np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-15)
