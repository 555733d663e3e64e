"""Attention on NumPy arrays, however it is cut into tiles, against a naive float64 reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.backend.numpy_backend import attention
from tinygen.backend.numpy_backend.attention import attention_backward, attention_forward

Case = dict[str, Any]

EDGES = (1, 2, 3, 5, 7, 8, 9, 17)


def naive_visible(Tq: int, Tk: int, causal: bool, window: int | None) -> np.ndarray:
    seen = np.zeros((Tq, Tk), bool)
    for i in range(Tq):
        p = i + Tk - Tq
        for j in range(Tk):
            in_window = window is None or abs(p - j) < window
            seen[i, j] = in_window and (j <= p or not causal)
    return seen


def naive(q, k, v, g, *, causal, mask, scale, window):
    """out, dq, dk, dv in float64, one row at a time."""
    q, k, v, g = (np.asarray(a, np.float64) for a in (q, k, v, g))
    B, H, Tq, D = q.shape
    Hkv, Tk = k.shape[1:3]
    scale = 1 / math.sqrt(D) if scale is None else scale
    seen = np.broadcast_to(naive_visible(Tq, Tk, causal, window), (B, H, Tq, Tk)).copy()
    added = np.zeros((B, H, Tq, Tk))
    if mask is not None and mask.dtype == bool:
        seen &= mask
    elif mask is not None:
        seen &= mask > -np.inf
        added += np.where(mask > -np.inf, mask, 0)
    out = np.zeros((B, H, Tq, v.shape[3]))
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for b, h, i in np.ndindex(B, H, Tq):
        own = h // (H // Hkv)
        keys = np.flatnonzero(seen[b, h, i])
        if not keys.size:
            continue
        s = scale * (k[b, own, keys] @ q[b, h, i]) + added[b, h, i, keys]
        p = np.exp(s - s.max())
        p /= p.sum()
        out[b, h, i] = p @ v[b, own, keys]
        dp = v[b, own, keys] @ g[b, h, i]
        ds = p * (dp - dp @ p)
        dq[b, h, i] = scale * (ds @ k[b, own, keys])
        np.add.at(dk[b, own], keys, scale * np.outer(ds, q[b, h, i]))
        np.add.at(dv[b, own], keys, np.outer(p, g[b, h, i]))
    return out, dq, dk, dv


TILINGS = [(1, 1), (4, 1), (4, 200), (128, 1 << 16)]
"""(queries of a tile, elements of a tile): from one query of one head to everything at once."""


@contextmanager
def tiling(queries: int, elements: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "TILE_QUERIES", queries)
        patch.setattr(attention, "TILE", elements)
        yield


def run(case: Case, tiles: tuple[int, int]) -> tuple[np.ndarray, ...]:
    q, k, v, g, options = (case[name] for name in ("q", "k", "v", "g", "options"))
    with tiling(*tiles):
        out, residual = attention_forward(q, k, v, **options)
        return out, *attention_backward(g, q, k, v, out, residual, **options)


def assert_close(got: tuple[np.ndarray, ...], truth: tuple[np.ndarray, ...], size: float) -> None:
    for name, a, b in zip(("out", "dq", "dk", "dv"), got, truth, strict=True):
        unit = np.finfo(a.dtype).eps
        error = np.abs(a - b).max(initial=0.0)
        bound = 200 * size * unit * (1 + np.abs(b).max(initial=0.0))
        assert error <= bound, f"{name}: {error} > {bound}"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    B, Hkv = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    H = Hkv * draw(st.integers(1, 3))
    Tq, Tk = draw(st.sampled_from(EDGES)), draw(st.sampled_from(EDGES))
    D, Dv = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()) and Tq == Tk and Dv == D:  # views of one packed buffer
        packed = rng.standard_normal((B, Tq, H + 2 * Hkv, D)).astype(dtype).transpose(0, 2, 1, 3)
        q, k, v = packed[:, :H], packed[:, H : H + Hkv], packed[:, H + Hkv :]
    else:
        q = rng.standard_normal((B, H, Tq, D)).astype(dtype)
        k = rng.standard_normal((B, Hkv, Tk, D)).astype(dtype)
        v = rng.standard_normal((B, Hkv, Tk, Dv)).astype(dtype)
    g = rng.standard_normal((B, H, Tq, v.shape[3])).astype(dtype)
    if draw(st.booleans()):
        g = np.broadcast_to(g[:1, :, :, :1], g.shape)
    for a in (q, k, v, g):
        a.flags.writeable = False
    mask = None
    kind = draw(st.sampled_from(["none", "none", "bool", "float", "keys"]))
    if kind != "none":
        shape = {"keys": (B, 1, 1, Tk)}.get(kind, (draw(st.sampled_from([1, H])), Tq, Tk))
        mask = rng.random(shape) < 0.6
        if kind == "float":
            mask = np.where(mask, rng.standard_normal(shape), -np.inf).astype(dtype)
    options = {
        "causal": draw(st.booleans()),
        "mask": mask,
        "scale": draw(st.sampled_from([None, 0.3])),
        "window": draw(st.sampled_from([None, None, 1, 2, 5])),
    }
    return {"q": q, "k": k, "v": v, "g": g, "options": options}


@given(cases())
def test_every_tiling_is_the_naive_sum(case: Case) -> None:
    truth = naive(*(case[n] for n in ("q", "k", "v", "g")), **case["options"])
    for tiles in TILINGS:
        got = run(case, tiles)
        assert all(a.dtype == case["q"].dtype for a in got)
        assert_close(got, truth, size=1.0)


@given(cases(), st.sampled_from(TILINGS), st.sampled_from([1e-3, 30.0, 300.0]))
def test_large_scores_fall_back_to_the_maximum(
    case: Case, tiles: tuple[int, int], scale: float
) -> None:
    """Scores beyond the range of exp, positive and negative: same result, no warning."""
    case = {**case, "options": {**case["options"], "scale": scale * 10}}
    q, k, v, g = (case[n].astype(np.float64) for n in ("q", "k", "v", "g"))
    case.update(q=q, k=k, v=v, g=g)
    if case["options"]["mask"] is not None and case["options"]["mask"].dtype != bool:
        case["options"]["mask"] = case["options"]["mask"].astype(np.float64)
    assert_close(run(case, tiles), naive(q, k, v, g, **case["options"]), size=1e3 * scale)


@pytest.mark.parametrize("tiles", [TILINGS[0], TILINGS[-1]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [-200.0, 200.0])
def test_one_row_far_below_the_others_stays_accurate(
    tiles: tuple[int, int], dtype: type, offset: float
) -> None:
    rng = np.random.default_rng(0)
    q, k, v, g = (rng.standard_normal((1, 2, 9, 4)).astype(dtype) for _ in range(4))
    mask = np.zeros((9, 9), dtype)
    mask[3] = offset  # shifts every score of query 3: its probabilities do not change
    case = {"q": q, "k": k, "v": v, "g": g}
    options = {"causal": False, "scale": None, "window": None}
    shifted = run({**case, "options": {**options, "mask": mask}}, tiles)
    truth = naive(q, k, v, g, **options, mask=None)
    assert_close(shifted, truth, size=30.0)  # an offset of 200 costs its digits in the scores


@pytest.mark.parametrize("tiles", TILINGS)
def test_rows_that_see_nothing_are_exactly_zero(tiles: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    q, k, v, g = (rng.standard_normal((2, 2, 5, 3)) for _ in range(4))
    mask = np.ones((5, 5), bool)
    mask[2] = False
    mask[:, 4] = False
    options = {"causal": False, "mask": mask, "scale": None, "window": None}
    case = {"q": q, "k": k, "v": v, "g": g, "options": options}
    out, dq, dk, dv = run(case, tiles)
    assert (out[:, :, 2] == 0).all()
    assert (dq[:, :, 2] == 0).all()
    assert (dk[:, :, 4] == 0).all()
    assert (dv[:, :, 4] == 0).all()
    assert all(np.isfinite(a).all() for a in (out, dq, dk, dv))


@pytest.mark.parametrize("tiles", TILINGS)
@pytest.mark.parametrize(
    "shape", [(0, 2, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)], ids=["batch", "length", "width"]
)
def test_empty_arrays(tiles: tuple[int, int], shape: tuple[int, ...]) -> None:
    q = np.zeros(shape, np.float32)
    options = {"causal": True, "mask": None, "scale": 1.0, "window": None}
    case = {"q": q, "k": q, "v": q, "g": q, "options": options}
    assert all(a.shape == shape for a in run(case, tiles))


@pytest.mark.parametrize("tiles", TILINGS)
def test_without_keys_every_output_is_zero(tiles: tuple[int, int]) -> None:
    q, k = np.ones((1, 2, 3, 4)), np.ones((1, 1, 0, 4))
    options = {"causal": False, "mask": None, "scale": None, "window": None}
    out, dq, dk, _ = run({"q": q, "k": k, "v": k, "g": q, "options": options}, tiles)
    assert (out == 0).all()
    assert (dq == 0).all()
    assert dk.shape == k.shape


@pytest.mark.parametrize("tiles", TILINGS)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_gradients_are_written_into_the_views_given(tiles: tuple[int, int], kv_heads: int) -> None:
    rng = np.random.default_rng(2)
    B, T, H, D = 3, 6, 4, 2

    def heads(a: np.ndarray) -> list[np.ndarray]:
        a = a.reshape(B, T, H + 2 * kv_heads, D).transpose(0, 2, 1, 3)
        return [a[:, :H], a[:, H : H + kv_heads], a[:, H + kv_heads :]]

    packed = rng.standard_normal((B, T, (H + 2 * kv_heads) * D))
    dpacked, merged = np.full_like(packed, np.nan), np.full((B, T, H, D), np.nan)
    q, k, v = heads(packed)
    dq, dk, dv = heads(dpacked)
    out = merged.transpose(0, 2, 1, 3)
    g = rng.standard_normal(out.shape)
    with tiling(*tiles):
        same, residual = attention_forward(q, k, v, causal=True, out=out)
        got = attention_backward(g, q, k, v, out, residual, causal=True, dq=dq, dk=dk, dv=dv)
    assert same is out
    assert all(a is b for a, b in zip(got, (dq, dk, dv), strict=True))
    truth = naive(q, k, v, g, causal=True, mask=None, scale=None, window=None)
    assert_close((merged.transpose(0, 2, 1, 3), *heads(dpacked)), truth, size=1.0)


@pytest.mark.parametrize("tiles", TILINGS)
def test_a_later_key_never_reaches_an_earlier_output(tiles: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((1, 1, 12, 4)) for _ in range(3))
    changed = k.copy()
    changed[:, :, 8:] *= 3
    with tiling(*tiles):
        before, _ = attention_forward(q, k, v, causal=True)
        after, _ = attention_forward(q, changed, v, causal=True)
    assert (before[:, :, :8] == after[:, :, :8]).all()
    assert (before[:, :, 8:] != after[:, :, 8:]).any()


@pytest.mark.parametrize("tiles", TILINGS)
def test_uniform_attention_is_the_exact_mean_of_integers(tiles: tuple[int, int]) -> None:
    v = np.arange(32.0, dtype=np.float32).reshape(1, 1, 8, 4) * 8
    zero = np.zeros_like(v)
    with tiling(*tiles):
        out, (shift, inverse) = attention_forward(zero, zero, v)
    assert (out == v.mean(axis=2, keepdims=True)).all()
    assert (shift == 0).all()
    assert (inverse == 1 / 8).all()


@pytest.mark.parametrize("tiles", TILINGS)
@pytest.mark.parametrize("level", [-1e9, -1e4, 1e8, float(np.finfo(np.float32).min) / 2])
def test_a_row_at_any_level_has_the_gradients_of_level_zero(
    tiles: tuple[int, int], level: float
) -> None:
    """A mask that adds one number to all scores of a row changes nothing, however large it is."""
    rng = np.random.default_rng(4)
    q, k, v, g = (rng.integers(-2, 3, (1, 2, 3, 4)).astype(np.float32) for _ in range(4))
    q[...] = 0  # the level rounds other scores away
    plain = {"q": q, "k": k, "v": v, "g": g, "options": {}}
    mask = np.full((1, 1, 3, 3), level, np.float32)
    for a, b in zip(
        run({**plain, "options": {"mask": mask}}, tiles), run(plain, tiles), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
