"""Networks whose answers are known: a smooth one to check formulae with, and the best of all."""

import numpy as np
from mixture import PLANE

import tinygen as tg
from tinygen import nn
from tinygen.models.diffusion import Prediction, Schedule

SCHEDULE = Schedule.cosine(40)
TIMES = np.array([0, 3, 9, 20, 30, 39])
N = 6


def generator(seed=0):
    return tg.random.Generator(seed)


def draw(shape=(N, 2), seed=0):
    rng = generator(seed)
    return rng.normal(shape, "float64"), rng.normal(shape, "float64")


class Network(nn.Module):
    """Some smooth function of its inputs, which it remembers."""

    def forward(self, x, t, y=None):
        self.seen = x, t, y
        return 0.3 * x + np.cos(t)[(...,) + (None,) * (x.ndim - 1)]


class Oracle(nn.Module):
    """The best prediction of `kind` at the scales (alpha, sigma) of its time, for PLANE."""

    def __init__(self, kind, scales):
        self.kind, self.scales = kind, scales

    def forward(self, x, t, y=None):
        rows = []
        for row, time in zip(x, t, strict=True):
            alpha, sigma = self.scales(time)
            x0 = PLANE.denoise(row[None] / alpha, sigma / alpha)
            rows.append(Prediction.X0.convert(x0, row[None], alpha, sigma, to=self.kind))
        return np.concatenate(rows)
