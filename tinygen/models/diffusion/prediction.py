"""What a network predicts, and how one prediction becomes another.

Data x0 and noise are mixed to xt = alpha x0 + sigma noise. A network sees xt and predicts some
mixture of the two, p = a x0 + b noise:

    prediction     a       b        det = alpha b - sigma a
    X0             1       0        -sigma
    NOISE          0       1        alpha                    Ho et al. 2020
    V              -sigma  alpha    alpha^2 + sigma^2        Salimans and Ho 2022
    FLOW           -1      1        alpha + sigma            Lipman et al. 2023, Liu et al. 2023

xt and p are two equations for x0 and noise, so p determines every other prediction q:

    q = (A xt + det_q p) / det_p,    A = b_p a_q - a_p b_q

For V and FLOW the determinant is never 0: they say something at every noise level. X0 says nothing
about the noise where sigma is 0, NOISE nothing about the data where alpha is 0.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.diffusion.levels import Level, per_example


class Prediction(Enum):
    """One of the four mixtures of data and noise; `Prediction("v")` is `Prediction.V`."""

    X0 = "x0"
    NOISE = "noise"
    V = "v"
    FLOW = "flow"

    def mixture(self, alpha: Level, sigma: Level) -> tuple[Level, Level]:
        """(a, b) of a x0 + b noise."""
        match self:
            case Prediction.X0:
                return 1.0, 0.0
            case Prediction.NOISE:
                return 0.0, 1.0
            case Prediction.V:
                return -sigma, alpha
            case Prediction.FLOW:
                return -1.0, 1.0

    def determinant(self, alpha: Level, sigma: Level) -> Level:
        """alpha b - sigma a: how strongly the prediction tells data and noise apart. An error e in
        it is an error -sigma / det e in x0, and alpha / det e in the noise."""
        a, b = self.mixture(alpha, sigma)
        return alpha * b - sigma * a

    def target(self, x0: Value, noise: Value, alpha: Level, sigma: Level) -> Any:
        """The right prediction for x0 and noise, (N, ...); alpha and sigma numbers or (N,)."""
        a, b = self.mixture(alpha, sigma)
        return per_example(a, x0) * x0 + per_example(b, x0) * noise

    def convert(self, p: Value, xt: Value, alpha: Level, sigma: Level, *, to: Prediction) -> Any:
        """The prediction `p` of this kind, made at xt, as one of the kind `to`.

        UsageError where this kind leaves the other one open: see the module's last paragraph.
        """
        if self is to:
            return p
        alpha, sigma = np.asarray(alpha, np.float64), np.asarray(sigma, np.float64)
        det = self.determinant(alpha, sigma)
        if not np.all(det != 0):
            raise UsageError(
                f"a prediction of {self.value} does not determine {to.value} where "
                f"{'alpha' if self is Prediction.NOISE else 'sigma'} is 0; predict v or flow, "
                "which do at every noise level."
            )
        (a_p, b_p), (a_q, b_q) = (kind.mixture(alpha, sigma) for kind in (self, to))
        of_xt = (b_p * a_q - a_p * b_q) / det
        of_p = to.determinant(alpha, sigma) / det
        return per_example(of_xt, xt) * xt + per_example(of_p, xt) * p

    def x0(self, p: Value, xt: Value, alpha: Level, sigma: Level) -> Any:
        """The data that this prediction means."""
        return self.convert(p, xt, alpha, sigma, to=Prediction.X0)

    def noise(self, p: Value, xt: Value, alpha: Level, sigma: Level) -> Any:
        """The noise that this prediction means; the score of p(xt) is -noise / sigma."""
        return self.convert(p, xt, alpha, sigma, to=Prediction.NOISE)
