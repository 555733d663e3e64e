"""A module that computes in another precision than that of its parameters."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.errors import DtypeError
from tinygen.models.transformer import GPT, GPTConfig


def gpt() -> GPT:
    return GPT(GPTConfig(13, 8, 2, 2, 16), rng=tg.random.Generator(0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_loss_and_gradients_are_those_of_rounded_parameters(dtype: str) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    tokens = np.random.default_rng(0).integers(0, 13, (2, 9))
    model, rounded = gpt(), gpt()
    for p in rounded.parameters():
        p.data[...] = ops.astype(ops.astype(p.detach(), dtype), "float32").numpy()
    before = model.state_dict()
    with nn.computing_in(model, dtype):
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    assert str(loss.dtype) == dtype
    loss.backward()
    wanted = rounded.loss(tokens[:, :-1], tokens[:, 1:])
    wanted.backward()
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    assert abs(float(ops.astype(loss, "float32").item()) / wanted.item() - 1) <= 4 * unit
    for (name, p), q in zip(model.named_parameters(), rounded.parameters(), strict=True):
        assert (p.dtype, p.grad.dtype) == (np.dtype("float32"),) * 2
        scale = np.abs(q.grad.numpy()).max()
        assert np.abs(p.grad.numpy() - q.grad.numpy()).max() <= 64 * unit * scale, name
        np.testing.assert_array_equal(p.numpy(), before[name])


def test_tied_parameters_are_rounded_once_and_everything_comes_back() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.first = nn.Parameter(tg.ones((2, 2)))
            self.second = self.first
            self.whole = nn.Parameter(np.ones(2))
            self.kept = nn.Buffer(tg.ones(2))

    model = Tied()
    inside = dict(vars(model))
    with pytest.raises(RuntimeError, match="stop"), nn.computing_in(model, "float16"):  # noqa: PT012
        assert model.first is model.second
        assert (model.first.dtype, model.kept.dtype) == (np.float16, np.float32)
        assert model.whole.dtype == np.float16
        assert model.parameters() == []
        raise RuntimeError("stop")
    assert vars(model) == inside
    with nn.computing_in(model, "float64"):
        assert model.whole is inside["whole"]


def test_what_is_no_dtype_of_floats() -> None:
    with pytest.raises(DtypeError, match="computing_in"), nn.computing_in(gpt(), "int32"):
        pass
