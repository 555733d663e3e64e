"""What switches recording: `no_grad` as a context and decorator, `freeze`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import tinygen as tg
from tinygen import nn
from tinygen.random import Generator


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def test_no_grad_is_a_context_a_decorator_and_of_one_thread() -> None:
    x = leaf(1.0)
    with tg.no_grad():
        assert not (x * 2.0).requires_grad
        with tg.enable_grad():
            assert (x * 2.0).requires_grad
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x * 2.0).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]
    assert not tg.no_grad()(lambda: x * 2.0)().requires_grad
    assert (x * 2.0).requires_grad


def test_no_grad_decorates_generators() -> None:
    x = leaf(1.0)

    @tg.no_grad()
    def doubled() -> Any:
        yield x * 2.0
        return "done"

    values = doubled()
    assert not next(values).requires_grad
    assert (x * 2.0).requires_grad
    with pytest.raises(StopIteration, match="done"):
        next(values)


def test_no_grad_hands_a_decorated_generator_what_is_sent_thrown_and_closed() -> None:
    x = leaf(1.0)
    seen: list[Any] = []

    @tg.no_grad()
    def body() -> Any:
        try:
            seen.append((yield 1))
            try:
                yield 2
            except KeyError as error:
                seen.append((error.args, (x * 2.0).requires_grad))
            yield 3
        finally:
            seen.append(("closed", (x * 2.0).requires_grad))

    values = body()
    assert [next(values), values.send("sent")] == [1, 2]
    assert values.throw(KeyError("thrown")) == 3
    values.close()
    assert seen == ["sent", (("thrown",), False), ("closed", False)]
    assert (x * 2.0).requires_grad
    failing = body()
    next(failing)
    with pytest.raises(ZeroDivisionError):
        failing.throw(ZeroDivisionError())
    assert seen[-1] == ("closed", False)


def test_freeze_makes_constants_and_restores() -> None:
    layer = nn.Linear(2, 2, rng=Generator(0))
    layer.bias.requires_grad_(False)
    x = tg.ones((1, 2), requires_grad=True)
    with tg.freeze(layer):
        layer(x).sum().backward()
        assert layer.frozen
    assert x.grad is not None
    assert layer.weight.grad is None
    assert not layer.frozen
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (True, False)
