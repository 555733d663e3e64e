"""One dial for the size of a model: its depth. Width, heads, learning rate and the number of tokens
to learn from follow, so that models of several depths are trained alike.

    width = 64 depth, heads of 64 features, depth of them    GPT-2's proportions: depth 12 is its
                                                             smallest, 768 wide with 12 heads
    tokens = 20 (matrices and head)                          Hoffmann et al. 2022, arXiv:2203.15556,
                                                             approach 2, table 3
    lr ~ 1 / sqrt(width)                                     nanochat (Karpathy 2025,
                                                             github.com/karpathy/nanochat), which
                                                             has these proportions too
    lr ~ sqrt(tokens a step)                                 for Adam: Malladi et al. 2022,
                                                             arXiv:2205.10287, definition 4.1
"""

from __future__ import annotations

import math

from tinygen.arguments import integer
from tinygen.models.transformer.estimate import Config, estimate

HEAD_DIM = 64
WIDTH_A_LAYER = 64
TOKENS_A_PARAMETER = 20


def sizes(depth: int) -> dict[str, int]:
    """`n_layer`, `n_head` and `width` of a model of that depth."""
    depth = integer("depth", depth, least=1)
    width = WIDTH_A_LAYER * depth
    return {"n_layer": depth, "n_head": width // HEAD_DIM, "width": width}


def token_budget(config: Config) -> int:
    """How many tokens a model is to be trained on, so that more of them instead of parameters, or
    the other way round, would be a worse use of the same FLOPs."""
    return TOKENS_A_PARAMETER * estimate(config).products


def learning_rate(lr: float, *, wider: float, longer: float) -> float:
    """AdamW's learning rate for a model `wider` times as wide, and for steps of `longer` times as
    many tokens, as those that `lr` was found for. Rounded to two digits."""
    scaled = lr * math.sqrt(longer / wider)
    return float(f"{scaled:.2g}")
