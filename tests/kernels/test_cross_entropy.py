"""kernels/cross_entropy.cu: loss and gradient of logits, apart and in place."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
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
    updated,
)

IGNORE = -100
FILE = "cross_entropy.cu"


def losses_and_gradient(x: Array, targets: Any, s: Any, z: Any, *, r: Round) -> tuple[Array, Array]:
    """Of each row's loss, by its logits; zero in ignored rows."""
    rows, classes = x.shape
    smooth, pull = s.item(), z.item()
    ignored = targets == IGNORE
    chosen = np.arange(rows), np.where(ignored, 0, targets).astype(int)
    m = x.max(-1)
    e = r(np.exp(r(x - m[:, None])))
    log_sum = r(np.log(r(e.sum(-1))))
    lse = r(m + log_sum)
    nll = r(r(m - x[chosen]) + log_sum)
    mean_nll = r(log_sum - r(r(x - m[:, None]).mean(-1)))
    loss = r(r((1 - smooth) * nll) + r(smooth * mean_nll) + r(pull * lse * lse))
    probs = r(e / r(e.sum(-1, keepdims=True)))
    dx = r(r(1 + 2 * pull * lse)[:, None] * probs - smooth / classes)
    dx[chosen] = r(dx[chosen] - (1 - smooth))
    loss[ignored], dx[ignored] = 0, 0
    return loss, dx


def check(
    seed: int, rows: int, classes: int, format: Format, vector: int, smoothing: float, z: float
) -> None:
    rng = np.random.default_rng(seed)
    x, g = numbers(rng, format, rows, classes, scale=3), numbers(rng, format, rows)
    targets = rng.integers(0, classes, rows)
    targets[rng.random(rows) < 0.2] = IGNORE
    options = [np.float32(smoothing), np.float32(z), np.int64(IGNORE)]
    truth, plain = evaluated(
        losses_and_gradient, format, format.decode(x), targets, *map(np.asarray, options[:2])
    )
    x[targets == IGNORE] = format.encode(np.nan)  # whatever an ignored row holds
    fixed = {"TYPE": format.name, "VECTOR": vector}
    slopes, share = format.decode(g)[:, None], np.float32(1 / rows)
    loss_out, row, matrix = out(rows, format), out(rows), out((rows, classes), format)
    rungs: list[tuple[str, int, int, list[Any]]] = [("", rows, 256, [])]
    if classes <= 600:  # a thread adds a row in turn; NumPy, by which errors are judged, in pairs
        rungs += [("_naive", blocks(rows, 2), 2, [np.int32(rows)])]
    for rung, grid, threads, sizes in rungs:
        launches = partial(run, FILE, grid=grid, block=threads, **fixed)

        def launch(part: str, *args: Any, rung: str = rung, run: Any = launches) -> list[Array]:
            return run(kernel=f"cross_entropy_{part}{rung}", args=args)

        sizes = [*sizes, np.int32(classes)]
        args = [loss_out, row, row, row, x, targets, *sizes, *options]
        losses, *stats = launch("forward", *args)
        assert_accurate(format.decode(losses), truth[0], plain[0], format, f"loss{rung}")
        (dx,) = launch("backward", matrix, g, x, *stats, targets, *sizes, *options)
        found = format.decode(dx)
        assert_accurate(found, slopes * truth[1], slopes * plain[1], format, f"dx{rung}")
        args = [loss_out, updated(x), targets, *sizes, share, *options]
        again, dx = launch("in_place", *args)
        assert again.tobytes() == losses.tobytes()
        found = format.decode(dx)
        assert_accurate(found, share * truth[1], share * plain[1], format, f"dx in place{rung}")


CONFIGS = [(FLOAT, 4), (BF16, 8)]


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 5),
    groups=st.sampled_from([1, 2, 31, 33, 255, 257]),
)
@pytest.mark.parametrize("config", CONFIGS, ids=["float", "bf16"])
@pytest.mark.parametrize(("smoothing", "z"), [(0.0, 0.0), (0.1, 1e-2)])
def test_losses_and_gradients(
    seed: int, rows: int, groups: int, config: Any, smoothing: float, z: float
) -> None:
    format, vector = config
    check(seed, rows, groups * vector, format, vector, smoothing, z)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("classes", [1, 2, 7, 31, 32, 33, 255, 256, 257, 513, 2049])
def test_every_edge(format: Format, classes: int) -> None:
    for smoothing, z in ((0.0, 0.0), (0.1, 1e-2)):
        check(classes, 4, classes, format, 1, smoothing, z)


def in_place(rung: str, x: Array, targets: Array, smoothing: float) -> list[Array]:
    """Losses and gradients of float rows, no z-loss."""
    sizes = [np.int32(n) for n in (x.shape if rung else x.shape[1:])]
    options = [np.float32(1), np.float32(smoothing), np.float32(0), np.int64(IGNORE)]
    args = [out(len(x)), updated(x), targets, *sizes, *options]
    grid = 1 if rung else len(x)
    return run(FILE, f"cross_entropy_in_place{rung}", grid, 256, args, TYPE="float", VECTOR=4)


@pytest.mark.parametrize("rung", ["", "_naive"])
def test_the_largest_logit_stands_anywhere(rung: str) -> None:
    """All others are so far below that their exponentials are 0; every second target is one."""
    i = np.arange(24)
    x = np.where(np.eye(24, dtype=bool), 0, -200).astype(np.float32)
    targets = (i + i % 2) % 24
    losses, dx = in_place(rung, x, targets, 0.0)
    assert (losses == i % 2 * 200).all()
    assert (dx == np.eye(24) - np.eye(24)[targets]).all()


@pytest.mark.parametrize("rung", ["", "_naive"])
def test_infinite_and_large_logits(rung: str) -> None:
    """A target without a chance costs infinity; +inf leaves nothing to smooth with. The mean of a
    smoothed loss keeps its digits at 1e8."""
    x = np.zeros((2, 24), np.float32)
    x[0, 5], x[1, 2] = np.inf, -np.inf
    for smoothing in (0.0, 0.1):
        losses, _ = in_place(rung, x, np.array([2, 2]), smoothing)
        assert np.isnan(losses[0]) if smoothing else np.isposinf(losses[0])
        assert np.isposinf(losses[1])
    x = 1e8 + 8 * np.arange(24, dtype=np.float32)[None]
    smoothed = 0.1 * 8 * 23 / 2
    losses, _ = in_place(rung, x, np.array([23]), 0.1)
    assert abs(losses[0] / (smoothed + np.exp(-8.0)) - 1) < 1e-5


@pytest.mark.parametrize("rung", ["", "_naive"])
def test_a_nearly_certain_target_and_large_logits(rung: str) -> None:
    """Loss and gradient keep their digits where softmax is 1 to rounding, and at 1e8."""
    x = np.full((2, 8), -18, np.float32)
    x[0, 3] = 0
    x[1] = 1e8
    targets = np.array([3, 2])
    sizes = [np.int32(8), np.float32(1), np.float32(0), np.float32(0), np.int64(IGNORE)]
    args = [out(2), updated(x), targets, *([np.int32(2)] if rung else []), *sizes]
    kernel = f"cross_entropy_in_place{rung}"
    losses, dx = run(FILE, kernel, 2, 256, args, TYPE="float", VECTOR=4)
    rest = 7 * np.exp(-18.0)
    assert abs(losses[0] / np.log1p(rest) - 1) < 1e-6
    assert abs(dx[0, 3] / (-rest / (1 + rest)) - 1) < 1e-6
    assert abs(losses[1] / np.log(8) - 1) < 1e-6
