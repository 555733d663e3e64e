"""Where each tensor of a folder lies in a model.

GPT-2's layers keep their weights as (in, out), ours as (out, in); Llama's have queries, keys and
values apart, ours are the rows of one weight. So a place is a view, and what is read, written or
compared (a gradient, say) is never put together from pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinygen import nn
from tinygen.backend import Array
from tinygen.models.transformer.gpt import GPT
from tinygen.models.transformer.llama import Llama
from tinygen.nn import Parameter


@dataclass(frozen=True)
class Place:
    """Rows of a parameter, turned if the folder keeps the transpose; or, without a parameter, the
    `zeros` numbers of a bias that the folder's type has and the model lacks."""

    parameter: Parameter | None
    rows: tuple[int, int] | None = None
    turned: bool = False
    zeros: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        if self.parameter is None:
            return (self.zeros,)
        return tuple(self.view(self.parameter.data).shape)

    def view(self, array: Array) -> Array:
        """This place in an array of the parameter's shape: its data, or its gradient."""
        part = array if self.rows is None else array[slice(*self.rows)]
        return part.T if self.turned else part


def places(model: GPT | Llama, biased: tuple[bool, bool, bool] | None = None) -> dict[str, Place]:
    """The places of a model's tensors by their names in a folder.

    `biased` says whether a Llama's folder has biases of queries, keys and values, of attention's
    output, and of the MLP; if left out, those that the model has. A GPT-2's has them all.
    """
    found = _gpt(model) if isinstance(model, GPT) else _llama(model, biased)
    return dict(found)


def _gpt(model: GPT) -> Iterator[tuple[str, Place]]:
    yield "transformer.wte.weight", Place(model.token_embedding.weight)
    yield "transformer.wpe.weight", Place(model.position_embedding.weight)
    for i, block in enumerate(model.blocks):
        name = f"transformer.h.{i}"
        yield from _norm(f"{name}.ln_1", block.norm1)
        yield from _linear(f"{name}.attn.c_attn", block.attn.qkv, True, turned=True)
        yield from _linear(f"{name}.attn.c_proj", block.attn.out, True, turned=True)
        yield from _norm(f"{name}.ln_2", block.norm2)
        yield from _linear(f"{name}.mlp.c_fc", block.mlp.up, True, turned=True)
        yield from _linear(f"{name}.mlp.c_proj", block.mlp.down, True, turned=True)
    yield from _norm("transformer.ln_f", model.norm)
    if model.head is not None:
        yield "lm_head.weight", Place(model.head.weight)


def _llama(model: Llama, biased: tuple[bool, bool, bool] | None) -> Iterator[tuple[str, Place]]:
    c = model.config
    qkv_bias, out_bias, mlp_bias = biased or (c.qkv_bias, c.out_bias, c.mlp_bias)
    queries, keys = c.n_head * c.features, c.n_groups * c.features
    parts = {
        "q_proj": (0, queries),
        "k_proj": (queries, queries + keys),
        "v_proj": (queries + keys, queries + 2 * keys),
    }
    yield "model.embed_tokens.weight", Place(model.token_embedding.weight)
    for i, block in enumerate(model.blocks):
        name = f"model.layers.{i}"
        yield f"{name}.input_layernorm.weight", Place(block.norm1.weight)
        for part, rows in parts.items():
            yield from _linear(f"{name}.self_attn.{part}", block.attn.qkv, qkv_bias, rows)
        yield from _linear(f"{name}.self_attn.o_proj", block.attn.out, out_bias)
        if block.attn.q_norm is not None and block.attn.k_norm is not None:
            yield f"{name}.self_attn.q_norm.weight", Place(block.attn.q_norm.weight)
            yield f"{name}.self_attn.k_norm.weight", Place(block.attn.k_norm.weight)
        yield f"{name}.post_attention_layernorm.weight", Place(block.norm2.weight)
        yield from _linear(f"{name}.mlp.gate_proj", block.mlp.gate, mlp_bias)
        yield from _linear(f"{name}.mlp.up_proj", block.mlp.up, mlp_bias)
        yield from _linear(f"{name}.mlp.down_proj", block.mlp.down, mlp_bias)
    yield "model.norm.weight", Place(model.norm.weight)
    if model.head is not None:
        yield "lm_head.weight", Place(model.head.weight)


def _linear(
    name: str,
    layer: nn.Linear,
    biased: bool,
    rows: tuple[int, int] | None = None,
    turned: bool = False,
) -> Iterator[tuple[str, Place]]:
    yield f"{name}.weight", Place(layer.weight, rows, turned)
    if biased:
        first, last = rows or (0, len(layer.weight))
        yield f"{name}.bias", Place(layer.bias, rows, zeros=last - first)


def _norm(name: str, norm: Any) -> Iterator[tuple[str, Place]]:
    yield f"{name}.weight", Place(norm.weight)
    yield f"{name}.bias", Place(norm.bias, zeros=norm.weight.size)
