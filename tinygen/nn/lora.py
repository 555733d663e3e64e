"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): a frozen layer, and a product of two
narrow matrices that is learned beside it.

    names = nn.add_lora(model, rank=8, rng=rng)        # every linear layer; all else is frozen
    optimizer = tg.optim.AdamW(nn.lora_parameters(model), lr=1e-4)
    ...
    save_state("adapter", nn.lora_state(model))        # the narrow matrices alone
    nn.load_lora_state(other, load_state("adapter"))   # on top of the same frozen model
    nn.merge_lora(model)                               # W + s B A in the layer itself
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

from tinygen import ops
from tinygen.arguments import integer, number, saved_array
from tinygen.backend import backend_of
from tinygen.errors import CheckpointError, UsageError
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.ops.linear import activated
from tinygen.random import Generator
from tinygen.tensor import Tensor, as_numpy

LoRAState = dict[str, Any]


class LoRALinear(Module):
    """y = f(x W^T + b + s (x A^T) B^T), s = alpha / rank; W and b do not learn.

    `down` A (rank, in_features) starts at random and `up` B (out_features, rank) at 0, so that the
    layer starts as what it was. While `enabled` is False it is that.
    """

    def __init__(self, base: Linear, rank: int, alpha: float, *, rng: Generator) -> None:
        out_features, in_features = base.weight.shape
        rank = integer("LoRALinear: rank", rank, least=1)
        if rank > min(out_features, in_features):
            raise UsageError(
                f"LoRALinear: a rank of {rank} is more than a layer {in_features} -> "
                f"{out_features} has; give at most the smaller of the two."
            )
        self.base, self.rank, self.enabled = base, rank, True
        self.alpha = number("LoRALinear: alpha", alpha, above=0)
        self.down = Parameter(init.kaiming_uniform((rank, in_features), math.sqrt(5), rng=rng))
        self.up = Parameter(init.zeros((out_features, rank)))
        self.to_the_place_of(base.weight)

    def to_the_place_of(self, weight: Tensor) -> None:
        """The device and dtype of `weight`."""
        for narrow in (self.down, self.up):
            narrow.data = narrow.detach().to(weight.device, weight.dtype).data

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def forward(self, x: Value) -> Any:
        base = self.base
        if not self.enabled:
            return base(x)
        u = ops.linear(x, base.weight, base.bias)
        u = u + self.scale * ops.linear(ops.linear(x, self.down), self.up)  # (..., out_features)
        return u if base.activation is None else activated(u, base.activation)

    def merged(self) -> Linear:
        """The layer with W + s B A for W, which learns again."""
        with_it = self.base.weight.detach() + self.scale * (self.up.detach() @ self.down.detach())
        self.base.weight.data = with_it.data
        self.base.weight.version += 1
        for parameter in self.base.parameters():
            parameter.requires_grad = True
        return self.base

    def settings(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}"


def add_lora(
    module: Module,
    *,
    rank: int = 8,
    alpha: float | None = None,
    targets: Sequence[str] = ("*",),
    rng: Generator,
) -> list[str]:
    """Put a `LoRALinear` in place of every linear layer whose name one of the `targets` fits
    ("blocks.*.attn.*"), and freeze everything else. `alpha` is 2 rank if left out. Returns the
    names. An output head that is used by its weight alone is left as it is.

    Raises UsageError where no layer fits, or the module has such layers already.
    """
    layers = [(name, holder, key, layer) for name, holder, key, layer in _linear_layers(module)]
    if any(isinstance(part, LoRALinear) for part in module.modules()):
        raise UsageError("add_lora: the module has adapters already; merge them first.")
    chosen = [entry for entry in layers if any(fnmatchcase(entry[0], t) for t in targets)]
    if not chosen:
        raise UsageError(
            f"add_lora: no linear layer's name fits {', '.join(targets)}; there are "
            f"{', '.join(name for name, *_ in layers) or 'none'}."
        )
    alpha = 2.0 * rank if alpha is None else alpha
    adapted = [LoRALinear(layer, rank, alpha, rng=rng) for *_, layer in chosen]
    for parameter in module.parameters():
        parameter.requires_grad = False
    for (_, holder, key, _), layer in zip(chosen, adapted, strict=True):
        _put(holder, key, layer)
    return [name for name, *_ in chosen]


