"""tinygen: generative AI that you can read, prove and measure.

Loading it needs NumPy alone. `tg.nn`, `tg.optim`, `tg.models`, `tg.testing` and the other parts
that a program may not need are loaded when they are first used.
"""

from tinygen.cli import early  # noqa: F401  before all that takes time, NumPy above all

# isort: split
import importlib
from typing import TYPE_CHECKING, Any

from tinygen import autograd, errors, ops, random, trace
from tinygen.autograd import backward, checkpoint, grad
from tinygen.backend import tune_allocator
from tinygen.function import Function, FusedFunction
from tinygen.grad_mode import enable_grad, freeze, no_grad
from tinygen.leaves import from_dlpack, tensor
from tinygen.ops import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from tinygen.tensor import Tensor

__version__ = "0.1.0"

__all__ = [
    "Function",
    "FusedFunction",
    "Tensor",
    "arange",
    "autograd",
    "backward",
    "checkpoint",
    "enable_grad",
    "errors",
    "eye",
    "freeze",
    "from_dlpack",
    "full",
    "full_like",
    "grad",
    "linspace",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "random",
    "tensor",
    "trace",
    "tune_allocator",
    "zeros",
    "zeros_like",
]

if TYPE_CHECKING:
    from tinygen import nn, optim

_LOADED_WHEN_USED = frozenset(
    ["data", "evaluation", "models", "nn", "optim", "recipes", "study", "testing", "training"]
)


def __getattr__(name: str) -> Any:
    if name in _LOADED_WHEN_USED:
        return importlib.import_module(f"tinygen.{name}")
    raise AttributeError(f"module 'tinygen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(globals().keys() | _LOADED_WHEN_USED)
