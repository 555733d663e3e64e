"""Synthetic sets whose truth is known: every figure about a model can be held against it.

`mixture` has Gaussian mixtures with exact density, score and denoiser at every noise level;
`planar` the two-dimensional sets (ring, grid, moons, spirals, checkerboard) that GAN and diffusion
papers draw; `shapes` pictures with known factors of variation. Every `sample` takes its `rng`;
densities are in nats, computed in float64.
"""

from tinygen.data.synthetic.mixture import GaussianMixture
from tinygen.data.synthetic.planar import (
    PLANAR,
    Checkerboard,
    Modes,
    NoisyCurves,
    checkerboard,
    grid,
    moons,
    ring,
    spirals,
)
from tinygen.data.synthetic.shapes import Shapes

__all__ = [
    "PLANAR",
    "Checkerboard",
    "GaussianMixture",
    "Modes",
    "NoisyCurves",
    "Shapes",
    "checkerboard",
    "grid",
    "moons",
    "ring",
    "spirals",
]
