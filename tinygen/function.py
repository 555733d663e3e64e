"""An operation and its derivative: `Function`, whose instances are the nodes of the graph.

Applying a Function to Tensors makes an instance, which is at once the context of that application
and a node:

    x ──edge──▶ Multiply #7 ──edge──▶ Sum #8 ──▶ loss        node #n was made after all its inputs

A node keeps raw arrays and *edges*, each a pair (owner, index) that says where an input came from:
output `index` of an earlier node, or a leaf Tensor. It never keeps a Tensor of its own output, so
the graph has no cycles and every buffer is freed as soon as nobody can need it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from tinygen import trace
from tinygen.arguments import FLOATS
from tinygen.backend import (
    CPU,
    Array,
    Backend,
    backend_of,
    in_use,
    of_one_dtype,
    plain_numbers,
    raw,
    require_one_device,
)
from tinygen.errors import DtypeError, GraphError, TinygenError, explained
from tinygen.grad_mode import mode

if TYPE_CHECKING:
    from tinygen.tensor import Tensor

Value: TypeAlias = Any
"""A raw array or a Tensor: what ops take, and what `backward` gets and returns."""

Edge: TypeAlias = "tuple[Function | Tensor, int]"
"""Where a value came from: output `index` of a node, or a leaf Tensor (index 0)."""

serial_numbers = itertools.count()


# ---- operations ----------------------------------------------------------------------------------


class Function:
    """An operation and its derivative. Subclass it to write your own:

        class Cube(tg.Function):
            '''y = x^3;  dx = 3 g x^2.'''

            def forward(self, x):
                self.save(x=x)
                return x * x * x

            def backward(self, g):
                return 3 * g * self.saved.x * self.saved.x

        def cube(x):
            return Cube.apply(x)

    `forward` gets raw arrays, in the order given to `apply`, and the keyword parameters as they
    are; it returns an array or a tuple of arrays. `backward` gets one gradient per output and
    returns one per input (`None` where `self.needs[i]` is false). Write it with operators and
    `tg.ops` functions only and it serves every order of derivative.

    `self.save(name=array)` keeps what `backward` reads, as `self.saved.name`. A name that is also a
    parameter of `forward` means that input; an array that is an output means that output. Anything
    else must not depend on the inputs differentiably (a mask, indices); second order refuses other
    float arrays, since their derivative would be lost. Constants and shapes are plain attributes.
    """

    broadcasts: ClassVar[bool] = False
    """Inputs broadcast against each other: gradients are summed back to each input's shape."""

    promotes: ClassVar[bool] = False
    """Inputs of different dtypes are first cast to their common one (the standard's promotion)."""

    views: ClassVar[bool] = False
    """Outputs may share their input's memory, so that whatever saves an output saves the input."""

    any_dtype: ClassVar[bool] = False
    """`forward` copies or converts numbers and computes none, so that bfloat16 is as good as any;
    every other op without kernels for bfloat16 computes in float32 and rounds its results."""

    rounds_once: ClassVar[bool] = False
    """`forward` is one operation an element, which an array library does for bfloat16 as it would
    be done here: in float32, rounded once."""

    primitives: ClassVar[tuple[str, ...]] = ()
    """What `forward` and `backward` call of the back end, where there is a `reference`: it runs
    instead on a device that does not offer all of these."""

    _input_names: ClassVar[tuple[str, ...]] = ()
    _variadic: ClassVar[bool] = False

    xp: Any
    backend: Backend
    params: dict[str, Any]
    needs: tuple[bool, ...] = ()
    saved: Any = None  # a SimpleNamespace, once something is saved
    edges: tuple[Edge | None, ...] | None = None
    hooks: dict[int, list[Callable[[Tensor], Tensor | None]]] | None = None
    outputs: tuple[tuple[tuple[int, ...], Any, int], ...]
    seen: list[tuple[list[int], int]]
    serial: int
    origin: tuple[str, str] | None = None  # module path and source line, when traced
    forward_flops: int = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        code = cls.forward.__code__
        cls._input_names = code.co_varnames[1 : code.co_argcount]
        cls._variadic = bool(code.co_flags & 0x04)  # CO_VARARGS: forward(self, *arrays)

    def forward(self, *arrays: Array, **params: Any) -> Any:
        raise GraphError(f"{type(self).__name__} does not define forward.")

    def backward(self, *grads: Value) -> Any:
        raise GraphError(f"{type(self).__name__} does not define backward: it has no derivative.")

    @staticmethod
    def reference(*inputs: Value, **params: Any) -> Any:
        """The same in plain ops."""
        raise GraphError("an op with primitives, or a FusedFunction, needs a reference.")

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        """Floating-point operations of `forward`: one per output element unless overridden."""
        return sum(y.size for y in outputs)

    def save(self, **arrays: Any) -> None:
        self.saved = SimpleNamespace(**arrays)

    @classmethod
    def apply(cls, *inputs: Any, **params: Any) -> Any:
        """Run `forward`; record a node if an input requires a gradient. Arrays in, array out;
        any Tensor in, Tensor out."""
        if trace.active is None and of_one_dtype(inputs):
            return cls._apply_to_arrays(inputs, params)
        arrays: list[Array] = []
        edges: list[Edge | None] = []
        any_tensor = recording = mixed = False
        dtype = None
        for x in inputs:
            edge = None
            if isinstance(x, _Tensor):
                any_tensor = True
                if x.requires_grad and mode.recording:
                    recording = True
                    edge = (x, 0) if x.node is None else (x.node, x.index)
                x = x.data
            else:
                x = raw(x)
            arrays.append(x)
            edges.append(edge)
            found = getattr(x, "dtype", dtype)
            mixed = mixed or (dtype is not None and found != dtype)
            dtype = found
        if in_use and len(arrays) > 1:
            names: Iterable[str | int] = itertools.count() if cls._variadic else cls._input_names
            require_one_device(cls.__name__, zip(names, arrays, strict=False))
        if mixed and cls.promotes:
            return cls.apply(*promote(*inputs), **params)

        backend = backend_of(arrays)
        narrow = mixed or (dtype is not None and dtype.kind == "V")
        if narrow and cls._computes_wider(backend, arrays, params):
            return in_float32(cls.apply, inputs, params)
        if backend.partial and not backend.offers(cls.primitives, arrays, params):
            return cls.reference(*inputs, **params)
        node = cls()
        node.params = params = plain_numbers(params) if params else params
        node.backend = backend
        node.xp = backend.xp
        if recording:
            node.needs = tuple([edge is not None for edge in edges])
        try:
            if trace.active is None:
                results = node.forward(*arrays, **params)
            else:
                results = trace.active.forward(node, arrays, params)
        except TinygenError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise explained(cls.__name__, error, arrays) from error

        single = type(results) is not tuple
        outputs = [node._output(y) for y in ([results] if single else results)]
        if not any_tensor:
            return outputs[0] if single else tuple(outputs)
        if recording:
            node._record(inputs, arrays, tuple(edges), outputs)
            outputs = [wrap(y, node, i) for i, y in enumerate(outputs)]
        else:
            outputs = [wrap(y) for y in outputs]
        if cls.views:  # in-place updates of an input are updates of its views
            shared = next(x.updates for x in inputs if isinstance(x, _Tensor))
            for y in outputs:
                y.updates = shared
        return outputs[0] if single else tuple(outputs)

    @classmethod
    def _apply_to_arrays(cls, arrays: tuple[Array, ...], params: dict[str, Any]) -> Any:
        """`apply` where there is nothing to record, convert or look for: the CPU's own arrays."""
        node = cls()
        node.params = params = plain_numbers(params) if params else params
        node.backend, node.xp = CPU, CPU.xp
        try:
            results = node.forward(*arrays, **params)
        except TinygenError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise explained(cls.__name__, error, arrays) from error
        if type(results) is tuple:
            return tuple([node._output(y) for y in results])
        return node._output(results)

    def _output(self, y: Any) -> Array:
        """What `forward` returned, as an array."""
        if type(y) is not self.backend.array_type:
            y = self._as_array(y)
        if y.dtype.kind == "O":
            raise DtypeError(f"{type(self).__name__}: an input, or what forward returned, is None.")
        return y

    @classmethod
    def _computes_wider(
        cls, backend: Backend, arrays: Sequence[Array], params: dict[str, Any]
    ) -> bool:
        """Whether there is bfloat16 among the inputs, and neither kernels for it nor mere moves."""
        if cls.views or cls.any_dtype or not has_bfloat16(arrays):
            return False
        if cls.rounds_once and of_one_form(arrays):
            return False
        served = cls.primitives and backend.partial
        return not (served and backend.offers(cls.primitives, arrays, params))

    def _as_array(self, y: Any) -> Array:
        """NumPy returns scalars where an array has no axes; every edge of the graph is an array."""
        array = self.backend.asarray(y)
        if self.saved is not None:
            for name, value in vars(self.saved).items():
                if value is y:
                    setattr(self.saved, name, array)
        return array

    def _record(
        self,
        inputs: Sequence[Any],
        arrays: list[Array],
        edges: tuple[Edge | None, ...],
        outputs: Sequence[Array],
    ) -> None:
        self.serial = next(serial_numbers)
        self.edges = edges
        # An output that is also saved stays alive with this node, so its id will still name it.
        self.outputs = tuple([(y.shape, y.dtype, id(y)) for y in outputs])
        # Data may be updated in place (an optimiser step): remember which state was seen.
        self.seen = [
            (x.updates, x.updates[0])
            for i, x in enumerate(inputs)
            if isinstance(x, _Tensor) and self._keeps(i)
        ]

    def _keeps(self, i: int) -> bool:
        """Whether `backward` will read input `i`, or something that shares its memory."""
        if self.views or self._variadic:
            return True
        return self.saved is not None and self._input_names[i] in self.saved.__dict__

    def require_usable(self) -> None:
        """Fail if this node can no longer give a right gradient."""
        if self.edges is None:
            raise GraphError(
                f"the graph through {type(self).__name__} was already used and freed. Call the "
                "first backward() or grad() with retain_graph=True, or run the forward pass again."
            )
        for updates, version in self.seen:
            if updates[0] != version:
                raise GraphError(
                    f"an input of {type(self).__name__} was changed in place between forward and "
                    "backward, so its gradient would be wrong. Call backward() before the "
                    "optimiser step, or run the forward pass again."
                )

    def release(self) -> None:
        self.edges = self.saved = None

    def differentiable_backward(self, grads: Sequence[Tensor]) -> Any:
        """`backward` on Tensors: saved arrays become Tensors again, at their place in the graph."""
        twin = copy.copy(self)
        kept = {} if self.saved is None else vars(self.saved)
        twin.saved = SimpleNamespace(**{name: self._rewrap(name, a) for name, a in kept.items()})
        return twin.backward(*grads)

    def _rewrap(self, name: str, array: Array) -> Value:
        if name in self._input_names:
            return at_edge(array, self.edges[self._input_names.index(name)])  # type: ignore[index]
        for i, (_, _, identity) in enumerate(self.outputs):
            if id(array) == identity:
                return wrap(array, self, i)
        if getattr(getattr(array, "dtype", None), "kind", "") in FLOATS:
            raise GraphError(
                f"{type(self).__name__} saved the float array {name!r}, which is neither an input "
                "nor an output, so its second derivative would be lost. Recompute it in backward "
                "from saved inputs, or make the op a FusedFunction with a reference."
            )
        return array


