"""A user's op in ten lines, registered for the proofs in one call; and what a wrong one is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.testing import CATALOGUE, Bad, Call, bounds, laws, register
from tinygen.testing.laws import LawError


class Logit(tg.Function):
    """y = log(x / (1 - x));  dx = g / (x (1 - x))."""

    def forward(self, x: Any) -> Any:
        self.save(x=x)
        return self.xp.log(x) - self.xp.log1p(-x)

    def backward(self, g: Any) -> Any:
        x = self.saved.x
        return g / (x * (1 - x))


def logit(x: Any) -> Any:
    """log(x / (1 - x)), elementwise."""
    return Logit.apply(x)


@pytest.fixture(autouse=True)
def own_catalogue() -> Iterator[None]:
    """What a test registers is gone afterwards."""
    before = dict(CATALOGUE)
    yield
    CATALOGUE.clear()
    CATALOGUE.update(before)


def describe(f: Any, **flags: Any) -> None:
    unit = tg.testing.Domain(0.05, 0.95, wide=(0.001, 0.999))
    register(
        f,
        name="logit",
        args=lambda draw: Call(draw.array(draw.shape(), unit)),
        truth=lambda x: np.log(x / (1 - x)),
        bound=bounds.conditioned(8, absolute=4),
        **flags,
    )


def test_it_is_proved_like_any_other() -> None:
    describe(logit, special=False)
    laws.check_all("logit", examples=6)


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (lambda x: logit(x) * 1.0001, "value"),
        (lambda x: ops.log(x) - ops.log(1 - x.detach()) if hasattr(x, "data") else 0, "value"),
        (lambda x: tg.tensor(logit(x).data) if isinstance(x, tg.Tensor) else logit(x), "graph"),
        (lambda x: ops.astype(logit(x), "float64"), "value"),
        (lambda x: logit(ops.astype(x, "float32")), "value"),
    ],
)
def test_a_wrong_one_is_told_how(wrong: Any, law: str) -> None:
    describe(wrong, special=False)
    with pytest.raises(LawError, match=r"logit breaks the law '\w+' for logit\("):
        laws.check_all("logit", examples=6)


def test_exemptions_and_bad_calls_are_heard() -> None:
    bad = Bad("nothing is wrong here", tg.errors.ShapeError, lambda: logit(np.array(0.5)))
    describe(logit, special=False, bad=(bad,))
    with pytest.raises(LawError, match="nothing was raised"):
        laws.check("logit", "bad_calls")
    CATALOGUE.pop("logit")
    describe(logit, special=False, bad=(bad,), exempt={"bad_calls": "a test of exemptions"})
    laws.check_all("logit", examples=2)


def test_a_name_is_given_once() -> None:
    describe(logit)
    with pytest.raises(ValueError, match="already"):
        describe(logit)
