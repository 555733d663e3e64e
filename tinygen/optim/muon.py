"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, "Muon: an optimizer for
hidden layers in neural networks")."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tinygen import ops
from tinygen.arguments import integer
from tinygen.backend import Array, backend_of
from tinygen.errors import CheckpointError, UsageError
from tinygen.optim.flat import FlatParameters
from tinygen.optim.optimizer import Group, Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of the iteration s -> a s + b s^3 + c s^5, which brings every singular value s in (0, 1]
near 1 in five rounds; chosen for a steep slope at 0 rather than for converging to 1 exactly."""


class Muon(Optimizer):
    """m = b m + (1 - b) g;  u = orthogonal((1 - b) g + b m);  p *= 1 - lr weight_decay;
    p -= lr sqrt(max(1, rows / columns)) u.

    For the weight matrices of hidden layers (more axes than two are flattened after the first).
    Embeddings, heads, biases and gains go to `rest`, another optimiser that steps along:

        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        optimizer = Muon(matrices, lr=0.02, rest=AdamW(others, lr=3e-4))
    """

    moments = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        iterations: int = 5,
        *,
        rest: Optimizer | None = None,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            iterations=iterations,
        )
        if rest is not None and {*rest.parameters} & {*self.parameters}:
            raise UsageError("Muon: a parameter is here and in `rest`; leave it in one of them.")
        self.rest = rest

    def _check(self, group: Group) -> None:
        super()._check(group)
        integer("Muon: iterations", group["iterations"], least=1)
        for p in group["params"]:
            if p.ndim < 2:
                raise UsageError(
                    f"Muon is for matrices, and this has shape {p.shape}. Give it to another "
                    "optimiser: Muon(matrices, rest=AdamW(others))."
                )

    def step(self, lr_factor: float = 1.0) -> None:
        super().step(lr_factor)
        if self.rest is not None:
            self.rest.step(lr_factor)

    def zero_grad(self) -> None:
        super().zero_grad()
        if self.rest is not None:
            self.rest.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return state if self.rest is None else {**state, "rest": self.rest.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._fitting(state)  # before `rest` is changed
        if ("rest" in state) != (self.rest is not None):
            found, own = ("one", "none") if self.rest is None else ("none", "one")
            raise CheckpointError(
                f"this state has {found} and this Muon {own}: an optimiser of the rest. Make Muon "
                "as the one was made whose state was saved."
            )
        if self.rest is not None:
            self.rest.load_state_dict(state["rest"])
        super().load_state_dict(state)

    def _update(self, flat: FlatParameters, group: Group, lr: float) -> None:
        b = group["momentum"]
        for i, grad in flat.updates():
            rows, columns = grad.shape[0], math.prod(grad.shape[1:])
            arrays = flat.data, flat.moments["momentum"]
            p, m = (a[flat.places[i]].reshape(rows, columns) for a in arrays)
            g = grad.reshape(rows, columns)
            m *= b
            m += (1 - b) * g
            u = orthogonal((1 - b) * g + b * m if group["nesterov"] else m, group["iterations"])
            p *= 1 - lr * group["weight_decay"]
            p -= lr * math.sqrt(max(1, rows / max(1, columns))) * u


def orthogonal(x: Array, iterations: int = 5) -> Array:
    """Nearly the closest matrix with orthonormal rows or columns: singular values near 1.

    x (rows, columns), of any scale: only ratios count. A Newton-Schulz iteration, on the side with
    the smaller Gram matrix.
    """
    a, b, c = QUINTIC
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else ops.matrix_transpose(x)
    xp = backend_of([x]).xp
    largest = float(xp.maximum.reduce(xp.abs(x), axis=None, initial=0.0))
    x = x / (largest or 1.0)  # so that squares are within range
    x = x / (math.sqrt(float(xp.vdot(x, x))) or 1.0)
    for _ in range(iterations):
        gram = x @ ops.matrix_transpose(x)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else ops.matrix_transpose(x)
