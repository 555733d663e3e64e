"""Normalisation whose scale and shift are functions of a condition."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator


def modulate(x: Value, scale: Value, shift: Value) -> Any:
    """x (1 + scale) + shift, with x (N, ..., C) and one scale and shift (N, C) an image."""
    shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
    return x * (1.0 + ops.reshape(scale, shape)) + ops.reshape(shift, shape)


class AdaptiveNorm(Module):
    """norm(x) (1 + scale) + shift, with scale and shift linear in a condition: x (N, ..., C) and
    condition (N, D) -> (N, ..., C) (FiLM, Perez et al. 2018; adaLN, Peebles and Xie 2023).

    The norm has no parameters of its own: group norm with `groups`, or layer norm if it is None.
    The linear map starts at zero, so the layer starts as the plain norm.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        *,
        groups: int | None = None,
        eps: float = 1e-5,
        rng: Generator,
    ) -> None:
        require_sizes("AdaptiveNorm", channels=channels, condition=condition)
        self.modulation = Linear(condition, 2 * channels, rng=rng).zeroed()
        self.groups, self.eps = groups, eps

    def forward(self, x: Value, condition: Value) -> Any:
        if self.groups is None:
            normal = ops.layer_norm(x, eps=self.eps)
        else:
            normal = ops.group_norm(x, self.groups, eps=self.eps)
        scale, shift = ops.split(self.modulation(condition), 2, axis=-1)  # (N, C) each
        return modulate(normal, scale, shift)

    def settings(self) -> str:
        return "layer norm" if self.groups is None else f"groups={self.groups}"
