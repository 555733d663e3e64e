"""kernels/rope.cu: pairs of features turned by their angle, both orders of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from on_simulator import (
    BF16,
    F16,
    FLOAT,
    Array,
    Format,
    Round,
    assert_accurate,
    blocks,
    evaluated,
    numbers,
    out,
    run,
)

from tinygen import ops
from tinygen.backend import backend_named
from tinygen.backend.launch import observed


def turned(x: Array, cos: Array, sin: Array, *, interleaved: bool, r: Round) -> tuple[Array]:
    half = x.shape[-1] // 2
    repeats = len(x) // len(cos)
    cos, sin = np.tile(cos, (repeats, 1)), np.tile(sin, (repeats, 1))
    a, b = (x[:, ::2], x[:, 1::2]) if interleaved else (x[:, :half], x[:, half:])
    pair = r(r(a * cos) - r(b * sin)), r(r(a * sin) + r(b * cos))
    return (np.stack(pair, -1).reshape(x.shape) if interleaved else np.concatenate(pair, -1),)


def check(
    seed: int, repeats: int, tokens: int, vectors: int, format: Format, vector: int, *, mode: int
) -> None:
    rng = np.random.default_rng(seed)
    half, rows = vectors * vector, repeats * tokens
    x, angles = numbers(rng, format, rows, 2 * half), rng.uniform(0, 9, (tokens, half))
    cos, sin = format.encode(np.cos(angles)), format.encode(np.sin(angles))
    fixed = {"TYPE": format.name, "VECTOR": vector, "INTERLEAVED": mode}
    decoded = [format.decode(a) for a in (x, cos, sin)]
    for sign in (1, -1):
        args = [out(x.shape, format), x, cos, sin, np.int64(rows), np.int32(tokens)]
        args += [np.int32(half), np.float32(sign)]
        decoded[2] = sign * format.decode(sin)
        truth, plain = evaluated(turned, format, *decoded, interleaved=bool(mode))
        for kernel, grid in (("rope_rotate", 2), ("rope_naive", blocks(rows * half, 256))):
            (y,) = run("rope.cu", kernel, grid, 256, args, **fixed)
            assert_accurate(format.decode(y), truth[0], plain[0], format, kernel)


@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32), repeats=st.integers(1, 4), tokens=st.integers(1, 9),
    vectors=st.integers(1, 9), config=st.sampled_from([(FLOAT, 4, 0), (BF16, 8, 1)]),
)  # fmt: skip
@example(seed=0, repeats=3, tokens=19, vectors=9, config=(FLOAT, 1, 1))  # 513 for 512 threads
def test_rope(
    seed: int, repeats: int, tokens: int, vectors: int, config: tuple[Format, int, int]
) -> None:
    format, vector, mode = config
    check(seed, repeats, tokens, vectors, format, vector, mode=mode)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("vector", [1, 2, 4])
@pytest.mark.parametrize("mode", [0, 1])
def test_every_edge(format: Format, vector: int, mode: int) -> None:
    for repeats, tokens, vectors in ((1, 1, 1), (2, 255, 1), (1, 256, 1), (3, 19, 9), (1, 513, 1)):
        check(tokens, repeats, tokens, vectors, format, vector, mode=mode)


@pytest.mark.parametrize("shape", [(5, 4), (2, 1, 5, 4), (1, 4), (1, 1, 5, 4)])
def test_tables_with_more_axes_are_left_to_plain_ops(shape: tuple[int, ...]) -> None:
    backend: Any = backend_named("sim")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 5, 8), np.float32)
    cos, sin = rng.standard_normal((2, *shape), np.float32)
    expected = ops.rotate_pairs(x, cos, sin)
    kernels: list[str] = []
    with observed(lambda _, kernel: kernels.append(kernel.name)):
        found = ops.rotate_pairs(*(backend.asarray(a) for a in (x, cos, sin)))
    assert kernels == (["rope_rotate"] if shape == (5, 4) else [])
    np.testing.assert_allclose(backend.to_numpy(found), expected, rtol=1e-6, atol=1e-6)
