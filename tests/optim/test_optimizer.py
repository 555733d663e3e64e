"""What all optimisers share: the update in plain NumPy, flat buffers, groups, errors."""

import math

import numpy as np
import pytest
from every_optimizer import OPTIMIZERS, SHAPES, generator, give_gradients, parameters

import tinygen as tg
from tinygen import nn, optim
from tinygen.errors import GraphError, ShapeError, UsageError
from tinygen.optim import flat


def sgd(p, g, m, t):
    g = g + 0.1 * p
    m[0] = 0.9 * m[0] + g
    return p - 0.1 * m[0]


def adam(p, g, m, t, decoupled=False):
    if decoupled:
        p = p - 0.01 * 0.1 * p
    else:
        g = g + 0.1 * p
    m[0] = 0.9 * m[0] + 0.1 * g
    m[1] = 0.999 * m[1] + 0.001 * g * g
    return p - 0.01 * (m[0] / (1 - 0.9**t)) / (np.sqrt(m[1] / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("momentum", sgd),
        ("adam", adam),
        ("adamw", lambda *args: adam(*args, decoupled=True)),
    ],
)
def test_updates_follow_the_formula(name, rule):
    params = parameters()
    optimizer = OPTIMIZERS[name](params)
    expected = [p.data.copy() for p in params]
    moments = [[np.zeros(s), np.zeros(s)] for s in SHAPES]
    rng = generator("gradients")
    for t in range(1, 21):
        give_gradients(params, rng)
        for i, p in enumerate(params):
            expected[i] = rule(expected[i], p.grad.data, moments[i], t)
        optimizer.step()
    for p, e in zip(params, expected, strict=True):
        assert np.allclose(p.data, e, rtol=1e-12, atol=1e-14)


def test_the_parameters_stay_the_same_objects_and_lie_end_to_end(make):
    params = parameters("float32")
    before = [p.data.copy() for p in params]
    optimizer = make(params)
    for p, values in zip(params, before, strict=True):
        assert np.array_equal(p.data, values)
        assert p.shape == values.shape
        assert p.dtype == np.float32
    if len(optimizer.parameters) == len(params):
        assert len({id(p.data.base) for p in params}) == 1
    versions = [p.version for p in params]
    arrays = [p.data for p in params]
    give_gradients(params, generator())
    optimizer.step()
    assert [p.version for p in params] == [v + 1 for v in versions]
    assert all(p.data is a for p, a in zip(params, arrays, strict=True))
    assert all(not np.array_equal(p.data, b) for p, b in zip(params, before, strict=True) if p.size)


def test_a_parameter_without_gradient_is_left_alone_and_its_steps_do_not_count():
    params = parameters()
    optimizer = optim.AdamW(params, lr=0.1)
    alone = parameters()[1:2]
    reference = optim.AdamW(alone, lr=0.1)
    rng = generator()
    for i in range(4):
        give_gradients(params, rng)
        if i % 2:
            params[1].grad = None
            before, version = params[1].data.copy(), params[1].version
        else:
            alone[0].grad = params[1].grad
            reference.step()
        optimizer.step()
        if i % 2:
            assert np.array_equal(params[1].data, before)
            assert params[1].version == version
    assert np.array_equal(params[1].data, alone[0].data)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)


@pytest.mark.parametrize("block", [1, 5, 7, 12, 1000])
def test_the_size_of_a_block_does_not_change_the_result(block, monkeypatch):
    def trained():
        params = parameters()
        optimizer = optim.AdamW(params, lr=0.1)
        rng = generator()
        for _ in range(3):
            give_gradients(params, rng)
            params[0].grad = tg.Tensor(np.asfortranarray(params[0].grad.data))
            optimizer.step()
        return np.concat([p.data.reshape(-1) for p in params])

    whole = trained()
    monkeypatch.setattr(flat, "BLOCK", block)
    assert np.allclose(trained(), whole, rtol=1e-14, atol=0)


def test_gradients_are_read_only_to_the_step_and_forgotten_by_zero_grad(make):
    params = parameters()
    optimizer = make(params)
    give_gradients(params, generator())
    before = [p.grad.data.copy() for p in params]
    for p in params:
        p.grad.data.flags.writeable = False
    optimizer.step()
    assert all(np.array_equal(p.grad.data, b) for p, b in zip(params, before, strict=True))
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)


def test_groups_have_settings_of_their_own():
    params = parameters()
    optimizer = optim.SGD(
        [{"params": params[:2], "lr": 1.0}, {"params": params[2:], "weight_decay": 0.5}], lr=0.1
    )
    before = [p.data.copy() for p in params]
    give_gradients(params, generator())
    optimizer.step()
    for i, (p, b) in enumerate(zip(params, before, strict=True)):
        g = p.grad.data
        assert np.allclose(p.data, b - g if i < 2 else b - 0.1 * (g + 0.5 * b), rtol=1e-14)


def test_a_schedule_scales_every_group_for_one_step():
    params, halved = parameters(), parameters()
    optimizer, reference = optim.AdamW(params, lr=0.1), optim.AdamW(halved, lr=0.05)
    give_gradients(params, generator())
    give_gradients(halved, generator())
    optimizer.step(lr_factor=0.5)
    reference.step()
    assert all(np.array_equal(p.data, h.data) for p, h in zip(params, halved, strict=True))
    assert optimizer.groups[0]["lr"] == 0.1
    for factor in (math.nan, -1.0):
        with pytest.raises(UsageError, match="lr_factor"):
            optimizer.step(lr_factor=factor)


