"""The state of optimisers: saved, loaded, copied; what is damaged or another's is refused."""

import copy
import json

import numpy as np
import pytest
from every_optimizer import generator, give_gradients, parameters

import tinygen as tg
from tinygen import nn, optim
from tinygen.errors import CheckpointError


def test_saved_and_loaded_training_goes_on_bit_for_bit(make):
    params = parameters("float32")
    optimizer = make(params)
    rng = generator()
    for _ in range(3):
        give_gradients(params, rng)
        optimizer.step()
    state = optimizer.state_dict()
    values, position = [p.data.copy() for p in params], rng.state_dict()

    def split(entry):  # as a checkpoint does: arrays apart, the rest through JSON
        if isinstance(entry, dict):
            return {k: split(v) for k, v in entry.items()}
        return entry if isinstance(entry, np.ndarray) else json.loads(json.dumps(entry))

    state = split(state)
    for _ in range(3):
        give_gradients(params, rng)
        optimizer.step()

    others = [nn.Parameter(v) for v in values]
    resumed = make(others)
    resumed.groups[0]["lr"] = 123.0
    resumed.load_state_dict(state)
    rng.load_state_dict(position)
    for _ in range(3):
        give_gradients(others, rng)
        resumed.step()
    assert all(np.array_equal(p.data, o.data) for p, o in zip(params, others, strict=True))
    assert resumed.groups[0].keys() == optimizer.groups[0].keys()
    assert resumed.groups[0]["lr"] == optimizer.groups[0]["lr"]


def test_sgd_without_momentum_keeps_none_and_forgets_an_infinite_gradient():
    (p,) = parameters()[1:2]
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = tg.Tensor(np.full(5, np.inf))
    optimizer.step()
    p.data[...] = 1.0
    p.grad = tg.Tensor(np.full(5, 0.25))
    optimizer.step()
    assert p.tolist() == [0.75] * 5
    assert optimizer.state_dict()["parameters"]["0"].keys() == {"step"}


def test_momentum_may_be_switched_on_later_and_belongs_to_the_state_then():
    (p,), (q,) = parameters()[1:2], parameters()[1:2]
    optimizer, reference = optim.SGD([p], lr=0.5), optim.SGD([q], lr=0.5, momentum=0.5)
    optimizer.groups[0]["momentum"] = 0.5
    for _ in range(2):
        p.grad = q.grad = tg.Tensor(np.full(5, 0.25))
        optimizer.step()
        reference.step()
    assert np.array_equal(p.data, q.data)
    resumed = optim.SGD([nn.Parameter(p.data)], lr=0.5)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.state_dict()["parameters"]["0"]["momentum"].tolist() == [0.375] * 5


def test_settings_may_be_numpys_numbers():
    optimizer = optim.AdamW(parameters(), lr=np.float32(0.5), betas=[np.float64(0.5), 0.75])
    json.dumps(optimizer.state_dict()["groups"])
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.groups[0]["betas"] == (0.5, 0.75)


def test_a_model_and_its_optimizer_can_be_deep_copied():
    model = nn.Linear(2, 2, rng=generator())
    optimizer = optim.AdamW(model.parameters(), lr=0.1)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    for m, o in ((model, optimizer), (twin, twin_optimizer)):
        give_gradients(m.parameters(), generator())
        o.step()
    assert np.array_equal(model.weight.data, twin.weight.data)
    twin.weight.data[...] = 0
    assert model.weight.data.any()


# ---- states that are refused ---------------------------------------------------------------------


def test_a_state_of_other_parameters_is_refused_and_changes_nothing():
    params = parameters()
    optimizer = optim.AdamW(params)
    give_gradients(params, generator())
    optimizer.step()
    before = optimizer.state_dict()
    wrong = optimizer.state_dict()
    wrong["parameters"]["0"]["m"] = np.ones((4, 3))
    del wrong["parameters"]["1"]["v"]
    for state, message in [
        (wrong, r"parameter 0 .*\(4, 3\).*parameter 1"),
        (optim.SGD(params).state_dict(), "state of SGD; group 0 has the settings lr, momentum"),
        (optim.Adam(params, weight_decay=0.01).state_dict(), "state of Adam"),
        (optim.SGD(params, momentum=0.9).state_dict(), "state of SGD"),
        (optim.AdamW(params[:2]).state_dict(), "it has 2 parameters"),
        ({"kind": "AdamW", "groups": {}, "parameters": {}}, "it has 0 groups"),
        ({}, "not the state of an optimiser"),
        ({"kind": "AdamW", "groups": [1], "parameters": {}}, "not the state of an optimiser"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["groups"] == before["groups"]
    for i, entry in after["parameters"].items():
        assert all(np.array_equal(entry[k], before["parameters"][i][k]) for k in entry)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("groups", "0", "lr"), -1, "group 0 cannot be.*lr is -1"),
        (("groups", "0", "lr"), "a", "group 0 cannot be.*lr is 'a'"),
        (("groups", "0", "betas"), [0.9], r"betas are two numbers, not \(0\.9,\)"),
        (("groups", "0", "betas"), ["a", 0.9], "betas is"),
        (("parameters", "1", "step"), -5, "parameter 1 cannot be: step is -5"),
        (("parameters", "1", "step"), 1.5, r"step is 1\.5"),
        (("parameters", "1", "step"), "a", "step is 'a'"),
        (("parameters", "1", "m"), ["a"] * 5, "parameter 1 m is <U1"),
        (("parameters", "1", "v"), [[1.0], [1.0, 2.0]], "parameter 1 v is no array"),
        (("parameters", "1", "v"), -np.ones(5), "v has negative numbers"),
    ],
)
def test_a_state_of_what_cannot_be_is_damage(place, value, message):
    params = parameters()
    optimizer = optim.AdamW(params, lr=0.25)
    state = optimizer.state_dict()
    *path, name = place
    inner = state
    for key in path:
        inner = inner[key]
    inner[name] = value
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(state)
    assert optimizer.groups[0]["lr"] == 0.25


def test_a_muon_with_and_one_without_the_rest_have_other_states():
    params = parameters()
    alone, both = optim.Muon(params[:1]), optim.Muon(params[:1], rest=optim.SGD(params[1:2]))
    with pytest.raises(CheckpointError, match="has one and this Muon none"):
        alone.load_state_dict(both.state_dict())
    with pytest.raises(CheckpointError, match="has none and this Muon one"):
        both.load_state_dict(alone.state_dict())
