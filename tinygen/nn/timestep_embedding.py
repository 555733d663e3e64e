"""Times as vectors."""

from __future__ import annotations

import math
from typing import Any

from tinygen import ops
from tinygen.backend import backend_of
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.tensor import plain


def sinusoidal(t: Value, width: int, *, max_period: float = 10000.0) -> Any:
    """t (N,) -> (N, width), float64: sin(t f_i), then cos(t f_i), with the frequencies
    f_i = max_period^(-i / (width/2)), i < width/2, from 1 down almost to 1/max_period (Vaswani et
    al. 2017, section 3.5). Angles are float64, since t may be 1000 and f_i is 1."""
    if width < 2 or width % 2:
        raise UsageError(
            f"sinusoidal: width is {width}; it is even, one half for sin and one for cos."
        )
    if getattr(t, "ndim", None) != 1:
        raise ShapeError(
            f"sinusoidal: t has shape {getattr(t, 'shape', None)}; give one time an example, (N,)."
        )
    xp = backend_of([plain(t)]).xp
    half = width // 2
    frequencies = xp.exp(xp.arange(half, dtype="float64") * (-math.log(max_period) / half))
    angles = ops.expand_dims(ops.astype(t, "float64"), 1) * frequencies  # (N, 1) (width/2,)
    return ops.concat([ops.sin(angles), ops.cos(angles)], axis=1)


class TimestepEmbedding(Module):
    """out(silu(hidden(sinusoidal(t)))): t (N,) -> (N, out_features) (Ho et al. 2020, appendix B).

    `width` is that of the sinusoids, which tell times of the order of 0 ... 1000 apart; multiply
    times in [0, 1] by 1000 first.
    """

    def __init__(self, width: int, out_features: int, *, rng: Generator) -> None:
        require_sizes("TimestepEmbedding", width=width, out_features=out_features)
        if width % 2:
            raise UsageError(f"TimestepEmbedding: width is {width}; it must be even.")
        self.hidden = Linear(width, out_features, activation="silu", rng=rng)
        self.out = Linear(out_features, out_features, rng=rng)
        self.width = width

    def forward(self, t: Value) -> Any:
        waves = sinusoidal(t, self.width)  # (N, width)
        return self.out(self.hidden(ops.astype(waves, self.hidden.weight.dtype)))

    def settings(self) -> str:
        return f"{self.width} -> {self.out.weight.shape[0]}"
