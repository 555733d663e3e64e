"""Generative adversarial networks."""

from tinygen.models.gan.augment import DiffAugment
from tinygen.models.gan.config import GANConfig
from tinygen.models.gan.duel import Duel, Objective
from tinygen.models.gan.gan import Discriminator, Generator
from tinygen.models.gan.losses import (
    LOSSES,
    Hinge,
    LeastSquares,
    Loss,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from tinygen.models.gan.monitor import CollapseMonitor, Finding, Limits
from tinygen.models.gan.penalties import clip_weights, gradient_penalty, r1, r2

__all__ = [
    "LOSSES",
    "CollapseMonitor",
    "DiffAugment",
    "Discriminator",
    "Duel",
    "Finding",
    "GANConfig",
    "Generator",
    "Hinge",
    "LeastSquares",
    "Limits",
    "Loss",
    "Minimax",
    "NonSaturating",
    "Objective",
    "Relativistic",
    "Wasserstein",
    "clip_weights",
    "gradient_penalty",
    "r1",
    "r2",
]
