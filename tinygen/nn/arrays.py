"""The arrays of a module's parameters: where they lie, and a twin of the module on them alone.

Both are for decoding, where a token takes some hundred ops of a few microseconds each, and weights
that are read once from end to end.
"""

from __future__ import annotations

import copy
from itertools import accumulate
from typing import Any, TypeVar

from tinygen.backend import Array, Backend, backend_of
from tinygen.nn.dropout import Dropout
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.norm import LayerNorm, RMSNorm
from tinygen.tensor import Tensor

CACHE_LINE = 64
"""Elements between the places where a parameter may begin: a cache line of bytes or more."""

Kind = TypeVar("Kind", bound=Module)


def on_arrays(module: Kind) -> Kind:
    """A twin in eval mode whose parameters and buffers are the arrays of `module` themselves: what
    is written into these, both see; what replaces them (`to`), the twin does not. It has no hooks.

    An op on arrays makes no Tensor and no node, and looks for neither, and the layers that are
    called most ask the back end themselves: that is half of the time of a small model's token.
    """
    twins: dict[int, Any] = {}
    backend = backend_of([p.data for p in module.parameters()])

    def twin(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.data
        if isinstance(value, Module):
            if type(value) in _LAYERS:
                return _LAYERS[type(value)](value, backend)
            if id(value) not in twins:
                made = twins[id(value)] = copy.copy(value)
                vars(made).update({name: twin(part) for name, part in vars(value).items()})
                made.training, made.forward_hooks, made.forward_pre_hooks = False, (), ()
            return twins[id(value)]
        if type(value) in (list, tuple):
            return type(value)(twin(part) for part in value)
        if type(value) is dict:
            return {name: twin(part) for name, part in value.items()}
        return value

    found: Kind = twin(module)
    return found


class _Linear:
    """y = f(x W^T + b) of arrays that fit."""

    def __init__(self, layer: Linear, backend: Backend) -> None:
        self.weight = layer.weight.data
        self.bias = None if layer.bias is None else layer.bias.data
        self.activation, self.forward = layer.activation, backend.linear_forward

    def __call__(self, x: Array) -> Array:
        return self.forward(x, self.weight, self.bias, self.activation, False)[0]


class _LayerNorm:
    def __init__(self, layer: LayerNorm, backend: Backend) -> None:
        self.weight = layer.weight.data
        self.bias = None if layer.bias is None else layer.bias.data
        self.eps, self.forward = layer.eps, backend.layer_norm_forward

    def __call__(self, x: Array) -> Array:
        return self.forward(x, self.weight, self.bias, self.eps)[0]


class _RMSNorm:
    def __init__(self, layer: RMSNorm, backend: Backend) -> None:
        self.weight = layer.weight.data
        self.eps, self.forward = layer.eps, backend.rms_norm_forward

    def __call__(self, x: Array) -> Array:
        return self.forward(x, self.weight, self.eps)[0]


class _Identity:
    """Dropout that drops nothing."""

    def __init__(self, layer: Dropout, backend: Backend) -> None:
        pass

    def __call__(self, x: Array) -> Array:
        return x


_LAYERS: dict[type, Any] = {
    Linear: _Linear,
    LayerNorm: _LayerNorm,
    RMSNorm: _RMSNorm,
    Dropout: _Identity,
}
"""What stands for the layers themselves; a subclass of one is another layer."""


def lay_together(module: Module) -> None:
    """Move the parameters here and below, if they are of one dtype and on the CPU, into one array,
    in their order: it is large enough for huge pages where those of one layer are not."""
    parameters = module.parameters()
    backend = backend_of([p.data for p in parameters])
    if len({p.dtype for p in parameters}) > 1 or backend.partial:
        return
    starts = [0, *accumulate(-(-p.size // CACHE_LINE) * CACHE_LINE for p in parameters)]
    memory = backend.in_huge_pages(starts[-1], parameters[0].dtype)
    for parameter, start in zip(parameters, starts, strict=False):
        place = memory[start : start + parameter.size].reshape(parameter.shape)
        place[...] = parameter.data
        parameter.data = place


def has_hooks(module: Module) -> bool:
    """Whether anything is called before or after this module."""
    return bool(module.forward_hooks or module.forward_pre_hooks)
