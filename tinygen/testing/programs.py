"""Random programs: small graphs of ops with fan-out, reuse, dead branches, several outputs and
detached values, each with a NumPy twin.

    program = random_program(SeededDraw(7), steps=12)
    program(*tensors)              # a tuple of Tensors, through tinygen
    program.twin(*arrays)          # the same numbers, in NumPy alone
    print(program)                 # the program, one step a line

A twin is also the oracle of the gradient. What is detached does not move when an input does, so
`program.around(*arrays)` gives the twin with the detached values held where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Array
from tinygen.testing.bounds import as_tuple
from tinygen.testing.drawing import Draw

Values = list[Any]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """New values from earlier ones: how tinygen makes them, and how NumPy does."""

    text: str
    sources: tuple[int, ...]
    tinygen: Function
    numpy: Function
    detached: bool = False


@dataclass(frozen=True)
class Program:
    """Steps after inputs; values are numbered in the order in which they arise."""

    inputs: tuple[Array, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def __call__(self, *tensors: Any) -> tuple[Any, ...]:
        values: Values = list(tensors)
        for step in self.steps:
            values += as_tuple(step.tinygen(*(values[i] for i in step.sources)))
        return tuple(values[i] for i in self.outputs)

    def twin(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs, by NumPy."""
        values = self._values(arrays)
        return tuple(values[i] for i in self.outputs)

    def around(self, *arrays: Array) -> Callable[[Sequence[Array]], tuple[Array, ...]]:
        """The twin, whose detached values stay what they are at `arrays`."""
        fixed = self._values(arrays)

        def twin(moved: Sequence[Array]) -> tuple[Array, ...]:
            values = self._values(moved, fixed)
            return tuple(values[i] for i in self.outputs)

        return twin

    def _values(self, arrays: Sequence[Array], fixed: Values | None = None) -> Values:
        values: Values = list(arrays)
        for step in self.steps:
            if step.detached and fixed is not None:
                values.append(fixed[len(values)])
            else:
                values += as_tuple(step.numpy(*(values[i] for i in step.sources)))
        return values

    def __repr__(self) -> str:
        lines = [f"v{i} = input {list(x.shape)}" for i, x in enumerate(self.inputs)]
        lines += [f"{step.text}({', '.join(f'v{i}' for i in step.sources)})" for step in self.steps]
        return "\n".join([*lines, f"return {', '.join(f'v{i}' for i in self.outputs)}"])


def random_program(draw: Draw, steps: int = 12) -> Program:
    """A program of at most `steps` steps on one to three inputs. One output at least is live: it
    depends on an input by a way that is not detached."""
    inputs = tuple(draw.array(draw.shape(0, 2)) for _ in range(draw.integer(1, 3)))
    values: Values = list(inputs)
    live = [True] * len(inputs)
    made = []
    for _ in range(draw.integer(1, steps)):
        step = draw.choice(KINDS)(draw, values)
        if step is not None:
            made.append(step)
            results = as_tuple(step.numpy(*(values[i] for i in step.sources)))
            moves = not step.detached and any(live[i] for i in step.sources)
            values += results
            live += [moves] * len(results)
    later = range(len(inputs), len(values)) or range(len(values))
    moving = [i for i in later if live[i]] or range(len(inputs))
    outputs = {draw.choice(moving)}
    if draw.boolean():
        outputs.add(draw.choice(later))
    return Program(inputs, tuple(made), tuple(sorted(outputs)))


# ---- kinds of steps ------------------------------------------------------------------------------

Kind = Callable[[Draw, Values], Step | None]


def _any(draw: Draw, values: Values) -> int:
    """The newest value half of the time, so that programs grow deep."""
    last = len(values) - 1
    return last if draw.boolean() else draw.integer(0, last)


