"""The Module: parameters, buffers, random streams and other modules, found by walking attributes.

    class Net(tg.nn.Module):
        def __init__(self, *, rng):
            self.layers = [tg.nn.Linear(8, 16, rng=rng), tg.nn.Linear(16, 1, rng=rng)]
            self.scale = tg.nn.Parameter(tg.ones((1,)))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x).tanh()
            return x * self.scale

The walk reads `vars(self)` in insertion order, through modules, lists, tuples and dicts, and a name
is the path it took: `layers.0.weight`. Nothing is registered and no attribute access is
intercepted, so the order is that of the source and the same in every run. A module may be reached
by several paths, or from below; it counts once, and every path to it is a name of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np

from tinygen import trace
from tinygen.arguments import float_dtype, saved_array
from tinygen.backend import backend_of
from tinygen.errors import CheckpointError, UsageError
from tinygen.grad_mode import no_grad
from tinygen.nn.parameter import Buffer, Parameter
from tinygen.random import Generator
from tinygen.recompute import is_replaying
from tinygen.tensor import Tensor

Part: TypeAlias = "Module | Parameter | Buffer | Generator"
"""What the walk finds; everything else among the attributes is left alone."""

StateDict: TypeAlias = "dict[str, np.ndarray[Any, Any]]"

Kind = TypeVar("Kind", bound=Any)


class Module:
    """Base of every layer and model. A subclass sets attributes in `__init__` and writes `forward`.

    `training` says whether layers such as dropout behave as in training; `frozen` is set inside
    `tg.freeze(module)`, where buffers must not move.
    """

    training: bool = True
    frozen: bool = False
    forward_pre_hooks: Sequence[Callable[..., Any]] = ()
    forward_hooks: Sequence[Callable[..., Any]] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for pre_hook in tuple(self.forward_pre_hooks):
            replaced = pre_hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        if trace.active is None:
            result = self.forward(*args, **kwargs)
        else:
            with trace.active.module(self):
                result = self.forward(*args, **kwargs)
        for hook in tuple(self.forward_hooks):
            replaced = hook(self, args, result)
            result = result if replaced is None else replaced
        return result

    # ---- the walk

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The direct parts with their names: attributes, looked for inside lists, tuples, dicts."""
        return parts_of(vars(self).items())

    def walk(self) -> Iterator[tuple[str, Part]]:
        """This module (named "") and every part below it, depth first, each once under its first
        name. Raises UsageError where a name could not stand in a state: twice, or with a "/"."""
        stack: list[tuple[str, Part]] = [("", self)]
        seen: set[int] = set()
        names: set[str] = set()
        while stack:
            path, part = stack.pop()
            if id(part) in seen:
                continue
            if path in names or "/" in path:
                fault = 'has a "/" in its name' if "/" in path else "is named as another part"
                raise UsageError(
                    f"{type(self).__name__}: {path!r} {fault}, so a state could not hold it. "
                    "Choose another attribute or key of the dict."
                )
            seen.add(id(part))
            names.add(path)
            yield path, part
            if isinstance(part, Module):
                prefix = f"{path}." if path else ""
                stack += reversed([(prefix + name, p) for name, p in part.parts()])

    def _at(self, path: str) -> Part | None:
        """What lies at `path`, by any of its names."""
        for name, part in self.parts():
            if name == path:
                return part
            if isinstance(part, Module) and path.startswith(f"{name}."):
                found = part._at(path[len(name) + 1 :])
                if found is not None:
                    return found
        return None

    def _named(self, kind: type[Kind]) -> list[tuple[str, Kind]]:
        return [(name, part) for name, part in self.walk() if isinstance(part, kind)]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Pairs (name, parameter) in the source's order; a tied one once, by its first name."""
        return self._named(Parameter)

    def parameters(self) -> list[Parameter]:
        """What is learned, here and below; a tied parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> list[tuple[str, Buffer]]:
        """Pairs (name, buffer) in the source's order."""
        return self._named(Buffer)

    def buffers(self) -> list[Buffer]:
        """What is kept but not learned, here and below."""
        return [buffer for _, buffer in self.named_buffers()]

    def named_modules(self) -> list[tuple[str, Module]]:
        """This module, named "", and all below it."""
        return self._named(Module)

    def modules(self) -> list[Module]:
        """This module and all below it."""
        return [module for _, module in self.named_modules()]

    def named_children(self) -> list[tuple[str, Module]]:
        """Pairs (name, module) of those directly below this one."""
        return [(name, part) for name, part in self.parts() if isinstance(part, Module)]

    def children(self) -> list[Module]:
        """The modules directly below this one."""
        return [child for _, child in self.named_children()]

    def named_generators(self) -> dict[str, Generator]:
        """The random streams, whose positions belong to a checkpoint: `dropout.rng`."""
        return dict(self._named(Generator))

    @property
    def n_parameters(self) -> int:
        """How many numbers are learned; tied ones count once."""
        return sum(parameter.size for parameter in self.parameters())

    # ---- mode, place and precision

    def train(self, training: bool = True) -> Self:
        """Sets `training` here and below."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Clears `training` here and below."""
        return self.train(False)

    @contextmanager
    def inference(self, modules: Sequence[Module] | None = None) -> Iterator[None]:
        """Inside, no graph is recorded and every module is in eval mode; afterwards each is as it
        was. `modules`, if given, are those that `self.modules()` gave before: it takes longer than
        a small pass."""
        modules = self.modules() if modules is None else modules
        learning = [module for module in modules if module.training]
        try:
            for module in learning:
                module.training = False
            with no_grad():
                yield
        finally:
            for module in learning:
                module.training = True

    def to(self, device: str | None = None, dtype: Any = None) -> Self:
        """Moves parameters and buffers to `device`, and the floating-point ones to `dtype`, which
        is "float32" or "float64".

        They stay the same objects; gradients are dropped. Make the optimiser afterwards: it keeps
        its numbers in the dtype and on the device that it found, and refuses parameters that moved.
        """
        if dtype is not None:
            dtype = float_dtype(f"{type(self).__name__}.to", dtype)
        for _, tensor in self._named(Tensor):
            kept = tensor.dtype if tensor.dtype.kind != "f" else dtype
            tensor.data = tensor.detach().to(device, kept).data
            tensor.grad = None
            tensor.version += 1
        return self

    def zeroed(self) -> Self:
        """Sets every parameter here and below to 0. A residual branch whose last layer is zeroed
        starts as nothing, and the network as its skips."""
        for parameter in self.parameters():
            parameter.data[...] = 0
            parameter.version += 1
        return self

    @property
    def buffers_move(self) -> bool:
        """Whether a forward pass of this module updates its buffers: in training, not inside
        `tg.freeze`, and not when `tg.checkpoint` computes a pass for the second time."""
        return self.training and not self.frozen and not is_replaying()

    # ---- state

    def state_dict(self) -> StateDict:
        """A snapshot by name: copies, as NumPy arrays, of every parameter and buffer. A tied one
        is there once, under its first name."""
        return {name: np.array(x.detach().numpy()) for name, x in self._named(Tensor)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copies the arrays of `state` into the parameters and buffers, in place.

        Shapes must agree; another floating-point dtype is cast, if it holds the numbers. A tied
        parameter may be given by any of its names, or by several if they agree. Raises
        CheckpointError, listing every missing, surplus and unfitting entry, before anything is
        changed; without `strict`, missing and surplus entries are left out instead.
        """
        wanted = dict(self._named(Tensor))
        found: dict[Tensor, tuple[str, np.ndarray[Any, Any]]] = {}
        unfit: set[Tensor] = set()
        faults = []
        for name, value in sorted(state.items()):
            tensor = wanted[name] if name in wanted else self._at(name)
            if not isinstance(tensor, Tensor):
                shape = getattr(value, "shape", type(value).__name__)
                faults += [f"surplus {name} {shape}"] if strict else []
                continue
            try:
                array = saved_array(value, tensor.shape, tensor.dtype)
            except CheckpointError as fault:
                faults.append(f"{name} {fault}")
                unfit.add(tensor)
                continue
            first, other = found.setdefault(tensor, (name, array))
            if not np.array_equal(other, array, equal_nan=True):
                faults.append(f"{name} differs from {first}, to which it is tied")
        if strict:
            there = found.keys() | unfit
            faults += [f"missing {name} {x.shape}" for name, x in wanted.items() if x not in there]
        if faults:
            raise CheckpointError(
                f"this state does not fit {type(self).__name__}: {'; '.join(faults)}. Build the "
                "model with the configuration that the state was saved with."
            )
        for target, (_, array) in found.items():
            target.data[...] = backend_of([target.data]).asarray(array)
            target.version += 1

    # ---- hooks

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, args)` before `forward`; what it returns, unless None, replaces
        `args`: a tuple all of them, anything else the only one. Returns a function that removes the
        hook."""
        return self._add_hook("forward_pre_hooks", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, args, result)` after `forward`; what it returns, unless None, replaces
        the result. Returns a function that removes the hook."""
        return self._add_hook("forward_hooks", hook)

    def _add_hook(self, where: str, hook: Callable[..., Any]) -> Callable[[], None]:
        # A wrapping of its own: two registrations of one function are two, and a module that
        # serves as a hook is no part of this one.
        added = partial(hook)
        setattr(self, where, [*getattr(self, where), added])
        return lambda: setattr(self, where, [h for h in getattr(self, where) if h is not added])

    # ---- what it looks like

    def settings(self) -> str:
        """What stands between the brackets of the module's line in `repr`."""
        return ""

    def __repr__(self) -> str:
        rows = [(text, f"{count:,}" if count else "") for text, count in _rows(self, "", 0, set())]
        width, margin = (max(len(row[i]) for row in rows) for i in range(2))
        lines = [f"{text:<{width}}  {count:>{margin}}" for text, count in rows]
        return "\n".join(line.rstrip() for line in lines)


def parts_of(
    items: Iterable[tuple[Any, Any]], prefix: str = "", above: tuple[int, ...] = ()
) -> Iterator[tuple[str, Part]]:
    """The parts among named values, looked for inside lists, tuples and dicts."""
    for name, value in items:
        if isinstance(value, (Parameter, Buffer, Module, Generator)):
            yield f"{prefix}{name}", value
        elif isinstance(value, (list, tuple, dict)) and id(value) not in above:
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            yield from parts_of(inside, f"{prefix}{name}.", (*above, id(value)))


def _rows(
    part: Module | Tensor, name: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, int]]:
    """The lines of `repr`: (indented text, number of parameters). Below a module that was `seen`
    before there is nothing new."""
    label = "  " * depth + (f"{name}: " if name else "")
    if isinstance(part, Tensor):
        text = f"{label}{type(part).__name__}{list(part.shape)} {part.dtype}"
        yield text, part.size if isinstance(part, Parameter) else 0
        return
    settings = part.settings()
    yield f"{label}{type(part).__name__}({settings})", part.n_parameters
    if id(part) in seen:
        return
    seen.add(id(part))
    for inner_name, inner in part.parts():
        # A layer that says its settings has said the shapes of its parameters.
        if isinstance(inner, Module) or (isinstance(inner, Tensor) and not settings):
            yield from _rows(inner, inner_name, depth + 1, seen)
