"""Normalisation of each image by itself."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes


class GroupNorm(Module):
    """Each group of channels of each image to mean 0 and variance 1, then weight and bias (Wu and
    He 2018), then an `activation` of `tg.ops.group_norm` in the same node: x (N, ..., C)."""

    def __init__(
        self,
        groups: int,
        channels: int,
        *,
        eps: float = 1e-5,
        affine: bool = True,
        activation: str | None = None,
    ) -> None:
        require_sizes("GroupNorm", groups=groups, channels=channels)
        if channels % groups:
            raise UsageError(
                f"GroupNorm: {channels} channels cannot be cut into {groups} groups; channels must "
                "be a multiple of groups."
            )
        self.weight = Parameter(init.ones((channels,))) if affine else None
        self.bias = Parameter(init.zeros((channels,))) if affine else None
        self.groups, self.channels, self.eps, self.activation = groups, channels, eps, activation

    def forward(self, x: Value) -> Any:
        return ops.group_norm(
            x, self.groups, self.weight, self.bias, eps=self.eps, activation=self.activation
        )

    def settings(self) -> str:
        activation = "" if self.activation is None else f", activation={self.activation!r}"
        affine = "" if self.weight is not None else ", affine=False"
        return f"{self.groups}, {self.channels}{affine}{activation}"


class InstanceNorm(Module):
    """Each channel of each image to mean 0 and variance 1 (Ulyanov et al. 2016), then weight and
    bias if `affine`: x (N, ..., C)."""

    def __init__(self, channels: int, *, eps: float = 1e-5, affine: bool = False) -> None:
        require_sizes("InstanceNorm", channels=channels)
        self.weight = Parameter(init.ones((channels,))) if affine else None
        self.bias = Parameter(init.zeros((channels,))) if affine else None
        self.channels, self.eps = channels, eps

    def forward(self, x: Value) -> Any:
        return ops.instance_norm(x, self.weight, self.bias, eps=self.eps)

    def settings(self) -> str:
        return f"{self.channels}{', affine=True' if self.weight is not None else ''}"