def _sigmoid(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def _softmax(x: Array) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


CURVES: tuple[tuple[Function, Function], ...] = (
    (ops.tanh, np.tanh),
    (ops.sin, np.sin),
    (ops.cos, np.cos),
    (ops.negative, np.negative),
    (ops.sigmoid, _sigmoid),
    (ops.softplus, lambda x: np.logaddexp(x, 0)),
    (ops.relu, lambda x: np.maximum(x, 0)),
)


def _curve(draw: Draw, values: Values) -> Step:
    """One value, element by element."""
    f, twin = draw.choice(CURVES)
    return Step(f.__name__, (_any(draw, values),), f, twin)


PAIRS: tuple[tuple[str, Function, Function], ...] = (
    ("add", ops.add, np.add),
    ("subtract", ops.subtract, np.subtract),
    ("times_sine", lambda x, y: x * ops.sin(y), lambda x, y: x * np.sin(y)),
    ("over_square", lambda x, y: x / (y * y + 1.0), lambda x, y: x / (y * y + 1.0)),
    ("maximum", ops.maximum, np.maximum),
)


def _pair(draw: Draw, values: Values) -> Step | None:
    """Two values that broadcast, perhaps the same one twice."""
    name, f, twin = draw.choice(PAIRS)
    i, j = _any(draw, values), _any(draw, values)
    try:
        shape = np.broadcast_shapes(np.shape(values[i]), np.shape(values[j]))
    except ValueError:
        return None
    return Step(name, (i, j), f, twin) if np.prod(shape) <= 60 else None


def _product(draw: Draw, values: Values) -> Step | None:
    """A matrix and its transpose, scaled down."""
    i = _any(draw, values)
    x = values[i]
    if np.ndim(x) != 2 or x.shape[0] > 7:
        return None
    scale = 1.0 / (1 + x.shape[1])
    return Step(
        "gram",
        (i,),
        lambda x: ops.matmul(x, ops.matrix_transpose(x)) * scale,
        lambda x: x @ x.T * scale,
    )


def _reduction(draw: Draw, values: Values) -> Step | None:
    i = _any(draw, values)
    n = np.ndim(values[i])
    if n == 0:
        return None
    axis, keepdims = draw.integer(-n, n - 1), draw.boolean()
    return Step(
        f"mean[{axis}]",
        (i,),
        lambda x: ops.mean(x, axis, keepdims),
        lambda x: np.asarray(x.mean(axis, keepdims=keepdims)),
    )


def _rows(draw: Draw, values: Values) -> Step | None:
    i = _any(draw, values)
    return Step("softmax", (i,), ops.softmax, _softmax) if np.ndim(values[i]) else None


def _part(draw: Draw, values: Values) -> Step | None:
    """A slice: views must not lose their place in the graph."""
    i = _any(draw, values)
    if not np.ndim(values[i]):
        return None
    index = draw.choice((slice(None, None, -1), slice(0, 1), slice(None, None, 2), 0))
    return Step(f"part[{index}]", (i,), lambda x: x[index], lambda x: np.asarray(x[index]))


def _halves(draw: Draw, values: Values) -> Step | None:
    """Two outputs, of which one may be dead."""
    i = _any(draw, values)
    if np.ndim(values[i]) < 1 or values[i].shape[0] < 2:
        return None
    return Step("split", (i,), lambda x: ops.split(x, [1]), lambda x: np.split(x, [1]))


def _joined(draw: Draw, values: Values) -> Step | None:
    i = _any(draw, values)
    if np.ndim(values[i]) < 1 or np.size(values[i]) > 30:
        return None
    return Step(
        "twice", (i, i), lambda x, y: ops.concat([x, y]), lambda x, y: np.concatenate([x, y])
    )


def _detached(draw: Draw, values: Values) -> Step:
    return Step("detach", (_any(draw, values),), lambda x: x.detach(), lambda x: x, detached=True)


KINDS: tuple[Kind, ...] = (
    _curve,
    _pair,
    _pair,
    _curve,
    _reduction,
    _product,
    _rows,
    _part,
    _halves,
    _joined,
    _detached,
)
