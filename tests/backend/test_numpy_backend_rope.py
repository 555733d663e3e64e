"""Rotary position embedding on the CPU: tokens that lie in one piece are turned whole."""

from __future__ import annotations

import numpy as np
import pytest

from tinygen.backend.numpy_backend import rope


@pytest.mark.parametrize("block", [1, 100, 10**6])
@pytest.mark.parametrize("heads", [slice(0, 3), slice(3, 5), slice(1, 2), slice(0, 5)])
@pytest.mark.parametrize("tables", [7, 1])
def test_both_ways_give_the_same_bits(
    block: int, heads: slice, tables: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    packed = rng.standard_normal((4, 7, 5, 6), np.float32)  # (B, T, H + 2 H_kv, D)
    x = packed.transpose(0, 2, 1, 3)[:, heads]  # (B, H, T, D)
    cos, sin = rng.standard_normal((2, tables, 3), np.float32)
    monkeypatch.setattr(rope, "BLOCK", block)
    for back in (False, True):
        expected = rope.rotate_pairs(x.copy(), cos, sin, False, back=back)
        with monkeypatch.context() as patch:
            patch.setattr(rope, "FEW", 0)
            patch.setattr(rope, "_by_tokens", spy := Spy(rope._by_tokens))
            found = rope.rotate_pairs(x, cos, sin, False, back=back)
        assert spy.calls == 1
        assert np.array_equal(found, expected)
        sign = -1 if back else 1
        first = x[..., :3] * cos - x[..., 3:] * (sign * sin)
        assert np.array_equal(found[..., :3], first)
    for interleaved, turned in ((True, x), (False, x[..., ::-1]), (False, x.swapaxes(0, 1))):
        with monkeypatch.context() as patch:
            patch.setattr(rope, "FEW", 0)
            found = rope.rotate_pairs(turned, cos, sin, interleaved)
        assert np.array_equal(found, rope.rotate_pairs(turned.copy(), cos, sin, interleaved))


class Spy:
    def __init__(self, wrapped) -> None:  # type: ignore[no-untyped-def]
        self.wrapped, self.calls = wrapped, 0

    def __call__(self, *arguments):  # type: ignore[no-untyped-def]
        self.calls += 1
        return self.wrapped(*arguments)
