"""The checker, checked: it never cries wolf, and wrong derivatives do not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, UsageError
from tinygen.testing import GradientError, check_grad
from tinygen.testing.catalogue import load
from tinygen.testing.derivatives import slopes
from tinygen.testing.laws import LAWS, LawError, check_law

CATALOGUE = load()
RIGHT = ("exp", "tanh", "divide", "softmax", "layer_norm", "matmul", "logsumexp", "cross_entropy")


# ---- no false alarm ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("law", ["first_order", "second_order"])
def test_right_derivatives_pass(name: str, law: str) -> None:
    assert check_law(CATALOGUE[name], LAWS[law], examples=40) == 40


@pytest.mark.deep
@pytest.mark.parametrize("law", ["first_order", "second_order"])
def test_right_derivatives_pass_a_thousand_times(law: str) -> None:
    for op in CATALOGUE.values():
        if LAWS[law].reason(op) is None:
            assert check_law(op, LAWS[law], examples=1000) == 1000


# ---- wrong derivatives of exp, each plausible ----------------------------------------------------

Backward = Callable[[Any, Any], Any]
"""From the incoming gradient and y = exp(x) to dx."""

WRONG: dict[str, Backward] = {
    "forgotten chain": lambda g, y: g,
    "forgotten cotangent": lambda g, y: y + 0.0 * g,
    "absolute cotangent": lambda g, y: ops.abs(g) * y,
    "off by 5e-4": lambda g, y: 1.0005 * g * y,
    "off by 1e-5": lambda g, y: 1.00001 * g * y,
    "off by 1e-7": lambda g, y: (1 + 1e-7) * g * y,
    "small additive": lambda g, y: g * y + 1e-6,
    "negated": lambda g, y: -g * y,
    "summed": lambda g, y: ops.mean(g) * y,
    "in float32": lambda g, y: ops.astype(ops.astype(g * y, "float32"), "float64"),
    "squared": lambda g, y: g * y * y,
    "nan": lambda g, y: g * y * np.nan,
    "one element": lambda g, y: g * y * (np.arange(6) != 5),
    "reversed": lambda g, y: ops.flip(g * y),
}


def exp_with(wrong: Backward) -> Callable[[Any], Any]:
    class Exp(tg.Function):
        def forward(self, x: Any) -> Any:
            y = np.exp(x)
            self.save(y=y)
            return y

        def backward(self, g: Any) -> Any:
            return wrong(g, self.saved.y)

    return Exp.apply


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("scale", [1.0, 1e-7])
def test_wrong_derivatives_fail(wrong: str, scale: float) -> None:
    """At any scale: a gradient of 1e-7 is ordinary under a mean."""
    f = exp_with(WRONG[wrong])
    for seed in range(10):
        x = np.random.default_rng(seed).uniform(-1, 1, 6)
        with pytest.raises(GradientError):
            check_grad(lambda t: f(t) * scale, x, order=1, seed=seed)


def test_a_right_first_order_does_not_hide_a_wrong_second() -> None:
    class Cube(tg.Function):
        """The first derivative is right; x is detached in it."""

        def forward(self, x: Any) -> Any:
            self.save(x=x)
            return x * x * x

        def backward(self, g: Any) -> Any:
            x = self.saved.x
            x = x.detach() if isinstance(x, tg.Tensor) else x
            return 3.0 * g * x * x

    x = np.array([0.5, -1.5])
    check_grad(Cube.apply, x, order=1)
    with pytest.raises(GradientError, match="second derivative is wrong"):
        check_grad(Cube.apply, x)


class WrongAtThird(tg.Function):
    """y = x^4: values, first and second derivatives are right; x is detached in the second."""

    def forward(self, x: Any) -> Any:
        self.save(x=x)
        return x**4

    def backward(self, g: Any) -> Any:
        return g * Slope.apply(self.saved.x)


class Slope(tg.Function):
    """y = 4 x^3."""

    def forward(self, x: Any) -> Any:
        self.save(x=x)
        return 4 * x**3

    def backward(self, g: Any) -> Any:
        x = self.saved.x
        return 12.0 * g * (x.detach() if isinstance(x, tg.Tensor) else x) ** 2


def test_every_order_that_is_asked_for_is_checked() -> None:
    x = np.array([0.5, -1.5])
    check_grad(WrongAtThird.apply, x)
    with pytest.raises(GradientError, match="third derivative is wrong"):
        check_grad(WrongAtThird.apply, x, order=3)
    for order in (1, 2, 3, 4):
        report = check_grad(lambda x, y: (ops.tanh(x * y), ops.exp(y)), x, x[::-1] / 2, order=order)
        assert report.rejected == 0
    assert check_grad(lambda x: 2.0 * x, x, order=3).rejected == 0  # whose second is 0 already


@pytest.mark.parametrize("order", [0, -1, 1.5, "a", True])
def test_an_order_below_one_is_refused(order: Any) -> None:
    with pytest.raises(UsageError, match="order is"):
        check_grad(ops.exp, np.ones(2), order=order)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(DtypeError, match="not NoneType"):
        check_grad(None, np.ones(2))  # type: ignore[arg-type]


def test_several_inputs_outputs_and_constants() -> None:
    def f(ids: Any, x: Any, y: Any) -> Any:
        return ops.take(x, ids, 0) * y, ops.argmax(x, axis=0), ops.sum(x)

    x, y = np.arange(6.0).reshape(3, 2) + 0.3, np.array([[2.0], [1.0]])
    report = check_grad(f, np.array([2, 0]), tg.tensor(x), y.astype(np.float32))
    assert report.rejected == 0
    assert report.worst <= 1


# ---- what it refuses to judge, and what it says --------------------------------------------------


def test_a_kink_is_refused_not_waved_through() -> None:
    """At 0 a central difference of relu is 1/2 at every step; the one-sided ones differ."""
    with pytest.raises(GradientError, match="could not be judged"):
        check_grad(ops.relu, np.array([0.0, 1.0, -1.0]))
    with pytest.raises(GradientError, match="could not be judged"):
        check_grad(lambda x: ops.floor(x), np.array([2.0]))
    check_grad(ops.relu, np.array([1e-4, 1.0, -1e-4]))


def test_the_message_names_the_worst_element_and_how_to_see_it_again() -> None:
    def f(x: Any) -> Any:
        class WrongAtOne(tg.Function):
            def forward(self, x: Any) -> Any:
                return 2 * x

            def backward(self, g: Any) -> Any:
                return g * np.array([2.0, 2.0, 2.5])

        return WrongAtOne.apply(x)

    with pytest.raises(GradientError, match=r"float input 0 .* at index \(2,\)") as caught:
        check_grad(f, np.ones(3), order=1, seed=5)
    assert "seed=5" in str(caught.value)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: ops.argmax(x), "no floating-point Tensor"),
        (lambda x: ops.multiply(x, np.nan), "."),
    ],
)
def test_functions_without_a_derivative(f: Any, message: str) -> None:
    with pytest.raises(GradientError, match=message):
        check_grad(f, np.ones(3))


def test_integers_alone_have_no_derivative() -> None:
    with pytest.raises(GradientError, match="none of the arguments"):
        check_grad(lambda x: x, np.arange(3))


class Careless(tg.Function):
    """y = 2 x, with a backward that each test makes careless in its own way."""

    def forward(self, x: Any) -> Any:
        self.save(x=x)
        self.times = 0
        return 2.0 * x


class ChangesItsInput(Careless):
    def backward(self, g: Any) -> Any:
        self.saved.x *= 1.5
        return 2.0 * g


class ChangesItsGradient(Careless):
    def backward(self, g: Any) -> Any:
        g *= 2.0
        return g


class ChangesItsMind(Careless):
    def backward(self, g: Any) -> Any:
        self.times += 1
        return 2.0 * g * (1 + 1e-15 * self.times)


class HasAnOffset(Careless):
    def backward(self, g: Any) -> Any:
        return 2.0 * g + 1e-300


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (ChangesItsInput, "changed in place"),
        (ChangesItsGradient, "changed in place"),
        (ChangesItsMind, "other bits"),
        (HasAnOffset, "not exactly zero"),
    ],
)
def test_careless_backwards(op: Any, message: str) -> None:
    with pytest.raises(GradientError, match=message):
        check_grad(op.apply, np.array([1.0, 2.0]), order=1)


# ---- numeric derivatives -------------------------------------------------------------------------


@pytest.mark.parametrize("x", [1e-3, 0.5, 3.0, 40.0])
@pytest.mark.parametrize(
    ("f", "derivative"), [(np.sin, np.cos), (np.exp, np.exp), (np.log, lambda x: 1 / x)]
)
def test_a_numeric_derivative_keeps_within_its_own_bound(f: Any, derivative: Any, x: float) -> None:
    point = (np.array([x]),)
    found = slopes(lambda p: (f(p[0]),), point, point, np.ones((1, 1)), np.zeros(1))
    wanted = derivative(x) * x
    assert found.trusted.all()
    assert abs(found.value[0] - wanted) <= found.bound[0]
    assert found.bound[0] <= 1e-5 * abs(wanted) + 1e-8


def test_an_output_that_is_zero_but_for_rounding_can_be_judged() -> None:
    """As the gradient by the query is where softmax has one key: which sign the rounding takes, and
    whether it is there at all, differs from processor to processor."""
    x = np.array([0.7])

    def f(p: tuple[Any, ...]) -> tuple[Any, ...]:
        return ((p[0] + 1 / 3 - p[0] - 1 / 3) * 0.37, p[0] * p[0])

    found = slopes(f, (x,), (x,), np.eye(2), np.full(2, 1e-16))
    assert found.trusted.all()
    assert abs(found.value[0]) <= found.bound[0] < 1e-9
    assert abs(found.value[1] - 2 * 0.7 * 0.7) <= found.bound[1]


def test_the_laws_report_what_they_found() -> None:
    from dataclasses import replace

    wrong = replace(CATALOGUE["exp"], fn=exp_with(WRONG["off by 1e-5"]))
    with pytest.raises(LawError, match=r"laws\.check\('exp', 'first_order', seed=0\)"):
        check_law(wrong, LAWS["first_order"], examples=1)