def lora_parameters(module: Module) -> list[Parameter]:
    """What learns: the narrow matrices."""
    return [p for _, layer in _adapters(module) for p in (layer.down, layer.up)]


def merge_lora(module: Module) -> None:
    """Put the merged layer back in each adapter's place; everything learns again."""
    for holder, key, layer in _places(module, LoRALinear):
        _put(holder, key, layer.merged())
    for parameter in module.parameters():
        parameter.requires_grad = True


@contextmanager
def without_lora(module: Module) -> Iterator[None]:
    """Inside, the module computes as if it had no adapters: the reference of its own tuning."""
    layers = [layer for _, layer in _adapters(module)]
    before = [layer.enabled for layer in layers]
    try:
        for layer in layers:
            layer.enabled = False
        yield
    finally:
        for layer, enabled in zip(layers, before, strict=True):
            layer.enabled = enabled


def lora_state(module: Module) -> LoRAState:
    """The adapters by the names of their layers: small, and of no use without the frozen model."""
    return {
        "kind": "lora",
        "layers": {
            name: {
                "alpha": layer.alpha,
                "down": as_numpy(layer.down.data).copy(),
                "up": as_numpy(layer.up.data).copy(),
            }
            for name, layer in _adapters(module)
        },
    }


def load_lora_state(module: Module, state: Mapping[str, Any]) -> list[str]:
    """Put the adapters of `state` on top of a module without any, and freeze the rest. Returns the
    names of the layers. Raises CheckpointError, which lists everything that does not fit, before
    anything is changed."""
    if state.get("kind") != "lora" or not isinstance(state.get("layers"), Mapping):
        raise CheckpointError("this is no state of LoRA adapters; load what lora_state gave.")
    there = {name: (holder, key, layer) for name, holder, key, layer in _linear_layers(module)}
    made: dict[str, LoRALinear] = {}
    faults = []
    for name, entry in state["layers"].items():
        if name not in there:
            faults.append(f"{name} is no linear layer of it")
            continue
        layer = there[name][2]
        try:
            rank = int(entry["down"].shape[0])
            adapter = LoRALinear(layer, rank, float(entry["alpha"]), rng=Generator(0))
            for narrow in ("down", "up"):
                target = getattr(adapter, narrow)
                array = saved_array(entry[narrow], target.shape, target.dtype)
                target.data[...] = backend_of([target.data]).asarray(array)
        except (CheckpointError, UsageError, KeyError, TypeError, AttributeError) as fault:
            faults.append(f"{name} {fault}")
            continue
        made[name] = adapter
    if faults:
        raise CheckpointError(
            f"these adapters do not fit this {type(module).__name__}: {'; '.join(faults)}."
        )
    for parameter in module.parameters():
        parameter.requires_grad = False
    for name, adapter in made.items():
        holder, key, _ = there[name]
        _put(holder, key, adapter)
    return list(made)


# ---- places --------------------------------------------------------------------------------------


def _adapters(module: Module) -> list[tuple[str, LoRALinear]]:
    return [(name, part) for name, part in module.named_modules() if isinstance(part, LoRALinear)]


def _linear_layers(module: Module) -> Iterator[tuple[str, Any, Any, Linear]]:
    """(name, holder, key, layer) of each linear layer that is called; a head is multiplied by its
    weight, and a call of it would not be seen."""
    names = {id(part): name for name, part in module.named_modules()}
    for holder, key, layer in _places(module, Linear):
        if key != "head":
            yield names[id(layer)], holder, key, layer


def _places(module: Module, kind: type[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """(holder, key, part) of every part of a kind: an attribute of a module, or an entry of a list
    or dict among them."""
    seen: set[int] = set()
    waiting: list[Any] = [vars(part) for part in module.modules() if not isinstance(part, kind)]
    while waiting:
        holder = waiting.pop(0)
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in list(items):
            if isinstance(value, kind) and id(value) not in seen:
                seen.add(id(value))
                yield holder, key, value
            elif isinstance(value, (list, dict)):
                waiting.append(value)


def _put(holder: Any, key: Any, part: Module) -> None:
    holder[key] = part
