"""The exact log-likelihood of a diffusion model, along its probability flow (Song et al. 2021,
"Score-based generative modeling through stochastic differential equations", section 4.3 and
appendix D.2; the change of variables is Chen et al. 2018, "Neural ODEs", eq. 8).

With u = log sigma the flow and the density of what flows are

    dx/du = x - D(x, sigma)          d log p(x)/du = -(d - tr dD/dx)        x of d numbers

so x is followed from sigma_min, where it is nearly data, to sigma_max, where it is nearly normal,
and log p(x) is that normal density plus the integral of d - tr dD/dx on the way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygen import autograd
from tinygen.arguments import integer, number
from tinygen.backend import backend_of
from tinygen.errors import ShapeError
from tinygen.function import Value
from tinygen.grad_mode import enable_grad
from tinygen.models.diffusion.levels import Floats, require_batch
from tinygen.models.diffusion.ode import dormand_prince
from tinygen.models.diffusion.sampling.steps import Denoise
from tinygen.tensor import Tensor, as_numpy


class Likelihood(NamedTuple):
    """What the flow found, for x (N, ...)."""

    nats: Floats
    """log p(x), (N,), float64: the density at noise level sigma_min."""
    latent: Floats
    """x at sigma_max, (N, ...), float64: the noise from which the flow would make x."""
    evaluations: int
    """How often the denoiser was evaluated."""


def log_likelihood(
    denoise: Denoise,
    x: Value,
    *,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    data_mean: Value = 0.0,
    data_std: float = 0.0,
    noise: Value = None,
    rtol: float = 1e-6,
    atol: float = 1e-6,
) -> Likelihood:
    """log p(x) in nats for each example of x (N, ...), which is taken as data at `sigma_min`.

    The density at sigma_max is taken as N(data_mean, (sigma_max^2 + data_std^2) I), where data_mean
    is a number or an example. Left at 0 it costs about |mean| z / sigma_max nats at a latent of
    length z sigma_max: give the data's mean, or a larger sigma_max.

    The divergence is exact by default and costs d backward passes; with `noise` (K, N, ...), of
    mean 0 and variance 1 each, it is Hutchinson's unbiased estimate from those K directions
    (Hutchinson 1990; random signs have the least variance). The flow is solved to `rtol` and `atol`
    in float64; the denoiser sees x in its own dtype, one example independent of the others, and
    must be made of ops, since it is differentiated.
    """
    require_batch("log_likelihood", x)
    number("log_likelihood: sigma_min", sigma_min, above=0)
    number("log_likelihood: sigma_max", sigma_max, above=sigma_min)
    number("log_likelihood: data_std", data_std, least=0)
    if noise is not None and (noise.ndim != x.ndim + 1 or noise.shape[1:] != x.shape):
        raise ShapeError(
            f"noise has shape {noise.shape} for x of shape {x.shape}; it is (K, *x.shape), K "
            "directions for each example."
        )
    N, d = len(x), math.prod(x.shape[1:])
    evaluations = 0

    def slope(u: float, state: Floats) -> Floats:
        nonlocal evaluations
        evaluations += 1
        at = state[:, :d]
        x0, trace = _denoised(denoise, at.reshape(x.shape).astype(x.dtype), math.exp(u), noise)
        return np.concatenate([at - x0.reshape(N, d), d - trace[:, None]], axis=1)

    start = np.zeros((N, d + 1))  # x, and the integral of the divergence
    start[:, :d] = as_numpy(x).reshape(N, d)
    ends = math.log(sigma_min), math.log(sigma_max)
    end = dormand_prince(slope, start, *ends, rtol=rtol, atol=atol)
    latent, gained = end[:, :d], end[:, d]
    variance = sigma_max**2 + data_std**2
    mean = data_mean if isinstance(data_mean, (int, float)) else as_numpy(data_mean)
    from_mean = latent - np.broadcast_to(mean, x.shape).reshape(N, d)
    square = (from_mean**2).sum(axis=1) / variance
    normal = -0.5 * (square + d * math.log(2 * math.pi * variance))
    return Likelihood(normal + gained, latent.reshape(x.shape), evaluations)


def bits_per_dimension(nats: Floats, dimensions: int, bin_width: float = 1.0) -> Floats:
    """-log2 P / dimensions, where P is the probability of a bin of `bin_width` in each dimension
    whose density has the logarithm `nats`: for 8-bit images scaled to [-1, 1], bin_width 2/256."""
    integer("bits_per_dimension: dimensions", dimensions, least=1)
    number("bits_per_dimension: bin_width", bin_width, above=0)
    return -(nats / dimensions + math.log(bin_width)) / math.log(2)


def _denoised(denoise: Denoise, x: Value, sigma: float, noise: Value) -> tuple[Floats, Floats]:
    """D (N, ...) and tr dD/dx (N,), exact or along `noise`."""
    with enable_grad():
        leaf = Tensor(backend_of([x]).asarray(x), requires_grad=True)
        x0 = denoise(leaf, sigma)
        if noise is None:
            noise = _basis(x)
            scale = 1.0
        else:
            noise = noise.astype(x.dtype)
            scale = 1 / len(noise)
        trace = np.zeros(len(x))
        for direction in noise:
            (product,) = autograd.grad(x0, leaf, direction, retain_graph=True)
            along = as_numpy(product) * as_numpy(direction)
            trace += along.reshape(len(x), -1).sum(axis=1, dtype=np.float64)
    return as_numpy(x0).astype(np.float64), scale * trace


def _basis(x: Value) -> Any:
    """The d unit directions, each for all examples: (d, N, ...)."""
    N, d = len(x), math.prod(x.shape[1:])
    unit = np.eye(d, dtype=x.dtype).reshape(d, 1, *x.shape[1:])
    return np.broadcast_to(unit, (d, N, *x.shape[1:])).copy()
