"""Ops on images: exact values on small integers, the paths that only large images take, ties."""

import math
from fractions import Fraction

import numpy as np
import pytest
from exact_laws import assert_linear, integers
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.backend.numpy_backend import batch_norm, channels, group_norm, pooling
from tinygen.ops.batch_norm import BatchNorm
from tinygen.ops.group_norm import GroupNorm
from tinygen.testing import check_grad


def normal(*shape, seed=0):
    return tg.random.Generator(seed).normal(shape, "float64")


# ---- pooling -------------------------------------------------------------------------------------


def test_max_pooling_by_hand():
    x = np.array([[1.0, 5, 2, 0], [3, 4, 8, 7], [0, -1, -2, -3], [-4, -5, -6, -7]])
    y = ops.max_pool2d(x[None, :, :, None], 2)
    assert np.array_equal(y[0, :, :, 0], [[5, 8], [0, -2]])
    padded = ops.max_pool2d(-np.ones((1, 3, 3, 1)), 3, stride=2, padding=1)
    assert np.array_equal(padded, -np.ones((1, 2, 2, 1)))  # padding is no zero


def test_the_gradient_of_a_tie_goes_to_the_first():
    x = tg.tensor(np.ones((1, 4, 4, 1)), requires_grad=True)
    ops.sum(ops.max_pool2d(x, 2) * np.array([[1.0, 2], [3, 4]])[None, :, :, None]).backward()
    expected = np.zeros((4, 4))
    expected[::2, ::2] = [[1, 2], [3, 4]]
    assert np.array_equal(x.grad.numpy()[0, :, :, 0], expected)


def test_a_window_of_minus_infinity_sends_its_gradient_into_the_image():
    x = tg.tensor(np.full((1, 2, 2, 1), -np.inf), requires_grad=True)
    y = ops.max_pool2d(x, 2, stride=2, padding=1)
    y.backward(tg.tensor(np.arange(1.0, 5.0).reshape(1, 2, 2, 1)))
    assert np.array_equal(x.grad.numpy().ravel(), [1, 2, 3, 4])


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_max_pooling_is_translation_equivariant_and_monotone(data):
    """A shift by the stride shifts the windows; a larger image has larger maxima."""
    k, s = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    x = integers((2, 9, 8, 3), data.draw(st.integers(0, 99)))
    y = ops.max_pool2d(x, k, stride=s)
    assert np.array_equal(ops.max_pool2d(x[:, s:], k, stride=s), y[:, 1:])
    assert (ops.max_pool2d(x + integers(x.shape, 1) ** 2, k, stride=s) >= y).all()


def test_average_pooling_is_linear_and_of_known_mean():
    assert_linear(lambda x: ops.avg_pool2d(x, 2), (2, 6, 4, 3))
    assert_linear(lambda x: ops.avg_pool2d(x, (2, 4), stride=(1, 3), padding=(1, 2)), (1, 5, 7, 2))
    ones = np.ones((1, 5, 5, 1))
    assert np.array_equal(
        ops.avg_pool2d(ones, 3, stride=1, padding=1, count_include_pad=False), ones
    )
    corners = ops.avg_pool2d(ones, 3, stride=4, padding=1)
    assert np.array_equal(corners, np.full((1, 2, 2, 1), 4 / 9))


@pytest.mark.parametrize("shape", [(3, 6, 6, 4), (1, 1, 1, 1), (2, 7, 5, 3)])
def test_pooling_in_blocks_of_images_changes_nothing(shape, monkeypatch):
    x, k = normal(*shape), min(shape[1], 2)
    window = {"kernel": (k, k), "stride": (1, 1), "padding": (0, 0)}
    whole = pooling.max_pool_forward(x, **window)
    g = normal(*whole[0].shape, seed=1)
    dx = pooling.max_pool_backward(g, whole[1], shape[1:3], **window)
    monkeypatch.setattr(pooling, "BLOCK", 1)
    for a, b in zip(whole, pooling.max_pool_forward(x, **window), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(pooling.max_pool_backward(g, whole[1], shape[1:3], **window), dx)


def test_a_large_window_remembers_its_place():
    """More than 256 places in a window need more than a byte."""
    x = np.zeros((1, 20, 20, 1))
    x[0, 17, 19, 0] = 1
    leaf = tg.tensor(x, requires_grad=True)
    ops.max_pool2d(leaf, 20).backward(tg.tensor(np.full((1, 1, 1, 1), 3.0)))
    assert np.array_equal(leaf.grad.numpy(), 3 * x)


# ---- resize --------------------------------------------------------------------------------------


def test_nearest_pixels_by_hand():
    x = np.arange(3.0).reshape(1, 1, 3, 1)
    wide = {6: [0, 0, 1, 1, 2, 2], 5: [0, 0, 1, 2, 2], 2: [0, 2], 1: [1], 4: [0, 1, 1, 2]}
    for n, expected in wide.items():
        assert np.array_equal(ops.resize(x, (1, n))[0, 0, :, 0], expected)


def test_bilinear_by_hand():
    x = np.array([0.0, 8.0]).reshape(1, 1, 2, 1)
    doubled = ops.resize(x, (1, 4), mode="bilinear")
    assert np.array_equal(doubled[0, 0, :, 0], [0, 2, 6, 8])  # 1/4, 3/4 between the centres
    assert np.array_equal(ops.resize(x, (3, 1), mode="bilinear")[0, :, 0, 0], [4, 4, 4])


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (2, 2), (3, 12), (1, 1)])
def test_nearest_resizing_is_linear(size):
    assert_linear(lambda x: ops.resize(x, size), (2, 3, 4, 2))


