"""Convolution against PyTorch in float64: values, gradients and gradients of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn, ops
from tinygen.backend.geometry import Geometry

torch = pytest.importorskip("torch")


def theirs(a: np.ndarray) -> Any:
    """(N, H, W, C) -> (N, C, H, W), weights alike; vectors as they are."""
    return torch.tensor(np.moveaxis(a, -1, 1) if a.ndim > 1 else a, requires_grad=True)


def ours(t: Any) -> np.ndarray:
    a = t.detach().numpy()
    return np.moveaxis(a, 1, -1) if a.ndim > 1 else a


def close(found: Any, expected: Any) -> None:
    found, wanted = found.numpy(), ours(expected)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= 1e-11 * max(1, np.abs(wanted).max(initial=0))


def compare(op: Any, their_op: Any, arrays: list[np.ndarray], seed: int) -> None:
    """y = op(arrays); the gradients of <g, y>; those of <w, gradients>."""
    rng = np.random.default_rng(seed)
    leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
    their_leaves = [theirs(a) for a in arrays]
    y, their_y = op(*leaves), their_op(*their_leaves)
    close(y, their_y)
    g = rng.standard_normal(y.shape)
    # Cubed, so that the second derivative by every input is not zero.
    total, their_total = ops.sum(y * y * y * g), (their_y**3 * theirs(g).detach()).sum()
    first = tg.grad(total, leaves, create_graph=True)
    their_first = torch.autograd.grad(their_total, their_leaves, create_graph=True)
    ws = [rng.standard_normal(a.shape) for a in arrays]
    along = sum((ops.sum(v * w) for v, w in zip(first, ws, strict=True)), start=0.0)
    pairs = zip(their_first, ws, strict=True)
    their_along = sum((v * theirs(w).detach()).sum() for v, w in pairs)
    second = tg.grad(along, leaves)
    their_second = torch.autograd.grad(their_along, their_leaves)
    for found, wanted in zip((*first, *second), (*their_first, *their_second), strict=True):
        close(found, wanted)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_conv2d_and_its_adjoint(data: Any) -> None:
    groups = data.draw(st.integers(1, 3))
    width, outputs = data.draw(st.integers(1, 3)), groups * data.draw(st.integers(1, 3))
    kernel, sides = data.draw(pairs(1, 4)), data.draw(pairs(1, 9))
    options = {
        "stride": data.draw(pairs(1, 3)),
        "padding": data.draw(pairs(0, 3)),
        "dilation": data.draw(pairs(1, 2)),
        "groups": groups,
    }
    geometry = Geometry(*options.values())
    size = geometry.sides_after(sides, kernel)
    assume(min(size) >= 1)
    seed = data.draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    N = data.draw(st.integers(1, 3))
    x = rng.standard_normal((N, *sides, width * groups))
    weight = rng.standard_normal((outputs, *kernel, width)) / width
    compare(
        lambda x, w, b: ops.conv2d(x, w, b, **options),
        lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **options),
        [x, weight, rng.standard_normal(outputs)],
        seed,
    )
    least = geometry.sides_before(size, kernel)
    options["output_padding"] = tuple(
        data.draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(options["stride"], options["dilation"], strict=True)
    )
    assume(min(n + more for n, more in zip(least, options["output_padding"], strict=True)) >= 1)
    g = rng.standard_normal((N, *size, outputs))
    compare(
        lambda x, w, b: ops.conv_transpose2d(x, w, b, **options),
        lambda x, w, b: torch.nn.functional.conv_transpose2d(x, w, b, **options),
        [g, weight, rng.standard_normal(width * groups)],
        seed,
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_conv1d(data: Any) -> None:
    groups, k, length = (data.draw(st.integers(1, high)) for high in (2, 4, 9))
    options = {
        "stride": data.draw(st.integers(1, 3)),
        "padding": data.draw(st.integers(0, 3)),
        "dilation": data.draw(st.integers(1, 2)),
        "groups": groups,
    }
    assume(length + 2 * options["padding"] >= options["dilation"] * (k - 1) + 1)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    compare(
        lambda x, w, b: ops.conv1d(x, w, b, **options),
        lambda x, w, b: torch.nn.functional.conv1d(x, w, b, **options),
        [
            rng.standard_normal((2, length, 2 * groups)),
            rng.standard_normal((3 * groups, k, 2)),
            rng.standard_normal(3 * groups),
        ],
        0,
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "channels", "sides"),
    [
        (3, 1, (64, 96), (13, 20)),
        (4, 2, (64, 65), (16, 18)),
        (3, 1, (16, 3), (9, 9)),
        (3, 2, (8, 8), (9, 12)),
    ],
)
def test_the_fast_ways_in_single_precision(kernel, stride, channels, sides) -> None:
    """float32 against PyTorch's float64, as large as layers of models are."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, *sides, channels[0]), dtype="float32")
    weight = rng.standard_normal((channels[1], kernel, kernel, channels[0]), dtype="float32")
    leaves = [tg.tensor(a, requires_grad=True) for a in (x, weight)]
    y = ops.conv2d(*leaves, stride=stride, padding=1)
    g = rng.standard_normal(y.shape, dtype="float32")
    y.backward(tg.tensor(g))
    doubles = [theirs(a.astype("float64")) for a in (x, weight)]
    wanted = torch.nn.functional.conv2d(*doubles, stride=stride, padding=1)
    wanted.backward(theirs(g.astype("float64")).detach())
    for found, exact in (
        (y, wanted),
        *((a.grad, b.grad) for a, b in zip(leaves, doubles, strict=True)),
    ):
        exact = ours(exact)
        assert np.abs(found.numpy() - exact).max() <= 2e-5 * np.abs(exact).max()


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("make", "their_make", "shape"),
    [
        (
            lambda r: nn.Conv2d(4, 6, 3, padding="same", groups=2, rng=r),
            lambda: torch.nn.Conv2d(4, 6, 3, padding="same", groups=2),
            (2, 5, 6, 4),
        ),
        (
            lambda r: nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, output_padding=1, rng=r),
            lambda: torch.nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, output_padding=1),
            (2, 3, 3, 4),
        ),
        (
            lambda r: nn.Conv1d(4, 6, 4, padding="same", dilation=3, rng=r),
            lambda: torch.nn.Conv1d(4, 6, 4, padding="same", dilation=3),
            (2, 9, 4),
        ),
    ],
)
def test_layers(make, their_make, shape) -> None:
    layer, reference = make(tg.random.Generator(0)).to(dtype="float64"), their_make().double()
    assert ours(reference.weight).shape == layer.weight.shape
    with torch.no_grad():
        reference.weight.copy_(theirs(layer.weight.data))
        reference.bias.copy_(theirs(layer.bias.data))
    x = np.random.default_rng(0).standard_normal(shape)
    close(layer(tg.tensor(x)), reference(theirs(x)))


def test_spectral_norm_is_theirs_from_the_same_vectors() -> None:
    layer = nn.SpectralNorm(
        nn.Conv2d(3, 5, 3, rng=tg.random.Generator(0)), rng=tg.random.Generator(1)
    )
    layer.to(dtype="float64")
    reference = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(3, 5, 3).double())
    parametrization = reference.parametrizations.weight
    with torch.no_grad():
        parametrization.original.copy_(theirs(layer.module.weight.data))
        reference.bias.copy_(theirs(layer.module.bias.data))
        # Their matrix has its columns in the order (C, kH, kW).
        v = layer.v.data.reshape(3, 3, 3).transpose(2, 0, 1).reshape(-1)
        parametrization[0]._u.copy_(torch.tensor(layer.u.data))
        parametrization[0]._v.copy_(torch.tensor(v))
    layer.eval(), reference.eval()  # in training theirs moves u first, Miyato's algorithm 1 moves v
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 3))
    y, expected = layer(tg.tensor(x)), reference(theirs(x))
    close(y, expected)
    y.sum().backward()
    expected.sum().backward()
    close(layer.module.weight.grad, parametrization.original.grad)
