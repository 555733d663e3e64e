"""Adam (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019, algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from tinygen.backend import backend_of
from tinygen.errors import UsageError
from tinygen.optim.flat import FlatParameters
from tinygen.optim.optimizer import Group, Optimizer


class Adam(Optimizer):
    """m = b1 m + g;  v = b2 v + g^2;  p -= lr c1 m / (sqrt(c2 v) + eps), c = (1 - b) / (1 - b^t),
    with g += weight_decay p before. (The paper's moments are (1 - b1) m and (1 - b2) v.)"""

    moments = ("m", "v")
    nonnegative = ("v",)
    decoupled: ClassVar[bool] = False
    """Whether weight decay acts on the parameter itself instead of on the gradient."""

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _check(self, group: Group) -> None:
        super()._check(group)
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise UsageError(f"{type(self).__name__}: betas are two numbers, not {betas!r}.")

    def _update(self, flat: FlatParameters, group: Group, lr: float) -> None:
        update = backend_of([flat.data]).adamw_update
        weight_decay = group["weight_decay"]
        beta1, beta2 = group["betas"]
        for step, place, grad in flat.blocks():
            p, m, v = flat.data[place], flat.moments["m"][place], flat.moments["v"][place]
            if weight_decay and not self.decoupled:
                grad = grad + weight_decay * p
            update(
                p,
                grad,
                m,
                v,
                lr=lr,
                beta1=beta1,
                beta2=beta2,
                eps=group["eps"],
                weight_decay=weight_decay if self.decoupled else 0.0,
                step=step,
                scratch=flat.scratch,
            )


class AdamW(Adam):
    """Adam, whose weight decay p *= 1 - lr weight_decay does not pass through the moments."""

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