@pytest.mark.parametrize("size", [(8, 12), (4, 24), (2, 3)])
def test_bilinear_resizing_is_linear(size):
    """Sizes at which every weight is a small power of two, so that sums are exact."""
    assert_linear(lambda x: ops.resize(x, size, mode="bilinear"), (2, 4, 6, 2))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 12))
def test_what_resizing_keeps(h, w, p, q):
    """The same size is the identity; a constant stays one; bilinear stays within the range, and a
    ramp stays a ramp between its end centres."""
    x = normal(1, h, w, 2)
    for mode in ("nearest", "bilinear"):
        assert np.array_equal(ops.resize(x, (h, w), mode=mode), x)
        y = ops.resize(np.full((1, h, w, 1), 3.0), (p, q), mode=mode)
        assert abs(y - 3).max() <= 4 * 2.0**-53 * 3
        y = ops.resize(x, (p, q), mode=mode)
        assert y.min() >= x.min() - 1e-15
        assert y.max() <= x.max() + 1e-15
    ramp = np.arange(float(h)).reshape(1, h, 1, 1)
    places = np.clip((np.arange(p) + 0.5) * h / p - 0.5, 0, h - 1)
    assert abs(ops.resize(ramp, (p, 1), mode="bilinear")[0, :, 0, 0] - places).max() <= 1e-14 * h


def test_nearest_places_are_whole_number_arithmetic():
    """Where (i + 1/2) n/m is whole, rounding must not fall below it."""
    for n in range(1, 40):
        for m in range(1, 40):
            expected = [math.floor(Fraction(2 * i + 1, 2 * m) * n) for i in range(m)]
            found = ops.resize(np.arange(float(n)).reshape(1, n, 1, 1), (m, 1))
            assert found[0, :, 0, 0].tolist() == expected


# ---- norms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 3), (4, 5, 2), (3, 4, 4, 5), (2, 13, 1, 1)])
@pytest.mark.parametrize("block", [1, 7, 24])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_in_blocks_is_batch_norm(shape, block, training, monkeypatch):
    """Blocks of a few positions, whose statistics are merged, give the values and gradients of the
    reference."""
    monkeypatch.setattr(batch_norm, "BLOCK", block)
    monkeypatch.setattr(channels, "WIDE", 4 * shape[-1])
    channels.positions_in_row.cache_clear()
    C = shape[-1]
    parts = [normal(*shape) + 3, normal(C, seed=1), normal(C, seed=2) ** 2 + 1]
    parts += [normal(C, seed=3), normal(C, seed=4)]
    options = {"training": training, "momentum": 0.3, "eps": 1e-5}
    results = []
    for f in (ops.batch_norm, BatchNorm.reference):
        leaves = [tg.tensor(p, requires_grad=True) for p in parts]
        ys = f(*leaves, **options)
        gs = [tg.tensor(normal(*y.shape, seed=5 + i)) for i, y in enumerate(ys)]
        results.append([y.numpy() for y in ys] + [v.numpy() for v in tg.grad(ys, leaves, gs)])
    channels.positions_in_row.cache_clear()
    for ours, plain in zip(*results, strict=True):
        assert abs(ours - plain).max() <= 1e-12 * max(1.0, abs(plain).max())


@pytest.mark.parametrize("shape", [(7, 6), (3, 5, 6), (5, 4, 4, 6), (2, 13, 1, 6)])
@pytest.mark.parametrize("block", [1, 200])
@pytest.mark.parametrize("activation", [None, "silu", "relu"])
@pytest.mark.parametrize("trusted", [0.0, math.inf])
def test_group_norm_in_blocks_is_group_norm(shape, block, activation, trusted, monkeypatch):
    """In blocks of one image or several, with the variance as E[x^2] - mean^2 and centred."""
    monkeypatch.setattr(group_norm, "BLOCK", block)
    monkeypatch.setattr(group_norm, "TRUSTED", trusted)
    parts = [normal(*shape) + 3, normal(6, seed=3), normal(6, seed=4)]
    options = {"groups": 2, "eps": 1e-5, "activation": activation}
    results = []
    for f in (GroupNorm.apply, GroupNorm.reference):
        leaves = [tg.tensor(p, requires_grad=True) for p in parts]
        y = f(*leaves, **options)
        g = tg.tensor(normal(*y.shape, seed=5))
        results.append([y.numpy()] + [v.numpy() for v in tg.grad(y, leaves, g)])
    for ours, plain in zip(*results, strict=True):
        assert abs(ours - plain).max() <= 1e-12 * max(1.0, abs(plain).max())