class FusedFunction(Function):
    """A fast path with a plain twin: `forward` and `backward` are written by hand on raw arrays,
    and `reference(*inputs, **params)` says the same in plain ops. The reference is the
    documentation, the oracle of the tests, and what is differentiated for second order."""

    inputs: list[Array] | None = None

    def _record(
        self,
        inputs: Sequence[Any],
        arrays: list[Array],
        edges: tuple[Edge | None, ...],
        outputs: Sequence[Array],
    ) -> None:
        self.inputs = arrays
        super()._record(inputs, arrays, edges, outputs)

    def _keeps(self, i: int) -> bool:
        return True  # the reference reads every input

    def release(self) -> None:
        super().release()
        self.inputs = None


class Alias(Function):
    """y = x, at a new place in the graph;  dx = g."""

    def forward(self, x: Array) -> Array:
        return x[...]

    def backward(self, g: Value) -> Value:
        return g


# ---- places in the graph -------------------------------------------------------------------------


def edge_of(x: Tensor) -> Edge:
    """The edge by which a new node would point at `x`."""
    return (x, 0) if x.node is None else (x.node, x.index)


def wrap(array: Array, node: Function | None = None, index: int = 0) -> Tensor:
    """A Tensor of `array`: output `index` of `node`, or a constant."""
    tensor: Tensor = _Tensor.__new__(_Tensor)
    tensor.data = array
    tensor.requires_grad = node is not None and array.dtype.kind in FLOATS
    tensor.node = node if tensor.requires_grad else None
    tensor.index = index
    tensor.grad = tensor.hooks = None
    tensor.updates = [0]
    return tensor


def at_edge(array: Array, edge: Edge | None) -> Value:
    """The value that a node saw: the leaf itself, a Tensor at its place, or a constant array."""
    if edge is None:
        return array
    owner, index = edge
    return owner if isinstance(owner, _Tensor) else wrap(array, owner, index)


def form_of(edge: Edge) -> tuple[tuple[int, ...], Any]:
    """Shape and dtype of the value at `edge`, which its gradient must have too."""
    owner, index = edge
    if isinstance(owner, _Tensor):
        return owner.data.shape, owner.data.dtype
    return owner.outputs[index][:2]


# Tensor and Function refer to each other; each needs the other only when called.
from tinygen.promotion import has_bfloat16, in_float32, of_one_form, promote  # noqa: E402
from tinygen.tensor import Tensor as _Tensor  # noqa: E402
