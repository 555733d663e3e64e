"""The walk: gradients of every order, what is kept and freed, hooks, and what is refused."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, GraphError, ShapeError


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


class Cube(tg.Function):
    """y = x^3;  dx = 3 g x^2."""

    def forward(self, x: Any) -> Any:
        self.save(x=x)
        return x * x * x

    def backward(self, g: Any) -> Any:
        return 3 * g * self.saved.x * self.saved.x


def test_a_users_op_has_every_order() -> None:
    x = leaf(2.0, -1.0)
    (first,) = tg.grad(Cube.apply(x).sum(), x, create_graph=True)
    (second,) = tg.grad(first.sum(), x, create_graph=True)
    (third,) = tg.grad(second.sum(), x)
    assert first.tolist() == [12, 3]
    assert second.tolist() == [12, -6]
    assert third.tolist() == [6, 6]
    tg.testing.check_grad(Cube.apply, x)


def test_a_leaf_that_is_used_often_gathers_every_path() -> None:
    x = leaf(3.0)
    y = x * x + x
    (y * y + x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2 * 12 * 7 + 1]


def test_backward_adds_and_grad_does_not() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4, 8]
    tg.grad((x * x).sum(), x)
    assert x.grad.tolist() == [4, 8]


def test_accumulation_corrupts_no_sibling() -> None:
    """add hands one array to both sides; a third path must not be added into the shared one."""
    a, b = leaf(1.0), leaf(2.0)
    total = a + b
    (total + a + a).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad.item(), b.grad.item()) == (3, 1)


def test_weighted_outputs_and_inner_inputs() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    z = ops.exp(y)
    dy, dx = tg.grad([y, z], [y, x], [leaf(1.0, 0.0).detach(), leaf(0.0, 1.0).detach()])
    assert dy is not None
    assert dx is not None
    np.testing.assert_allclose(dy.numpy(), [1, np.exp(4)])
    np.testing.assert_allclose(dx.numpy(), [2, 4 * np.exp(4)])


def test_a_chain_of_a_hundred_thousand_nodes() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1
    del y


def test_the_callers_cotangent_is_not_kept() -> None:
    x, weights = leaf(0.0, 0.0), np.ones(2)
    for scale in (1.0, 10.0):
        weights[:] = scale
        (x + 0.0).backward(weights)
    assert x.grad is not None
    assert x.grad.tolist() == [11, 11]


def test_the_gradients_of_two_leaves_share_no_memory() -> None:
    a, b = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (a + b).backward(np.ones(2, np.float32))
    a.grad.data *= 3
    assert b.grad.tolist() == [1, 1]
    c = tg.tensor([[1.0, 2.0]], requires_grad=True)
    c.sum().backward()
    c.grad.data[0, 0] = 7  # not a read-only view of one number
    assert c.grad.tolist() == [[7, 1]]


def test_the_large_gradient_of_one_leaf_is_not_copied() -> None:
    """Large arrays begin at a cache line inside a block of bytes; that makes them no views."""
    weight = tg.tensor(np.ones((300, 200), np.float32), requires_grad=True)
    x = tg.tensor(np.ones((4, 200), np.float32))
    handed: list[np.ndarray] = []
    weight.register_hook(lambda g: handed.append(g.data))
    ops.linear(x, weight).sum().backward()
    assert handed[0].base is not None
    assert weight.grad.data is handed[0]
    halves = [tg.tensor(np.ones((150, 200), np.float32), requires_grad=True) for _ in range(2)]
    ops.linear(x, ops.concat(halves)).sum().backward()  # views of one such array
    assert not np.shares_memory(halves[0].grad.data, halves[1].grad.data)
    assert all(half.grad.data.base is None for half in halves)


def test_a_scalar_takes_a_number_as_its_gradient() -> None:
    x = tg.tensor(3.0, requires_grad=True)
    (x * x).backward(0.5)
    assert x.grad.item() == 3


def test_buffers_are_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        x = tg.tensor(np.ones(1000), requires_grad=True)
        y = ops.exp(x)
        z = ops.tanh(y)
        watched = [weakref.ref(t.data) for t in (y, z)]
        del y
        z.sum().backward()
        del z
        assert [w() for w in watched] == [None, None]
    finally:
        gc.enable()


def test_hooks_see_whole_gradients_and_may_replace_them() -> None:
    x = leaf(1.0, -2.0)
    y = x * 3.0
    seen: list[list[float]] = []
    remove = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10.0)
    (y + y).sum().backward()
    assert seen == [[2, 2]]
    assert x.grad is not None
    assert x.grad.tolist() == [60, 60]
    remove()
    x.register_hook(lambda g: g * 0.0)
    assert tg.grad((x * 2.0).sum(), x)[0].tolist() == [0, 0]  # type: ignore[union-attr]
    x.register_hook(lambda g: g[:1])
    with pytest.raises(GraphError, match="hook"):
        (x * 2.0).sum().backward()
    with pytest.raises(GraphError, match="never be called"):
        tg.ones(1).register_hook(lambda g: g)


# ---- what is refused -----------------------------------------------------------------------------


def test_a_graph_is_used_once_unless_it_is_retained() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 8
    with pytest.raises(GraphError, match="retain_graph"):
        y.backward()
    with pytest.raises(GraphError, match="freed"):
        tg.grad(y, x)


def test_calls_that_cannot_be_right() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(GraphError, match="one element"):
        (x * x).backward()
    with pytest.raises(ShapeError, match="same shape"):
        (x * x).backward(tg.ones(3, dtype="float64"))
    with pytest.raises(ShapeError, match="same shape and dtype"):
        (x * x).backward(tg.ones(2))
    with pytest.raises(GraphError, match="no graph"):
        tg.ones(1).backward()
    with pytest.raises(GraphError, match="do not depend"):
        tg.grad((x * x).sum(), leaf(1.0))
    assert tg.grad((x * x).sum(), leaf(1.0), allow_unused=True) == (None,)
    with pytest.raises(GraphError, match="does not require"):
        tg.grad((x * x).sum(), tg.ones(1))
    with pytest.raises(ShapeError, match="grad_outputs"):
        tg.grad(x * x, x, [tg.ones(2), tg.ones(2)])
    with pytest.raises(DtypeError, match="floating"):
        tg.tensor([1, 2], requires_grad=True)
    with pytest.raises(GraphError, match="lose the gradient"):
        np.asarray(x)
    with pytest.raises(DtypeError, match=r"tg\.tensor"):
        ops.exp([1.0, 2.0])
    with pytest.raises(DtypeError, match="at least one"):
        ops.add(1.0, 2.0)


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (lambda g: None, "None"),
        (lambda g: g[:1], "shape"),
        (lambda g: g.astype("float32"), "dtype"),
        (lambda g: (g, g), "2 gradients"),
    ],
)
def test_a_wrong_backward_is_caught_at_its_edge(gradient: Any, message: str) -> None:
    class Wrong(tg.Function):
        def forward(self, x: Any) -> Any:
            return x + 1

        def backward(self, g: Any) -> Any:
            return gradient(g)

    with pytest.raises(GraphError, match=message):
        Wrong.apply(leaf(1.0, 2.0)).sum().backward()


def test_a_saved_float_that_is_neither_input_nor_output_has_no_second_order() -> None:
    class Lossy(tg.Function):
        def forward(self, x: Any) -> Any:
            self.save(slope=2 * x)
            return x * x

        def backward(self, g: Any) -> Any:
            return g * self.saved.slope

    x = leaf(3.0)
    assert tg.grad(Lossy.apply(x), x)[0].item() == 6  # type: ignore[union-attr]
    with pytest.raises(GraphError, match="neither an input nor an output"):
        tg.grad(Lossy.apply(x), x, create_graph=True)


def test_a_failed_grad_leaves_the_graph_whole() -> None:
    class Lossy(tg.Function):
        def forward(self, x: Any, y: Any) -> Any:
            self.save(slope=x * 2, x=x, y=y)
            return x * x * y

        def backward(self, g: Any) -> Any:
            return g * self.saved.slope * self.saved.y, g * self.saved.x * self.saved.x

    x, y = leaf(3.0), leaf(5.0)
    z = Lossy.apply(x, y)
    with pytest.raises(GraphError):
        tg.grad(z, x, create_graph=True)
    z.backward()
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == (30, 9)


def test_an_op_without_a_derivative_says_so() -> None:
    class Forward(tg.Function):
        def forward(self, x):
            return x + 1

    y = Forward.apply(tg.tensor([1.0], requires_grad=True))
    with pytest.raises(GraphError, match="does not define backward"):
        y.backward()
