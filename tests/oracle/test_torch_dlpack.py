"""DLPack with PyTorch: one memory on both sides, and its refusals told in a sentence."""

import gc

import numpy as np
import pytest

import tinygen as tg
from tinygen.errors import InterchangeError

torch = pytest.importorskip("torch")

DTYPES = ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"]
LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T,
    "steps": lambda x: x[1::2, ::3],
    "a column": lambda x: x[:, 2],
    "no axes": lambda x: x[1, 2],
    "nothing": lambda x: x[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_memory_both_ways(dtype: str, layout: str) -> None:
    view = LAYOUTS[layout]
    base = torch.arange(24).reshape(4, 6).to(getattr(torch, dtype))
    ours, theirs = tg.from_dlpack(view(base)), view(base)
    assert (ours.shape, ours.dtype.name) == (tuple(theirs.shape), dtype)
    again = torch.from_dlpack(ours)
    assert (again.dtype, again.shape) == (theirs.dtype, theirs.shape)
    assert ours.size < 2 or again.stride() == theirs.stride()
    assert again.numel() == 0 or again.data_ptr() == theirs.data_ptr()
    base[...] = 1 - base.bool().to(torch.int64)  # seen on all sides
    assert torch.equal(again, theirs)
    assert ours.tolist() == theirs.tolist()
    if theirs.numel():
        ours.data[...] = 1
        assert bool((theirs == 1).all())


def test_a_parameter_that_their_optimiser_trains() -> None:
    layer = torch.nn.Linear(3, 2, bias=False)
    weight = tg.from_dlpack(layer.weight.detach())
    x = np.ones((1, 3), np.float32)
    before = tg.ops.linear(x, weight).numpy()
    layer(torch.from_numpy(x)).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    np.testing.assert_allclose(tg.ops.linear(x, weight).numpy(), before - 1.5, rtol=1e-5)


def test_the_producer_may_go() -> None:
    theirs = torch.from_dlpack(tg.arange(1000))
    ours = tg.from_dlpack(torch.arange(1000))
    gc.collect()
    for _ in range(3):  # would be written over
        np.full(1000, -1), torch.full((1000,), -1)
    assert theirs.tolist() == ours.tolist() == list(range(1000))


def test_negative_strides_do_not_end_the_process() -> None:
    x = tg.Tensor(np.arange(6.0)[::-1])
    assert torch.from_dlpack(x).tolist() == [5, 4, 3, 2, 1, 0]


def test_refusals() -> None:
    with pytest.raises(InterchangeError, match=r"Tensor cannot be shared.*detach"):
        tg.from_dlpack(torch.ones(3, requires_grad=True))
    with pytest.raises(BufferError, match=r"x\.detach\(\)"):
        torch.from_dlpack(tg.ones(3).requires_grad_())
    with pytest.raises(InterchangeError, match=r"Tensor cannot be shared.*dtype"):
        tg.from_dlpack(torch.ones(3, dtype=torch.bfloat16))
    with pytest.raises(InterchangeError, match=r"Tensor cannot be shared.*strided"):
        tg.from_dlpack(torch.ones(3).to_sparse())
    with pytest.raises(InterchangeError, match=r'"sim".*x\.to\("cpu"\)'):
        torch.from_dlpack(tg.ones(3, device="sim"))
