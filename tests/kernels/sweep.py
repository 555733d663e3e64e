"""Every kernel with the definitions that its launcher gives it, for a device of an architecture.

The ops run on the simulated device as if it were that one, in every dtype that kernels serve, over
shapes on both sides of each choice that a launcher makes; what they launch is noted and not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

from tinygen import autograd, ops
from tinygen.backend import backend_named, launch
from tinygen.backend.device.attention_rungs import MANY
from tinygen.backend.device.launching import DTYPES, WORTH_COMPILING
from tinygen.backend.launch import Kernel
from tinygen.ops.linear import ACTIVATIONS
from tinygen.random import Generator
from tinygen.tensor import Tensor

NUMPYS = tuple(dtype for dtype in DTYPES if dtype != "bfloat16")
"""Of which there are arrays without ml_dtypes; bfloat16 is launched like float16, by another name
of the type."""

FLOATS = ("float", "f16", "bf16")

Call = tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]
Build = tuple[str, tuple[tuple[str, object], ...]]
"""A file and its definitions: what is compiled."""

ROWS = (48, 512, 1024, 1536, 4096, 6144, 16384, 16385)
"""Columns of rows in registers, with few and with all elements a thread can have, and of longer."""
HEADS = (8, 16, 24, 64, 80, 128)
LAYOUTS = ((0, 1), (0, 0), (1, 0))
"""Transposed factors in a linear layer: forward, and its two gradients."""
ELSEWHERE: dict[str, tuple[int, list[dict[str, object]]]] = {
    "adamw.cu": (75, [{"TYPE": type_, "VECTOR": n} for type_ in FLOATS for n in (1, 4)]),
    "cast.cu": (
        75,
        [{"IN": of, "OUT": to, "VECTOR": n} for of in FLOATS for to in FLOATS for n in (1, 4)],
    ),
    "conformance_hopper.cu": (90, [{}]),
    "conformance_mma.cu": (80, [{}]),
    "matmul_parts.cu": (75, [{"VECTOR": n} for n in (1, 4)]),
    "matmul_splits.cu": (80, [{"TRANSPOSE_A": a, "TRANSPOSE_B": b} for a, b in LAYOUTS]),
    "sampling.cu": (75, [{"TYPE": type_} for type_ in FLOATS]),
}
"""The first architecture and the definitions of what no op launches by itself."""


def calls(few: bool) -> Iterator[Call]:
    """Ops and the shapes of their arrays; a few of those that differ in a number alone."""
    for columns in (1024, 1023) if few else (*ROWS, *(n - 1 for n in ROWS[:-2])):
        shape = (-(-WORTH_COMPILING // columns), columns)
        for op in (ops.softmax, ops.log_softmax):
            yield op, (shape,)
        yield ops.layer_norm, (shape, (columns,), (columns,))
        yield ops.rms_norm, (shape, (columns,))
    for width in (63, 64):
        yield ops.gelu, ((5, width),)
        yield lambda x: ops.gelu(x, "tanh"), ((5, width),)
        yield ops.silu, ((5, width),)
        yield lambda x: ops.cross_entropy(x, integers(x, 4)), ((4, width),)
        yield lambda x, w: ops.linear_cross_entropy(x, w, integers(x, 4)), ((4, 8), (width, 8))
        yield lambda w: ops.embedding(integers(w, 5), w), ((7, width),)
        yield ops.swiglu, ((5, width),) * 2
        yield lambda x: ops.topk(x, 3)[0], ((5, width),)
        yield lambda x: ops.dropout(x, 0.5, rng=Generator(0)), ((5, width),)
        for activation in (None, "silu"):
            yield lambda x, f=activation: ops.group_norm(x, 1, activation=f), ((2, 5, width),)
    for width in (6, 64):
        yield ops.rope, ((3, 5, width),)
        yield lambda x: ops.rope(x, interleaved=True), ((3, 5, width),)
    for k in (7, 64, 8192):
        for activation in ("silu",) if few else (None, *ACTIVATIONS):
            linear = lambda x, w, b, f=activation: ops.linear(x, w, b, f)  # noqa: E731
            yield linear, ((64, k), (64, k), (64,))
        yield ops.linear, ((1024, k), (1024, k))
    for width in (64, 128) if few else HEADS:
        yield ops.attention, ((1, 2, 5, width),) * 3
        yield ops.attention, ((1, 2, 1, width), *((1, 1, MANY, width),) * 2)


def integers(x: Any, n: int) -> Any:
    return backend_named("sim").asarray(np.arange(n) % 3)


def builds(architecture: int, *, few: bool = False) -> list[Build]:
    """All that is compiled for a device of that compute capability: 75, 80, 90, ..."""
    sim: Any = backend_named("sim")
    found = {
        (file, tuple(sorted(definitions.items())))
        for file, (least, several) in ELSEWHERE.items()
        for definitions in several
        if architecture >= least and (least != 90 or architecture == 90)
    }

    def note(kernel: Kernel, *_: Any) -> None:
        file, definitions = kernel.module
        found.add((file, definitions))
        twin = [(name, "bf16" if value == "f16" else value) for name, value in definitions]
        found.add((file, tuple(twin)))

    with (
        patch.object(sim, "run", note),
        patch.object(type(sim), "launches", True),
        patch.object(sim, "compute_capability", architecture),
        patch.object(launch, "_observers", []),  # who would build each for the simulator
    ):
        for draw in (Generator(0).uniform, Generator(0).normal):
            draw((5,), device="sim")
        for function, shapes in calls(few):
            for dtype in NUMPYS:
                leaves = [Tensor(sim.asarray(np.ones(s, dtype)), True) for s in shapes]
                y = function(*leaves)
                autograd.grad([y], leaves, [sim.asarray(np.ones(y.shape, dtype))])
    return sorted(found, key=repr)
