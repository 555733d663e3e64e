"""The Tensor: an array and its place in the graph.

Every operator and method is a one-line call of the op in `tinygen.ops` that it stands for, so the
ops are where to read what happens. A Tensor is *elementwise* for `==` and is hashed by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygen.arguments import FLOATS
from tinygen.backend import Array, backend_named, backend_of, dlpack, raw
from tinygen.errors import DtypeError, GraphError, InterchangeError, ShapeError


class Tensor:
    """An array that remembers how it was computed.

    `data` is the raw array; `grad` a Tensor, filled by `backward()`, or None; `node` and `index`
    say which output of which `Function` it is (None for a leaf); `updates` counts in-place changes,
    in a list of one number that all views of the same memory share.
    """

    __slots__ = (
        "__weakref__",
        "data",
        "grad",
        "hooks",
        "index",
        "node",
        "requires_grad",
        "updates",
    )

    data: Array
    requires_grad: bool
    grad: Tensor | None
    node: Any
    index: int
    updates: list[int]
    hooks: list[Callable[[Tensor], Tensor | None]] | None

    __array_ufunc__ = None  # ndarray * Tensor comes to us instead of making an object array

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = raw(data)
        if not hasattr(self.data, "dtype"):
            raise DtypeError("Tensor wraps an array; for Python numbers use tg.tensor(value).")
        self.grad = self.node = self.hooks = None
        self.index = 0
        self.updates = [0]
        self.requires_grad = False
        if requires_grad:
            self.requires_grad_()

    # ---- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def device(self) -> str:
        return device_of(self)

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    @property
    def version(self) -> int:
        """How often the data were changed in place; whoever does it adds one."""
        return self.updates[0]

    @version.setter
    def version(self, count: int) -> None:
        self.updates[0] = count

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("a tensor without axes has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=64)
        place = "" if self.device == "cpu" else f", device={self.device!r}"
        if self.node is not None:
            place += f", from={type(self.node).__name__}"
        elif self.requires_grad:
            place += ", requires_grad=True"
        return f"tensor({values}, dtype={self.dtype}{place})"

    # ---- its value

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: no copy on the CPU, read-only if a gradient is required."""
        array = backend_of([self.data]).to_numpy(self.data)
        if self.requires_grad:
            array = array.view()
            array.flags.writeable = False
        return array

    def item(self) -> Any:
        """The one element, as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item() needs one element, and this tensor has shape {self.shape}.")
        return self.numpy().item()

    def tolist(self) -> Any:
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.requires_grad:
            raise GraphError(
                "NumPy would lose the gradient of this tensor. Use an op of tg.ops, or say so "
                "with x.detach()."
            )
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule by which another library reads and writes this tensor's memory, as the array
        API standard has it; what it writes is not counted in `version`. See `backend/dlpack.py`.

        Raises InterchangeError if a gradient is required, or if it cannot be shared as asked.
        """
        return dlpack.exported(
            self.array_to_share(),
            stream=stream,
            max_version=max_version,
            dl_device=dl_device,
            copy=copy,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's type and number of the device: (1, 0) is the CPU, (2, 0) "cuda:0"; "sim" is
        (12, 0), an extension."""
        place: tuple[int, int] = self.data.__dlpack_device__()
        return place

    def array_to_share(self) -> Array:
        """The array, if nobody asks for its gradient."""
        if self.requires_grad:
            raise InterchangeError(
                "DLPack would lose the gradient of this tensor; say so with x.detach()."
            )
        return self.data

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: use .any() or .all()."
            )
        return bool(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DtypeError(f"only an integer tensor can count or index, not {self.dtype}.")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    # ---- its place in the graph

    def detach(self) -> Tensor:
        """The same data, outside the graph."""
        detached = Tensor(self.data)
        detached.updates = self.updates
        return detached

    def clone(self) -> Tensor:
        """A copy of the data, inside the graph."""
        return ops.copy(self)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask (or cease to ask) for this leaf's gradient."""
        if self.node is not None:
            raise GraphError("requires_grad of a computed tensor follows its inputs; detach() it.")
        if requires_grad and self.dtype.kind not in FLOATS:
            raise DtypeError(f"only a floating-point tensor has a gradient, not {self.dtype}.")
        self.requires_grad = requires_grad
        return self

    def backward(
        self,
        grad: Tensor | Array | None = None,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        """Add the gradient of this tensor to the `.grad` of every leaf it depends on."""
        autograd.backward(self, grad, create_graph=create_graph, retain_graph=retain_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` when this tensor's whole gradient is known; what it returns, if
        anything, takes its place. Returns a function that removes the hook."""
        if not self.requires_grad:
            raise GraphError("this tensor requires no gradient, so its hook would never be called.")
        if self.node is None:
            self.hooks = hooks = self.hooks or []
        else:
            self.node.hooks = self.node.hooks or {}
            hooks = self.node.hooks.setdefault(self.index, [])
        hooks.append(hook)

        def remove() -> None:
            if hook in hooks:
                hooks.remove(hook)

        return remove

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise GraphError("a computed tensor cannot be deep-copied; detach() or clone() it.")
        copied = type(self)(self.data.copy(), self.requires_grad)
        memo[id(self)] = copied
        if self.grad is not None:
            copied.grad = Tensor(self.grad.data.copy())
        return copied

    # ---- conversion

    def astype(self, dtype: Any) -> Tensor:
        return ops.astype(self, dtype)

    def to(self, device: str | None = None, dtype: Any = None) -> Tensor:
        """This tensor on `device` and of `dtype`; itself if it already is.

        The gradient comes back to where this tensor is. Raises DeviceError for a device that does
        not exist, UnavailableError for one that this machine lacks.
        """
        moved = self
        if device is not None and backend_named(device).name != self.device:
            moved = ops.casting.ToDevice.apply(self, device=device)
        converted = moved if dtype is None else ops.astype(moved, dtype)
        return moved if converted.dtype == self.dtype else converted

    # ---- operators

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __and__(self, other: Any) -> Tensor:
        return ops.logical_and(_truth(self), _truth(other))

    def __or__(self, other: Any) -> Tensor:
        return ops.logical_or(_truth(self), _truth(other))

    def __xor__(self, other: Any) -> Tensor:
        return ops.logical_xor(_truth(self), _truth(other))

    def __invert__(self) -> Tensor:
        return ops.logical_not(_truth(self))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __pos__(self) -> Tensor:
        return self

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]  # elementwise, as NumPy's
        return ops.equal(self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.greater_equal(self, other)

    __hash__ = object.__hash__

    # ---- methods of the same name as their op

    def exp(self) -> Tensor:
        return ops.exp(self)

    def expm1(self) -> Tensor:
        return ops.expm1(self)

    def log(self) -> Tensor:
        return ops.log(self)

    def log1p(self) -> Tensor:
        return ops.log1p(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def rsqrt(self) -> Tensor:
        return ops.rsqrt(self)

    def square(self) -> Tensor:
        return ops.square(self)

    def abs(self) -> Tensor:
        return ops.abs(self)

    def sign(self) -> Tensor:
        return ops.sign(self)

    def sin(self) -> Tensor:
        return ops.sin(self)

    def cos(self) -> Tensor:
        return ops.cos(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def erf(self) -> Tensor:
        return ops.erf(self)

    def floor(self) -> Tensor:
        return ops.floor(self)

    def ceil(self) -> Tensor:
        return ops.ceil(self)

    def round(self) -> Tensor:
        return ops.round(self)

    def sigmoid(self) -> Tensor:
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        return ops.relu(self)

    def silu(self) -> Tensor:
        return ops.silu(self)

    def gelu(self, approximate: str = "none") -> Tensor:
        return ops.gelu(self, approximate)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return ops.clip(self, min, max)

    def softmax(self, axis: int = -1) -> Tensor:
        return ops.softmax(self, axis=axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        return ops.log_softmax(self, axis=axis)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        return ops.var(self, axis=axis, keepdims=keepdims, correction=correction)

    def std(self, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        return ops.std(self, axis=axis, keepdims=keepdims, correction=correction)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.min(self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.prod(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.all(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return ops.argmin(self, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.logsumexp(self, axis=axis, keepdims=keepdims)

    def norm(self, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.norm(self, ord, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        return ops.cumsum(self, axis)

    def sort(self, axis: int = -1, descending: bool = False) -> Tensor:
        return ops.sort(self, axis, descending)

    def argsort(self, axis: int = -1, descending: bool = False) -> Tensor:
        return ops.argsort(self, axis, descending)

    def topk(self, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
        return ops.topk(self, k, axis)

    def take(self, indices: Any, axis: int) -> Tensor:
        return ops.take(self, indices, axis)

    def take_along_axis(self, indices: Any, axis: int = -1) -> Tensor:
        return ops.take_along_axis(self, indices, axis)

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def permute_dims(self, *axes: Any) -> Tensor:
        return ops.permute_dims(
            self, axes[0] if len(axes) == 1 and isinstance(axes[0], Sequence) else axes
        )

    def squeeze(self, axis: Axis = None) -> Tensor:
        return ops.squeeze(self, axis)

    def expand_dims(self, axis: int) -> Tensor:
        return ops.expand_dims(self, axis)

    def broadcast_to(self, shape: tuple[int, ...]) -> Tensor:
        return ops.broadcast_to(self, shape)

    def flip(self, axis: Axis = None) -> Tensor:
        return ops.flip(self, axis)

    def split(self, indices_or_sections: Any, axis: int = 0) -> tuple[Tensor, ...]:
        return ops.split(self, indices_or_sections, axis)

    @property
    def T(self) -> Tensor:
        """The axes of a matrix swapped; other ranks have `mT` or `permute_dims`."""
        if self.ndim != 2:
            raise ShapeError(f".T is for matrices, and this has shape {self.shape}: use .mT.")
        return ops.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes swapped."""
        return ops.matrix_transpose(self)


Axis = int | Sequence[int] | None


def plain(x: Any) -> Any:
    """The array of a Tensor, outside the graph; whatever else, as it is."""
    return x.data if isinstance(x, Tensor) else x


def device_of(x: Any) -> str:
    """The name of the device on which a Tensor or an array is."""
    array = plain(x)
    return backend_of([array]).device_of(array)


def as_numpy(x: Any) -> Any:
    """A Tensor, or an array of any device, as a NumPy array outside the graph."""
    array = plain(x)
    return backend_of([array]).to_numpy(array)


def _truth(x: Any) -> Any:
    """x, which `&`, `|`, `^` and `~` take as truths."""
    if not isinstance(x, bool) and getattr(getattr(x, "dtype", None), "kind", "") != "b":
        raise DtypeError(
            f"&, |, ^ and ~ are for booleans, not {getattr(x, 'dtype', type(x).__name__)}. Compare "
            "first: (x > 0) & (y > 0)."
        )
    return x


# The engine, the ops and the Tensor refer to each other; each needs the others only when called.
from tinygen import autograd, ops  # noqa: E402
