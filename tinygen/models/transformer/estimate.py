"""What a GPT or a Llama will cost, before it is built: parameters, FLOPs, memory.

N parameters, B batch, T positions, C width, H query heads and G key/value heads of D features,
F hidden features of an MLP, L blocks, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.arguments import integer
from tinygen.models.transformer.gpt import GPTConfig
from tinygen.models.transformer.llama import LlamaConfig

Config = GPTConfig | LlamaConfig

ADAMW_COPIES = 4
"""Of the parameters: themselves, their gradients, and AdamW's two running means."""


@dataclass(frozen=True)
class Estimate:
    """Counts for one configuration; FLOPs and bytes are those of training in float32."""

    parameters: int
    products: int
    """Parameters that a token is multiplied by: all matrices but the tables it is looked up in."""
    forward_flops: int
    """FLOPs a token, over texts of block_size: two for each of `products`, and attention's."""
    state_bytes: int
    """Parameters, gradients and AdamW's means."""
    activation_bytes: int
    """What a step keeps for its backward pass, at its most, for a batch."""

    @property
    def training_flops(self) -> int:
        """FLOPs a token of a training step: backward costs twice what forward does (Kaplan et al.
        2020, arXiv:2001.08361, table 1 and section 2.1)."""
        return 3 * self.forward_flops

    @property
    def training_bytes(self) -> int:
        return self.state_bytes + self.activation_bytes

    def __str__(self) -> str:
        state, activations = self.state_bytes / 2**30, self.activation_bytes / 2**30
        return (
            f"{self.parameters:,} parameters; {self.training_flops / 1e6:,.2f} MFLOP a token of "
            f"training; {state + activations:,.2f} GiB of memory, {state:,.2f} for parameters, "
            f"gradients and AdamW and {activations:,.2f} for activations"
        )


def estimate(config: Config, batch: int = 1) -> Estimate:
    """What training a model of this configuration costs, with `batch` texts of block_size a step.

    Parameters and the products' FLOPs are exact. Bytes are those of the arrays that the nodes of
    the graph keep, and of the gradient of the logits; measured peaks lie within a tenth of them
    for models whose activations outweigh their parameters.
    """
    batch = integer("batch", batch, least=1)
    c = config
    matrices, vectors, kept, extra = _gpt_block(c) if isinstance(c, GPTConfig) else _llama_block(c)
    tables = c.vocab_size * c.width
    head = c.vocab_size * c.width
    parameters = tables + c.n_layer * (matrices + vectors) + (0 if c.tied else head)
    parameters += c.width  # the last norm
    if isinstance(c, GPTConfig):
        parameters += c.block_size * c.width + c.bias * c.width
    products = c.n_layer * matrices + head
    numbers = c.n_layer * kept + 2 * c.width + 2 * c.vocab_size  # logits and their gradient
    dropped = (2 * c.n_layer + 1) * c.width if c.dropout else 0  # masks, a byte each
    return Estimate(
        parameters=parameters,
        products=products,
        forward_flops=2 * products + extra,
        state_bytes=4 * ADAMW_COPIES * parameters,
        activation_bytes=batch * c.block_size * (4 * numbers + dropped),
    )


def _gpt_block(c: GPTConfig) -> tuple[int, int, int, int]:
    """Of one block: entries of its matrices, of its vectors, numbers kept a token; and of all
    blocks: FLOPs of attention a token."""
    C, F = c.width, 4 * c.width if c.hidden is None else c.hidden
    matrices = 4 * C * C + 2 * C * F
    vectors = 2 * C + c.bias * (2 * C + 3 * C + C + F + C)
    # Kept: two sums, two norms, qkv, attention's output, the activation and its slope; and a few
    # numbers a token and head.
    kept = 2 * C + 2 * C + 3 * C + C + 2 * F + 4 + 2 * c.n_head
    return matrices, vectors, kept, _attention_flops([None] * c.n_layer, c.block_size, C)


def _llama_block(c: LlamaConfig) -> tuple[int, int, int, int]:
    C, F, D, H, G = c.width, c.mlp_width, c.features, c.n_head, c.n_groups
    packed = (H + 2 * G) * D
    matrices = packed * C + H * D * C + 3 * C * F
    vectors = 2 * C + 2 * D * c.qk_norm
    vectors += packed * c.qkv_bias + C * c.out_bias + (2 * F + C) * c.mlp_bias
    # Kept: two sums, two norms, qkv, queries and keys turned (and before that normed), attention's
    # output, gate, up and their product.
    turned = (H + G) * D * (2 if c.qk_norm else 1)
    kept = 2 * C + 2 * C + packed + turned + H * D + 3 * F + 2 + 2 * H
    return matrices, vectors, kept, _attention_flops(c.windows, c.block_size, H * D)


def _attention_flops(windows: list[None] | tuple[int | None, ...], T: int, width: int) -> int:
    """Scores and their sums: 4 FLOPs for each feature of each key that a query sees, a token."""
    pairs = 0
    for window in windows:
        w = T if window is None else min(window, T)
        pairs += w * (w + 1) // 2 + (T - w) * w  # over the queries of one text
    return 4 * width * pairs // T