def test_mixed_dtypes_share_a_group():
    params = [nn.Parameter(np.ones(2, np.float32)), nn.Parameter(np.ones(2))]
    optimizer = optim.SGD(params, lr=1.0)
    for p in params:
        p.grad = tg.Tensor(p.data / 4)
    optimizer.step()
    assert [p.dtype.name for p in params] == ["float32", "float64"]
    assert all((p.data == 0.75).all() for p in params)


def test_a_parameter_that_got_another_array_is_taken_back():
    params = parameters()
    optimizer = optim.SGD(params, lr=1.0)
    params[0].data = np.full((3, 4), 2.0)
    params[0].grad = tg.Tensor(np.ones((3, 4)))
    optimizer.step()
    assert (params[0].data == 1).all()
    params[0].data = params[0].data.astype("float32")
    with pytest.raises(UsageError, match=r"module\.to"):
        optimizer.step()


def test_an_update_between_forward_and_backward_is_an_error():
    layer = nn.Linear(2, 2, rng=generator())
    optimizer = optim.SGD(layer.parameters(), lr=1.0)
    x = tg.tensor([[1.0, 2.0]], requires_grad=True)
    loss = layer(x).sum()
    give_gradients(layer.parameters(), generator())
    optimizer.step()
    with pytest.raises(GraphError, match="changed in place"):
        loss.backward()


def test_the_step_is_one_event_of_a_trace():
    params = parameters()
    optimizer = optim.AdamW(params)
    give_gradients(params, generator())
    with tg.trace.record() as t:
        optimizer.step()
    assert [(event.phase, event.op) for event in t.events] == [("optimizer", "AdamW")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_moments_of_a_parameter_without_gradient_reach_zero(dtype):
    """They would else stay subnormal, where products are slow, for ever."""
    p = nn.Parameter(generator().normal((50,), dtype))
    optimizer = optim.AdamW([p], betas=(0.5, 0.5))
    p.grad = tg.Tensor(generator(1).normal((50,), dtype))
    optimizer.step()
    p.grad = tg.Tensor(np.zeros(50, dtype))
    tiny, smallest = np.finfo(dtype).tiny, []
    for _ in range(1500):
        optimizer.step()
        moments = optimizer.state_dict()["parameters"]["0"]
        smallest += [abs(np.asarray(moments[name])) for name in ("m", "v")]
    assert not any(((x > 0) & (x < tiny)).any() for x in smallest)
    assert not smallest[-1].any()
    assert not smallest[-2].any()


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: optim.SGD([]), "empty"),
        (lambda p: optim.SGD(p[0]), "in a list"),
        (lambda p: optim.SGD([("name", p[0])]), "parameter 0 of a group is tuple"),
        (lambda p: optim.SGD([p[0] * 2]), "leaf"),
        (lambda p: optim.SGD([tg.tensor([1, 2])]), "int64"),
        (lambda p: optim.SGD([p[0], p[1], p[0]]), "given twice"),
        (lambda p: optim.SGD([{"params": p}, {"params": p[:1]}]), "given twice"),
        (lambda p: optim.SGD([{"params": p[:1]}, p[1]]), "not both"),
        (lambda p: optim.SGD([{"params": p, "learning_rate": 1}]), "learning_rate"),
        (lambda p: optim.SGD([{"lr": 1.0}]), "needs 'params'"),
        (lambda p: optim.SGD(p, lr=math.nan), "lr is nan"),
        (lambda p: optim.SGD(p, lr=math.inf), "lr is inf"),
        (lambda p: optim.SGD(p, lr=-1.0), "lr is -1"),
        (lambda p: optim.SGD(p, momentum=1.0), "momentum is 1"),
        (lambda p: optim.SGD(p, nesterov=True), "momentum > 0"),
        (lambda p: optim.SGD(p, lr="a"), "lr is 'a'"),
        (lambda p: optim.SGD(p, momentum=0.9, nesterov="yes"), "nesterov is 'yes'"),
        (lambda p: optim.SGD(p).step("a"), "lr_factor is 'a'"),
        (lambda p: optim.AdamW(p, betas=(0.9, 1.0)), "betas"),
        (lambda p: optim.AdamW(p, betas=0.9), r"two numbers, not 0\.9"),
        (lambda p: optim.AdamW([{"params": p, "betas": (0.9,)}]), "two numbers"),
        (lambda p: optim.Muon(p[:1], iterations=-1), "iterations is -1"),
        (lambda p: optim.Muon(p[:1], iterations=2.5), r"iterations is 2\.5"),
        (lambda p: optim.Muon(p[:1], iterations="a"), "iterations is 'a'"),
        (lambda p: optim.AdamW(p, eps=-1e-8), "eps"),
        (lambda p: optim.AdamW(p, weight_decay=math.nan), "weight_decay"),
        (lambda p: optim.Muon(p), "matrices"),
        (lambda p: optim.Muon(p[:1], rest=optim.SGD(p)), "`rest`"),
    ],
)
def test_bad_requests_are_explained(call, message):
    with pytest.raises(UsageError, match=message):
        call(parameters())


def test_a_gradient_of_another_shape_or_dtype_is_refused_before_anything_moves():
    params = parameters()
    optimizer = optim.SGD(params, lr=1.0)
    before = [p.data.copy() for p in params]
    for wrong in (np.ones((4, 3)), np.ones(5, np.float32)):
        give_gradients(params, generator())
        params[1].grad = tg.Tensor(wrong)
        with pytest.raises(ShapeError, match=r"\.grad that is"):
            optimizer.step()
    assert all(np.array_equal(p.data, b) for p, b in zip(params, before, strict=True))
