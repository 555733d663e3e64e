"""The engine: what is recorded, what is freed, what is refused, and gradients of every order."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.errors import DtypeError, GraphError, ShapeError
from tinygen.random import Generator


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


class Cube(tg.Function):
    """y = x^3;  dx = 3 g x^2."""

    def forward(self, x: Any) -> Any:
        self.save(x=x)
        return x * x * x

    def backward(self, g: Any) -> Any:
        return 3 * g * self.saved.x * self.saved.x


# ---- values and orders ---------------------------------------------------------------------------


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


# ---- what is kept, and freed ---------------------------------------------------------------------


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


def test_an_update_between_forward_and_backward_is_an_error() -> None:
    weight = nn.Parameter(np.ones((2, 2), np.float32))
    optimizer = tg.optim.SGD([weight], lr=0.1)
    x = tg.ones((2, 2), requires_grad=True)
    stale, view = ops.matmul(x, weight).sum(), ops.matmul(x, weight.T).sum()
    linear = ops.linear(x, weight).sum()
    harmless = (weight + 1.0).sum()
    ops.matmul(x, weight).sum().backward()
    optimizer.step()
    for loss in (stale, view, linear):
        with pytest.raises(GraphError, match="in place"):
            loss.backward()
    harmless.backward()  # its gradient does not read the weight


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


# ---- hooks, freeze -------------------------------------------------------------------------------


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


# ---- recomputation -------------------------------------------------------------------------------


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


# ---- the Tensor ----------------------------------------------------------------------------------


def test_what_a_tensor_says_of_itself() -> None:
    x = tg.tensor([[1.0, 2.0]], requires_grad=True)
    assert (x.shape, x.ndim, x.size, len(x), x.device, x.is_leaf) == ((1, 2), 2, 2, 1, "cpu", True)
    assert repr(x) == "tensor([[1., 2.]], dtype=float32, requires_grad=True)"
    assert "from=Multiply" in repr(x * 2.0)
    assert [row.tolist() for row in x] == [[1, 2]]
    assert not x.numpy().flags.writeable
    assert tg.ones(2).numpy().flags.writeable
    assert (x.detach().requires_grad, x.clone().requires_grad) == (False, True)
    assert (float(x.sum()), int(x.sum()), bool(x.sum())) == (3.0, 3, True)
    assert np.asarray(x.detach()).tolist() == [[1, 2]]
    assert x.to("cpu") is x
    assert x.to(dtype="float64").dtype == np.float64
    with pytest.raises(ShapeError, match="one element"):
        x.item()
    with pytest.raises(ShapeError, match="ambiguous"):
        bool(x)
    with pytest.raises(ShapeError, match="no length"):
        len(x.sum())
    with pytest.raises(ShapeError, match="matrices"):
        _ = tg.ones(2).T


def test_dtypes_of_new_tensors() -> None:
    kinds = {"float32": [1.0, 2], "int64": [1, 2], "bool": [True, False]}
    for dtype, data in kinds.items():
        assert tg.tensor(data).dtype == dtype
    assert tg.tensor(np.zeros(2, "float64")).dtype == np.float64
    assert tg.tensor(np.zeros(2, "uint8")).dtype == np.uint8
    assert tg.tensor([1, 2], dtype="float64").dtype == np.float64
    source = np.zeros(2)
    copied = tg.tensor(source)
    source[0] = 1
    assert copied.tolist() == [0, 0]
    with pytest.raises(ShapeError, match="equal lengths"):
        tg.tensor([[1], [1, 2]])
    with pytest.raises(DtypeError, match="real numbers"):
        tg.tensor(["text"])


def test_deepcopy_is_for_leaves() -> None:
    import copy

    x = leaf(1.0)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y is not x
    assert y.requires_grad
    assert y.grad is not None
    assert y.grad.tolist() == [2]
    with pytest.raises(GraphError, match="deep-copied"):
        copy.deepcopy(x * x)


# ---- in-place updates are seen through every road to the same memory -----------------------------


def updated(parameter: nn.Parameter) -> None:
    parameter.grad = tg.ones(parameter.shape, dtype="float64")
    tg.optim.SGD([parameter], lr=1.0).step()


@pytest.mark.parametrize(
    "road",
    [
        lambda w: tg.checkpoint(lambda a: a * a * a, w),
        lambda w: w.detach() * leaf(1.0, 1.0),
        lambda w: w.reshape(1, 2)[0] * leaf(1.0, 1.0),
        lambda w: tg.no_grad()(lambda: w[:])() * leaf(1.0, 1.0),
        lambda w: tg.checkpoint(lambda a: a * w.detach(), leaf(1.0, 1.0)),
    ],
)
def test_an_update_is_seen_through_views_and_checkpoints(road: Any) -> None:
    weight = nn.Parameter(np.array([1.0, 2.0]))
    tg.optim.SGD([weight], lr=1.0)  # moves the data into its buffer first
    y = road(weight).sum()
    updated(weight)
    with pytest.raises(GraphError, match="in place"):
        y.backward()


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


def test_the_callers_cotangent_is_not_kept() -> None:
    x, weights = leaf(0.0, 0.0), np.ones(2)
    for scale in (1.0, 10.0):
        weights[:] = scale
        (x + 0.0).backward(weights)
    assert x.grad is not None
    assert x.grad.tolist() == [11, 11]


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


# ---- what a person expects of a Tensor -----------------------------------------------------------


def test_the_gradients_of_two_leaves_share_no_memory() -> None:
    a, b = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (a + b).backward(np.ones(2, np.float32))
    a.grad.data *= 3
    assert b.grad.tolist() == [1, 1]
    c = tg.tensor([[1.0, 2.0]], requires_grad=True)
    c.sum().backward()
    c.grad.data[0, 0] = 7  # not a read-only view of one number
    assert c.grad.tolist() == [[7, 1]]


def test_a_scalar_takes_a_number_as_its_gradient() -> None:
    x = tg.tensor(3.0, requires_grad=True)
    (x * x).backward(0.5)
    assert x.grad.item() == 3


def test_one_element_is_formatted_and_counts_as_its_number() -> None:
    loss, n = tg.tensor(2.34567), tg.tensor(3)
    assert f"{loss:.3f}" == "2.346"
    assert f"{loss}" == str(loss)
    assert list(range(n)) == [0, 1, 2]
    assert "abcd"[n] == "d"


def test_truths_combine() -> None:
    x = tg.tensor([-1.0, 0.5, 2.0])
    assert ((x > 0) & (x < 1)).tolist() == [False, True, False]
    assert ((x < 0) | (x > 1)).tolist() == [True, False, True]
    assert ((x > 0) ^ (x > 1)).tolist() == [False, True, False]
    assert (~(x > 0)).tolist() == [True, False, False]
    assert (True & (x > 0)).tolist() == [False, True, True]
    assert (+x).tolist() == x.tolist()


def test_the_order_of_bytes_does_not_matter() -> None:
    x = tg.tensor(np.arange(4, dtype=">f4"), requires_grad=True)
    assert x.dtype.isnative
    (ops.where(x > 1, x, 0) * x).sum().backward()
    assert x.grad.tolist() == [0, 0, 4, 6]
    assert ops.exp(np.zeros(2, ">f8")).dtype.isnative


def test_axes_may_be_one_or_several_arguments() -> None:
    assert tg.tensor([1.0, 2.0]).permute_dims((0,)).shape == (2,)
    assert tg.tensor([1.0, 2.0]).permute_dims(0).shape == (2,)
    assert tg.zeros((2, 3)).permute_dims(1, 0).shape == (3, 2)


def test_an_op_without_a_derivative_says_so() -> None:
    class Forward(tg.Function):
        def forward(self, x):
            return x + 1

    y = Forward.apply(tg.tensor([1.0], requires_grad=True))
    with pytest.raises(GraphError, match="does not define backward"):
        y.backward()


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