@pytest.mark.parametrize("offset", [0.0, 1.9, 2.1, 30.0, 1000.0])
def test_statistics_survive_a_large_mean(offset):
    """float32, mean 1000 and variance 1: E[x^2] - mean^2 would have no digit left. The error stays
    within some roundings of the input itself, u * offset."""
    x = (tg.random.Generator(0).normal((16, 8, 8, 4)) + offset).astype("float32")
    zero, one = np.zeros(4, "float32"), np.ones(4, "float32")
    allowed = 8 * 2.0**-24 * (offset + 4)
    wide = x.astype("float64")
    y, _, var = ops.batch_norm(x, zero, one, training=True, momentum=1.0)
    expected = (wide - wide.mean((0, 1, 2))) / np.sqrt(wide.var((0, 1, 2)) + 1e-5)
    assert abs(y - expected).max() <= allowed
    assert abs(var - wide.var((0, 1, 2), ddof=1)).max() <= 1e-6
    y = ops.group_norm(x, 2)
    grouped = wide.reshape(16, 64, 2, 2)
    centred = grouped - grouped.mean((1, 3), keepdims=True)
    expected = centred / np.sqrt((centred**2).mean((1, 3), keepdims=True) + 1e-5)
    assert abs(y - expected.reshape(x.shape)).max() <= allowed


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.floats(0.1, 10), st.floats(-5, 5))
def test_norms_ignore_scale_and_shift(seed, scale, shift):
    """y(a x + b) = y(x) for a > 0, without eps."""
    x = normal(3, 4, 2, 6, seed=seed)
    for norm in (
        lambda x: ops.group_norm(x, 3, eps=0.0),
        lambda x: ops.instance_norm(x, eps=0.0),
        lambda x: ops.batch_norm(x, np.zeros(6), np.ones(6), training=True, eps=0.0)[0],
    ):
        y = norm(x)
        assert abs(norm(scale * x + shift) - y).max() <= 1e-11
        assert abs(y.mean()) <= 1e-14
        assert abs((y * y).mean() - 1) <= 1e-13


def test_instance_norm_is_group_norm_of_single_channels():
    x, w = normal(2, 3, 3, 4), normal(4, seed=1)
    assert np.array_equal(ops.instance_norm(x, w), ops.group_norm(x, 4, w))


def test_running_statistics_move_towards_the_batch():
    x, mean, var = normal(50, 3), normal(3, seed=1), np.full(3, 2.0)
    y, new_mean, new_var = ops.batch_norm(x, mean, var, training=True, momentum=0.25)
    assert np.allclose(new_mean, 0.75 * mean + 0.25 * x.mean(0), rtol=1e-14, atol=0)
    assert np.allclose(new_var, 0.75 * var + 0.25 * x.var(0, ddof=1), rtol=1e-14, atol=0)
    assert np.array_equal(var, np.full(3, 2.0))
    y, same_mean, same_var = ops.batch_norm(x, mean, var, training=False, eps=0.0)
    assert np.allclose(y, (x - mean) / math.sqrt(2), rtol=1e-13, atol=1e-14)
    assert np.array_equal(same_mean, mean)
    assert np.array_equal(same_var, var)


def test_gradient_penalties_go_through_the_norms():
    """The gradient of |dL/dx|^2, a second derivative, as WGAN-GP takes it."""
    x = normal(4, 3, 3, 4)
    weight, bias = normal(4, seed=1), normal(4, seed=2)
    g = normal(4, 3, 3, 4, seed=3)

    def penalty(norm):
        def f(x, weight, bias):
            with tg.enable_grad():  # numeric differences are taken without a graph
                x = x if x.requires_grad else tg.tensor(x.numpy(), requires_grad=True)
                (dx,) = tg.grad(ops.sum(norm(x, weight, bias) * g), [x], create_graph=True)
                return ops.sum(dx * dx)

        return f

    leaves = [tg.tensor(v, requires_grad=True) for v in (x, weight, bias)]
    for norm in (
        lambda x, w, b: ops.group_norm(x, 2, w, b, activation="silu"),
        lambda x, w, b: ops.batch_norm(x, np.zeros(4), np.ones(4), w, b, training=True)[0],
        lambda x, w, b: ops.batch_norm(x, np.zeros(4), np.ones(4), w, b, training=False)[0] ** 2,
    ):
        check_grad(penalty(norm), *leaves, order=1)


# ---- pixel shuffle -------------------------------------------------------------------------------


@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle_and_its_inverse(r):
    assert_linear(lambda x: ops.pixel_shuffle(x, r), (2, 3, 2, 2 * r * r))
    assert_linear(lambda x: ops.pixel_unshuffle(x, r), (2, 3 * r, 2 * r, 2))
    x = integers((2, 3, 2, 2 * r * r))
    assert np.array_equal(ops.pixel_unshuffle(ops.pixel_shuffle(x, r), r), x)
