"""DLPack with NumPy: shared memory both ways, what is copied, what is refused, and who keeps the
memory alive. With PyTorch: tests/oracle/test_torch_dlpack.py."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen.errors import DeviceError, DtypeError, InterchangeError, UnavailableError

DTYPES = ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"]
LAYOUTS: dict[str, Any] = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "steps": lambda a: a[1::2, ::3],
    "a column": lambda a: a[:, 2],
    "no axes": lambda a: a[1, 2],
    "broadcast": lambda a: np.broadcast_to(a[0], (3, 6)),
    "nothing": lambda a: a[:0],
    "an axis of one": lambda a: a[:1],
}


def values(dtype: str) -> np.ndarray[Any, Any]:
    return (np.arange(24).reshape(4, 6) % 5).astype(dtype)


class Exporter:
    """An array of another library: what it says of its device, what it was asked, what it gives."""

    def __init__(self, array: Any, place: tuple[int, int] = (1, 0), old: bool = False) -> None:
        self.array, self.place, self.old, self.asked = array, place, old, {}

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, **asked: Any) -> Any:
        self.asked = asked
        if self.old and asked.keys() - {"stream"}:
            raise TypeError("unexpected keyword argument")
        return self.array.__dlpack__()


# ---- memory that is shared -----------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_and_a_tensor_have_one_memory(dtype: str, layout: str) -> None:
    base = values(dtype)
    theirs = np.asarray(LAYOUTS[layout](base))
    ours = tg.from_dlpack(theirs)
    again = np.from_dlpack(ours)
    for seen in (ours.data, again):
        assert (seen.shape, seen.dtype) == (theirs.shape, theirs.dtype)
        assert seen.strides == theirs.strides or theirs.size < 2 or 1 in theirs.shape
        assert theirs.size == 0 or np.shares_memory(seen, theirs)
    base[...] = 1 - values(dtype).astype(bool)  # seen on all sides
    for seen in (ours.numpy(), again):
        np.testing.assert_array_equal(seen, theirs)


def test_what_one_side_writes_the_other_reads() -> None:
    ours = tg.zeros((2, 3))
    theirs = np.from_dlpack(ours)
    theirs[1, 2] = 5
    assert ours.tolist() == [[0, 0, 0], [0, 0, 5]]
    ours.data[0, 0] = 7
    assert theirs[0, 0] == 7


def test_the_memory_lives_as_long_as_anybody_reads_it() -> None:
    class Owner(np.ndarray):
        """An array that can be watched."""

    for exchange in (tg.from_dlpack, lambda a: np.from_dlpack(tg.from_dlpack(a))):
        theirs = np.arange(1000.0).view(Owner)
        gone = weakref.ref(theirs)
        kept = exchange(theirs)
        del theirs
        gc.collect()
        assert gone() is not None
        np.testing.assert_array_equal(np.asarray(kept), np.arange(1000.0))
        del kept
        gc.collect()
        assert gone() is None


def test_a_tensor_of_ones_own() -> None:
    x = tg.ones(3)
    assert np.shares_memory(tg.from_dlpack(x).data, x.data)
    there = x.to("sim")
    y = tg.from_dlpack(there)
    y.data[0] = 9
    assert there.tolist() == [9, 1, 1]
    assert tg.from_dlpack(there, copy=True).data is not there.data


# ---- copies --------------------------------------------------------------------------------------


def test_copy_says_whether_memory_is_shared() -> None:
    theirs = np.ones(3, np.float32)
    for copy in (None, False):
        assert np.shares_memory(tg.from_dlpack(theirs, copy=copy).data, theirs)
    assert not np.shares_memory(tg.from_dlpack(theirs, copy=True).data, theirs)
    assert not np.shares_memory(tg.from_dlpack(Exporter(theirs, old=True), copy=True).data, theirs)
    x = tg.tensor(theirs)
    assert np.shares_memory(np.from_dlpack(x, copy=False), x.data)
    assert not np.shares_memory(np.from_dlpack(x, copy=True), x.data)


def test_negative_strides_are_copied() -> None:
    """PyTorch would end the process."""
    x = tg.Tensor(np.arange(6.0).reshape(2, 3)[::-1, ::-1])
    seen = np.from_dlpack(x)
    np.testing.assert_array_equal(seen, x.numpy())
    assert not np.shares_memory(seen, x.data)
    assert min(seen.strides) > 0
    with pytest.raises(InterchangeError, match=r"negative strides, \(-24, -8\).*copy=False"):
        np.from_dlpack(x, copy=False)
    ours = tg.from_dlpack(x.data)  # NumPy's may have them
    assert np.shares_memory(ours.data, x.data)


def test_who_reads_only_is_told() -> None:
    """By a flag of DLPack 1.0; what is older and could not see it gets a copy."""
    constant = np.arange(3.0)
    constant.flags.writeable = False
    x = tg.from_dlpack(constant)
    assert not x.data.flags.writeable
    assert not np.from_dlpack(x).flags.writeable
    assert "versioned" in repr(x.__dlpack__(max_version=(1, 1)))
    old = np.from_dlpack(Exporter(x))  # asks without a version
    assert not np.shares_memory(old, constant)
    np.testing.assert_array_equal(old, constant)
    with pytest.raises(InterchangeError, match=r"read-only.*1\.0.*copy=False"):
        x.__dlpack__(copy=False)


def test_versions() -> None:
    x = tg.ones(3)
    assert "dltensor_versioned" in repr(x.__dlpack__(max_version=(1, 0)))
    for old in (None, (0, 8)):
        assert "versioned" not in repr(x.__dlpack__(max_version=old))


# ---- devices -------------------------------------------------------------------------------------


def test_a_device_is_exported_as_a_gpu_is() -> None:
    """In place to nobody but its own library, as a copy to the CPU."""
    x = tg.arange(3, device="sim")
    assert (x.__dlpack_device__(), tg.ones(3).__dlpack_device__()) == ((12, 0), (1, 0))
    seen = np.from_dlpack(x, device="cpu")
    np.testing.assert_array_equal(seen, [0, 1, 2])
    seen[0] = 9
    assert x.tolist() == [0, 1, 2]
    with pytest.raises(InterchangeError, match=r'"sim".*device="cpu"'):
        np.from_dlpack(x)
    with pytest.raises(InterchangeError, match=r"another device.*copy=False"):
        np.from_dlpack(x, device="cpu", copy=False)
    with pytest.raises(InterchangeError, match=r"'sim'.*\(1, 0\).*not to \(2, 0\).*x\.to"):
        x.__dlpack__(dl_device=(2, 0))


def test_an_array_goes_to_the_device_that_is_asked_for() -> None:
    theirs = np.arange(3.0)
    ours = tg.from_dlpack(theirs, device="sim")
    assert (ours.device, ours.tolist()) == ("sim", [0, 1, 2])
    assert tg.from_dlpack(ours, device="cpu").device == "cpu"
    assert tg.from_dlpack(ours).device == "sim"
    for x, device in ((theirs, "sim"), (ours, "cpu")):
        with pytest.raises(InterchangeError, match=r"from '\w+' to '\w+'.*copy=False"):
            tg.from_dlpack(x, device=device, copy=False)
    for unknown in ("gpu", "sim:1"):
        with pytest.raises(DeviceError, match="unknown device"):
            tg.from_dlpack(theirs, device=unknown)


def test_devices_out_of_reach() -> None:
    with pytest.raises(UnavailableError, match="cuda:7"):
        tg.from_dlpack(Exporter(np.ones(3), (2, 7)))
    with pytest.raises(DeviceError, match=r"type 8.*to the CPU"):
        tg.from_dlpack(Exporter(np.ones(3), (8, 0)))
    with pytest.raises(DeviceError, match=r'not tinygen\'s "sim"'):
        tg.from_dlpack(Exporter(np.ones(3), (12, 0)))
    pinned = tg.from_dlpack(Exporter(np.ones(3), (3, 0)))
    assert (pinned.device, pinned.tolist()) == ("cpu", [1, 1, 1])


# ---- what may not be -----------------------------------------------------------------------------


def test_no_gradient_is_lost() -> None:
    x = tg.ones(3).requires_grad_()
    for refused in (np.from_dlpack, tg.from_dlpack):
        for tensor in (x, x * 2):
            with pytest.raises(InterchangeError, match=r"x\.detach\(\)"):
                refused(tensor)
            assert np.shares_memory(refused(tensor.detach()).data, tensor.data)
    assert issubclass(InterchangeError, BufferError)  # which the standard asks for


def test_what_cannot_be_shared_is_said_in_a_sentence() -> None:
    for nothing in ([1.0], 3, None, np.ones(3).__dlpack__()):
        with pytest.raises(DtypeError, match=r"speaks DLPack, not \w+.*tg\.tensor"):
            tg.from_dlpack(nothing)
    with pytest.raises(DtypeError, match="not complex64"):
        tg.from_dlpack(np.ones(3, np.complex64))
    with pytest.raises(InterchangeError, match=r"ndarray cannot be shared.*byte order"):
        tg.from_dlpack(np.ones(3, ">f8"))
    with pytest.raises(InterchangeError, match=r"float64 cannot be exported.*stream"):
        tg.ones(3, dtype="float64").__dlpack__(stream=2)
