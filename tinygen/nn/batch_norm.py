"""Batch norm as a layer: it keeps the running statistics that the op only computes."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Buffer, Parameter
from tinygen.nn.sizes import require_sizes
from tinygen.tensor import plain


class BatchNorm2d(Module):
    """Each channel to mean 0 and variance 1 over the batch, then weight and bias (Ioffe and Szegedy
    2015): x (N, ..., C) -> the same.

    In training by the batch's own statistics, towards which the buffers `running_mean` and
    `running_var` (unbiased) move by `momentum`; in eval mode by these. The buffers stay where they
    are inside `tg.freeze` and while `tg.checkpoint` computes a pass for the second time.
    """

    def __init__(
        self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5, affine: bool = True
    ) -> None:
        require_sizes("BatchNorm2d", channels=channels)
        number("BatchNorm2d: momentum", momentum, least=0, most=1)
        self.weight = Parameter(init.ones((channels,))) if affine else None
        self.bias = Parameter(init.zeros((channels,))) if affine else None
        self.running_mean = Buffer(init.zeros((channels,)))
        self.running_var = Buffer(init.ones((channels,)))
        self.momentum, self.eps = momentum, eps

    def forward(self, x: Value) -> Any:
        y, mean, var = ops.batch_norm(
            x,
            self.running_mean.data,
            self.running_var.data,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        if self.buffers_move:  # replaced, not written to: the graph of this pass still reads them
            for buffer, new in ((self.running_mean, mean), (self.running_var, var)):
                buffer.data = plain(new)
                buffer.version += 1
        return y

    def settings(self) -> str:
        affine = "" if self.weight is not None else ", affine=False"
        return f"{self.running_mean.size}, momentum={self.momentum}{affine}"
