"""Computing in another precision than that in which parameters are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygen import ops
from tinygen.arguments import dtype_named, is_bfloat16
from tinygen.errors import DtypeError
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.tensor import Tensor


@contextmanager
def computing_in(module: Module, dtype: Any) -> Iterator[None]:
    """Inside, `module` computes with its parameters rounded to `dtype`, "bfloat16" or "float16":

        with nn.computing_in(model, "bfloat16"):
            loss = model.loss(tokens, targets)
        loss.backward()
        optimizer.step()

    A parameter is rounded once, on the graph, so that its gradient comes back in its own dtype,
    and the optimiser updates what was not rounded: the master weights of Micikevicius et al. 2018,
    section 3.1 (arXiv:1710.03740). The gradients of float16 vanish below 6e-8, which that paper
    mends by scaling the loss; bfloat16 has the range of float32. Until the block ends, the module
    has no parameters to list, save or move.

    Raises DtypeError for a dtype that is none of floats.
    """
    dtype = dtype_named("computing_in", dtype)
    if dtype.kind != "f" and not is_bfloat16(dtype):
        raise DtypeError(f"computing_in: a module computes in a dtype of floats, not in {dtype}.")
    rounded: dict[Parameter, Tensor] = {}
    held: list[tuple[dict[str, Any], str, Parameter]] = []
    for part in module.modules():
        for name, value in vars(part).items():
            if isinstance(value, Parameter) and value.dtype.kind == "f" and value.dtype != dtype:
                held.append((vars(part), name, value))
    try:
        for attributes, name, parameter in held:
            if parameter not in rounded:  # a tied one is met more than once
                rounded[parameter] = ops.astype(parameter, dtype)
            attributes[name] = rounded[parameter]
        yield
    finally:
        for attributes, name, parameter in held:
            attributes[name] = parameter
