"""A draw from a diagonal normal distribution and its divergence from N(0, I), elementwise.

sigma = e^(logvar/2);  z = mu + sigma noise;  kl = (e^logvar - 1 - logvar + mu^2) / 2
dmu = gz + gkl mu;     dlogvar = (gz sigma noise + gkl (e^logvar - 1)) / 2;     dnoise = gz sigma
"""

import numpy as np

from tinygen.backend.numpy_backend.array import Array


def gaussian_latent_forward(stats: Array, noise: Array) -> tuple[Array, Array, Array, Array]:
    """stats (..., 2 L), mu before logvar; noise (..., L) -> z and kl (..., L), and for backward
    sigma and e^logvar - 1."""
    width = noise.shape[-1]
    mu, logvar = stats[..., :width], stats[..., width:]
    sigma = np.multiply(logvar, 0.5)
    np.exp(sigma, out=sigma)
    excess = np.expm1(logvar)  # keeps the small kl of a nearly standard normal exact
    kl = excess - logvar
    z = np.multiply(mu, mu)
    kl += z
    kl *= 0.5
    np.multiply(sigma, noise, out=z)
    z += mu
    return z, kl, sigma, excess


def gaussian_latent_backward(
    gz: Array, gkl: Array, stats: Array, noise: Array, sigma: Array, excess: Array
) -> Array:
    """The gradient of stats (..., 2 L)."""
    width = noise.shape[-1]
    dstats = np.empty(stats.shape, stats.dtype)
    dmu, dlogvar = dstats[..., :width], dstats[..., width:]
    np.multiply(gkl, stats[..., :width], out=dmu)
    dmu += gz
    np.multiply(gz, sigma, out=dlogvar)
    dlogvar *= noise
    dlogvar += gkl * excess
    dlogvar *= 0.5
    return dstats
