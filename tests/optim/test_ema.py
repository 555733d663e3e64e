"""The moving average of a model's weights."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, optim
from tinygen.errors import CheckpointError, UsageError


class Net(nn.Module):
    def __init__(self):
        self.weight = nn.Parameter(np.zeros(3))
        self.tied = self.weight
        self.count = nn.Buffer(np.array(0))


def test_the_average_follows_its_formula():
    net = Net()
    ema = optim.EMA(net, decay=0.75)
    expected = np.zeros(3)
    rng = tg.random.Generator(0)
    for i in range(5):
        net.weight.data[...] = rng.normal(3, "float64")
        net.count.data[...] = i
        ema.update()
        expected = 0.75 * expected + 0.25 * net.weight.data
    state = ema.state_dict()
    assert list(state) == ["weight", "count"]
    assert np.allclose(state["weight"], expected, rtol=1e-14)
    assert state["count"] == 4


def test_swap_puts_the_averages_in_and_the_weights_back_even_after_an_error():
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=1.0)
    ema = optim.EMA(net, decay=0.5)
    net.weight.data[...] = 2
    ema.update()
    array, version = net.weight.data, net.weight.version
    with ema.swap():
        assert net.weight.data is array
        assert net.weight.data.tolist() == [1, 1, 1]
    assert net.weight.data.tolist() == [2, 2, 2]
    assert net.weight.version == version + 2
    with pytest.raises(ZeroDivisionError), ema.swap():
        raise ZeroDivisionError
    assert net.weight.data.tolist() == [2, 2, 2]
    net.weight.grad = tg.Tensor(np.ones(3))
    optimizer.step()
    assert net.weight.data.tolist() == [1, 1, 1]
    assert ema.state_dict()["weight"].tolist() == [1, 1, 1]  # not touched by the step


def test_state_round_trip_and_refusal():
    ema, other = optim.EMA(Net(), 0.5), optim.EMA(Net(), 0.5)
    ema._sources["weight"].data[...] = 5
    ema.update()
    other.load_state_dict(ema.state_dict())
    assert other.state_dict()["weight"].tolist() == [2.5, 2.5, 2.5]
    for wrong in (
        {"weight": np.ones(4), "count": np.array(0)},
        {"weight": np.ones(3)},
        {"weight": ["a", "b", "c"], "count": np.array(0)},
        {"weight": [1.0, [2.0], 3.0], "count": np.array(0)},
        {"weight": np.ones(3), "count": np.array(0.5)},
        {"weight": np.ones(3), "count": np.array(0), "extra": np.ones(3)},
    ):
        with pytest.raises(CheckpointError, match="another model"):
            other.load_state_dict(wrong)
    assert other.state_dict()["weight"].tolist() == [2.5, 2.5, 2.5]


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan"), "a", None])
def test_decay_lies_below_one(decay):
    with pytest.raises(UsageError, match="decay"):
        optim.EMA(Net(), decay)


def test_a_warm_decay_begins_short_and_ends_at_the_decay() -> None:
    decays = [optim.warm_decay(0.99, step) for step in range(2000)]
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[-1] == 0.99
    assert optim.warm_decay(0.05, 0) == 0.05
