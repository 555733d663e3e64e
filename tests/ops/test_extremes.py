"""Numbers at the ends of the range: small results keep their digits, and large inputs their
meaning."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.random import Generator

F4 = np.float32


def gradients(f, x, *others):
    """df/dx by the fast path and by the reference."""
    found = []
    for create_graph in (False, True):
        t = tg.tensor(x, requires_grad=True)
        (g,) = tg.grad(f(t, *others), t, create_graph=create_graph)
        found.append(g.numpy())
    return found


# ---- softmax, its logarithm and cross-entropy ----------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gap", [1.0, 5.0, 17.0, 40.0, 80.0])
@pytest.mark.parametrize("offset", [0.0, 64.0, -64.0])
def test_a_nearly_certain_class_has_a_small_accurate_loss(
    dtype: str, gap: float, offset: float
) -> None:
    x = np.array([[gap + offset, offset, offset]], dtype)
    truth = math.log1p(2 * math.exp(-gap))
    few_roundings = 40 * float(np.finfo(dtype).eps)
    for loss in (
        ops.cross_entropy(x, np.array([0])),
        ops.cross_entropy(x, np.eye(3, dtype=dtype)[:1]),
        -ops.log_softmax(x)[0, 0],
    ):
        assert float(loss) == pytest.approx(truth, rel=few_roundings, abs=0)
    fast, _ = gradients(ops.cross_entropy, x, np.array([0]))
    assert float(fast[0, 0]) == pytest.approx(math.expm1(-truth), rel=few_roundings, abs=0)


@pytest.mark.parametrize("classes", [1, 2, 10, 300])
def test_losses_are_never_negative_and_probabilities_never_above_one(classes: int) -> None:
    rng = Generator(0)
    x = rng.normal((2000, classes)) * 12
    targets = x.argmax(axis=1)
    assert (ops.cross_entropy(x, targets, reduction="none") >= 0).all()
    assert (ops.log_softmax(x) <= 0).all()
    fast, _ = gradients(lambda t: ops.cross_entropy(t, targets, reduction="sum"), x)
    assert (fast[np.arange(2000), targets] <= 0).all()


@pytest.mark.parametrize("level", [1e3, 1e6, 1e8, 1e17, -1e8])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.25}])
def test_a_common_offset_changes_nothing_however_large(level: float, options: dict) -> None:
    x = np.array([[level, level]], F4)
    for target in (np.array([1]), np.array([[0, 1]], F4)):
        assert float(ops.cross_entropy(x, target, **options)) == pytest.approx(math.log(2))
        half = 0.5 * (1 - options.get("label_smoothing", 0))
        for g in gradients(lambda t, y=target: ops.cross_entropy(t, y, **options), x):
            np.testing.assert_allclose(g, [[half, -half]], rtol=1e-6)
    np.testing.assert_allclose(ops.log_softmax(x), -math.log(2), rtol=1e-6)
    for g in gradients(lambda t: ops.softmax(t)[0, 0], x):
        np.testing.assert_allclose(g, [[0.25, -0.25]], rtol=1e-6)
    for g in gradients(lambda t: ops.log_softmax(t)[0, 0], x):
        np.testing.assert_allclose(g, [[0.5, -0.5]], rtol=1e-6)


def test_an_ignored_row_may_hold_anything() -> None:
    x = np.array([[1.0, 2.0], [math.nan, math.inf]])
    for g in gradients(lambda t: ops.cross_entropy(t, np.array([0, -1]), ignore_index=-1), x):
        assert np.isfinite(g).all()
        assert (g[1] == 0).all()


def test_what_cannot_be_and_has_no_weight_costs_nothing() -> None:
    x = np.array([[0.0, -math.inf, 0.0]])
    half = np.array([[0.5, 0.0, 0.5]])
    assert float(ops.cross_entropy(x, half)) == pytest.approx(math.log(2))
    assert float(ops.cross_entropy(x, np.array([[0.5, 0.5, 0.0]]))) == math.inf
    assert float(ops.categorical_kl(x)) == pytest.approx(math.log(3) - math.log(2))
    for g in gradients(ops.cross_entropy, x, half):
        np.testing.assert_allclose(g, 0, atol=1e-15)
    for g in gradients(ops.categorical_kl, x):
        assert np.isfinite(g).all()


# ---- other losses and activations ----------------------------------------------------------------


@pytest.mark.parametrize("x", [10.0, 17.0, 20.0, 60.0])
def test_binary_cross_entropy_keeps_its_digits_on_both_sides(x: float) -> None:
    truth = math.log1p(math.exp(-x))
    for sign, target in ((1, 1.0), (-1, 0.0)):
        logit, t = np.array([sign * x], F4), np.array([target], F4)
        assert float(ops.bce_with_logits(logit, t)) == pytest.approx(truth, rel=1e-6, abs=0)
        for g in gradients(ops.bce_with_logits, logit, t):
            assert float(g[0]) == pytest.approx(sign * math.expm1(-truth), rel=1e-6, abs=0)


@pytest.mark.parametrize("x", [-88.0, -88.8, -90.0, -91.5])
def test_silu_vanishes_no_sooner_than_float32_does(x: float) -> None:
    x = float(F4(x))
    truth = x * math.exp(x)
    assert float(ops.silu(np.array([x], F4))[0]) == pytest.approx(truth, rel=1e-5, abs=0)
    fast, _ = gradients(lambda t: ops.silu(t).sum(), np.array([x], F4))
    assert float(fast[0]) == pytest.approx((1 + x) * math.exp(x), rel=1e-5, abs=0)


def test_gelu_by_tanh_vanishes_no_sooner_than_float32_does() -> None:
    x = float(F4(-10.1))
    v = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    fast, _ = gradients(lambda t: ops.gelu(t, "tanh").sum(), np.array([x], F4))
    truth = math.exp(2 * v) * (1 + 2 * x * slope)
    assert float(fast[0]) == pytest.approx(truth, rel=2e-4, abs=0)  # 2 v has the rounding of 88


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1e30), ("float32", 1e-30)])
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_a_norm_fits_where_its_squares_do_not(dtype: str, scale: float, axis: object) -> None:
    x = np.array([[3.0], [4.0]], dtype) * np.array(scale, dtype)
    for keepdims in (False, True):
        np.testing.assert_allclose(ops.norm(x, axis=axis, keepdims=keepdims), 5 * scale, rtol=1e-6)
    for g in gradients(lambda t: ops.norm(t), x):
        np.testing.assert_allclose(g, [[0.6], [0.8]], rtol=1e-6)


def test_norms_of_nothing_and_of_infinity() -> None:
    assert float(ops.norm(np.zeros(0))) == 0
    assert float(ops.norm(np.zeros(3))) == 0
    assert float(ops.norm(np.array([math.inf, 1.0]))) == math.inf
    assert math.isnan(float(ops.norm(np.array([math.nan, 1.0]))))
