"""A call that cannot be gets one documented error with a sentence: never NumPy's own, never a
result."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import TinygenError
from tinygen.random import Generator

x = np.ones((2, 3), np.float32)
v = np.ones(3, np.float32)
heads = np.ones((1, 2, 3, 4), np.float32)
NOTHING, WORD, PAIR = None, "word", np.array([1.0, 2.0])

CALLS = {
    "softmax axis None": lambda: ops.softmax(x, axis=NOTHING),
    "softmax axis word": lambda: ops.softmax(x, axis=WORD),
    "log_softmax axis array": lambda: ops.log_softmax(x, axis=PAIR),
    "categorical_kl axis": lambda: ops.categorical_kl(x, axis=NOTHING),
    "softmax of nothing": lambda: ops.softmax(NOTHING),
    "attention of nothing": lambda: ops.attention(NOTHING, heads, heads),
    "attention scale": lambda: ops.attention(heads, heads, heads, scale=WORD),
    "attention window": lambda: ops.attention(heads, heads, heads, window=WORD),
    "attention window NaN": lambda: ops.attention(heads, heads, heads, window=math.nan),
    "packed_attention heads": lambda: ops.packed_attention(np.ones((1, 2, 6), "f4"), NOTHING),
    "packed_attention of nothing": lambda: ops.packed_attention(NOTHING, 1),
    "layer_norm of nothing": lambda: ops.layer_norm(NOTHING),
    "layer_norm eps": lambda: ops.layer_norm(x, eps=NOTHING),
    "rms_norm eps": lambda: ops.rms_norm(x, eps=WORD),
    "linear without weight": lambda: ops.linear(x, NOTHING),
    "linear activation array": lambda: ops.linear(x, np.ones((4, 3), "f4"), activation=PAIR),
    "cross_entropy of nothing": lambda: ops.cross_entropy(NOTHING, np.array([0])),
    "cross_entropy smoothing": lambda: ops.cross_entropy(
        x, np.array([0, 1]), label_smoothing=NOTHING
    ),
    "cross_entropy z_loss": lambda: ops.cross_entropy(x, np.array([0, 1]), z_loss=""),
    "cross_entropy reduction": lambda: ops.cross_entropy(x, np.array([0, 1]), reduction=PAIR),
    "cross_entropy ignore_index": lambda: ops.cross_entropy(x, np.array([0, 1]), ignore_index=0.5),
    "mse_loss of nothing": lambda: ops.mse_loss(NOTHING, x),
    "gaussian_kl of nothing": lambda: ops.gaussian_kl(NOTHING, x),
    "huber_loss delta": lambda: ops.huber_loss(x, x, delta=NOTHING),
    "dropout p": lambda: ops.dropout(x, NOTHING, rng=Generator(0)),
    "dropout rng": lambda: ops.dropout(x, 0.5, rng=WORD),
    "dropout mask of floats": lambda: ops.dropout(x, 0.5, mask=np.ones((2, 3))),
    "dropout mask list": lambda: ops.dropout(x, 0.5, mask=[[True] * 3] * 2),
    "rope of nothing": lambda: ops.rope(NOTHING),
    "rope base": lambda: ops.rope(np.ones((2, 4), "f4"), base=NOTHING),
    "scatter_add axis": lambda: ops.scatter_add(v, np.array([0]), v[:1], axis=NOTHING),
    "take_along_axis number": lambda: ops.take_along_axis(v, 1, 0),
    "concat of nothing": lambda: ops.concat(NOTHING),
    "stack of a number": lambda: ops.stack(3),
    "roll by a fraction": lambda: ops.roll(v, 2.5),
    "pad with nothing": lambda: ops.pad(v, 1, NOTHING),
    "gelu approximate array": lambda: ops.gelu(v, PAIR),
    "norm ord array": lambda: ops.norm(v, PAIR),
    "norm ord word": lambda: ops.norm(v, WORD),
    "arange step array": lambda: ops.arange(0, 3, PAIR),
    "zeros of bytes": lambda: tg.zeros(b"ab"),
    "one_hot of objects": lambda: ops.one_hot(np.array([0]), 2, dtype=object),
    "one_hot of text": lambda: ops.one_hot(np.array([0]), 2, dtype="U3"),
    "cumsum axis word": lambda: ops.cumsum(x, ""),
    "logical_and nothing": lambda: ops.logical_and(x, NOTHING),
    "var correction": lambda: ops.var(x, correction=1j),
    "leaky_relu slope": lambda: ops.leaky_relu(v, WORD),
    "a masked array": lambda: ops.sum(np.ma.array([1.0, 2.0], mask=[0, 1])),
    "grad of nothing": lambda: tg.grad(NOTHING, tg.tensor(v)),
    "grad of a number": lambda: tg.grad(3, tg.tensor(v)),
    "tensor of an unknown dtype": lambda: tg.tensor(1.0, dtype="abc"),
    "NaN as an integer": lambda: tg.tensor(np.array([math.nan]), dtype="int64"),
    "an index of floats": lambda: list(range(9))[tg.tensor(1.0) :],
    "and of floats": lambda: tg.tensor(v) & tg.tensor(v),
    "not of integers": lambda: ~tg.tensor(np.array([1])),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_what_cannot_be_is_a_documented_error(call) -> None:
    with pytest.raises(TinygenError, match=r"\w+ \w+"):
        call()


def test_numpys_own_numbers_are_numbers() -> None:
    targets = np.array([0, -100])
    assert float(ops.cross_entropy(x, targets, ignore_index=np.int64(-100))) > 0
    assert ops.leaky_relu(v, np.float32(0.1)).dtype == np.float32
    assert ops.attention(heads, heads, heads, window=np.int64(2)).shape == heads.shape
    assert ops.one_hot(np.array([1]), np.int32(3)).shape == (1, 3)
    assert ops.softmax(x, axis=np.int64(0)).shape == x.shape


def test_a_power_of_booleans_counts() -> None:
    assert ops.power(np.array([True, False]), 2).dtype == np.power(np.array([True]), 2).dtype
