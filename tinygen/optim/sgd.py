"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tinygen.errors import UsageError
from tinygen.optim.flat import FlatParameters
from tinygen.optim.optimizer import Group, Optimizer


class SGD(Optimizer):
    """g += weight_decay p;  m = momentum m + g;  p -= lr m, or lr (g + momentum m) with Nesterov's
    look-ahead (Sutskever et al. 2013, in the form that every library uses)."""

    moments = ("momentum",)  # with momentum = 0, m is g and is not kept

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )

    def _check(self, group: Group) -> None:
        super()._check(group)
        if group["nesterov"] and not group["momentum"]:
            raise UsageError("SGD: nesterov looks ahead along the momentum; give momentum > 0.")

    def _kept(self, group: Group) -> tuple[str, ...]:
        return self.moments if group["momentum"] else ()

    def _update(self, flat: FlatParameters, group: Group, lr: float) -> None:
        momentum, weight_decay = group["momentum"], group["weight_decay"]
        for _, place, grad in flat.blocks():
            p = flat.data[place]
            g = grad + weight_decay * p if weight_decay else grad
            if momentum:
                m = flat.moments["momentum"][place]
                m *= momentum
                m += g
                g = g + momentum * m if group["nesterov"] else m
            p -= lr * g
