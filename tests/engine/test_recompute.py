"""`tg.checkpoint`: the plain computation, bit for bit, with its inputs alone kept."""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import ops
from tinygen.random import Generator


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def test_checkpoint_is_the_plain_computation_bit_for_bit() -> None:
    """Captured weights, a captured inner tensor that shares history with one, and dropout."""
    rng, weight, x = Generator(3), leaf(0.5, -1.5), leaf(1.0, 2.0)

    def gradients(run: Any) -> list[Any]:
        stream = rng.spawn("dropout")
        shared = weight * x
        y = run(lambda h: ops.dropout(ops.tanh(h * weight + shared), 0.5, rng=stream), shared)
        loss = (y * y).sum()
        first = tg.grad(loss, [weight, x], create_graph=True)
        second = tg.grad((first[0] * first[1]).sum(), [weight, x])  # type: ignore[operator]
        return [loss.item(), *(g.tolist() for g in (*first, *second) if g is not None)]

    plain = gradients(lambda f, h: f(h))
    assert gradients(tg.checkpoint) == plain
    assert len(plain) == 5


def test_checkpoint_keeps_inputs_alone() -> None:
    x = tg.tensor(np.ones(1000), requires_grad=True)
    inner: list[Any] = []

    def segment(h: tg.Tensor) -> tg.Tensor:
        y = ops.exp(h)
        inner.append(weakref.ref(y.data))
        return ops.tanh(y)

    y = tg.checkpoint(segment, x)
    assert inner[0]() is None
    y.sum().backward()
    assert len(inner) == 2
    with tg.no_grad():
        assert not tg.checkpoint(segment, x).requires_grad
    assert not tg.checkpoint(segment, tg.ones(3)).requires_grad


def test_checkpoint_passes_arguments_by_name_and_their_gradients_back() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, -1.0)

    def segment(h: Any, *, scale: float, weight: Any = None) -> Any:
        return ops.tanh(h * weight * scale)

    def gradients(run: Any) -> list[Any]:
        y = run(segment, x, scale=0.5, weight=w * x)
        first = tg.grad(y.sum(), [x, w], create_graph=True)
        second = tg.grad(first[0].sum(), [x, w])  # type: ignore[union-attr]
        return [g.tolist() for g in (y, *first, *second) if g is not None]

    plain = gradients(lambda fn, *args, **kwargs: fn(*args, **kwargs))
    assert len(plain) == 5
    assert gradients(tg.checkpoint) == plain
    with tg.no_grad():
        assert tg.checkpoint(segment, x, scale=0.5, weight=w).shape == (2,)


def test_checkpoints_of_several_threads_do_not_touch_each_others_streams() -> None:
    """What one thread draws while another records is not replayed, nor is it set back."""
    here, there = Generator(0), Generator(1)
    x = leaf(1.0, 2.0)

    def segment(h: Any) -> Any:
        thread = threading.Thread(target=lambda: drawn.append(there.words(4).tolist()))
        thread.start()
        thread.join()
        return ops.dropout(h, 0.5, rng=here)

    drawn: list[Any] = []
    y = tg.checkpoint(segment, x)
    y.backward(np.ones(2))
    assert drawn == [Generator(1).words(8).tolist()[:4], Generator(1).words(8).tolist()[4:]]
    assert x.grad is not None
    assert np.array_equal(x.grad.numpy(), y.numpy() / x.numpy())
