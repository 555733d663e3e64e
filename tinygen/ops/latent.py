"""The latent of a variational auto-encoder: a draw, and what it costs, in one node."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype

__all__ = ["gaussian_latent"]


class GaussianLatent(FusedFunction):
    """z = mu + s noise, kl = (s^2 - 1 - logvar + mu^2) / 2, with s = e^(logvar/2);
    dmu = gz + gkl mu,  dlogvar = (gz s noise + gkl (s^2 - 1)) / 2,  dnoise = gz s."""

    primitives = ("gaussian_latent_forward", "gaussian_latent_backward")

    @staticmethod
    def reference(stats: Value, noise: Value) -> tuple[Value, Value]:
        mu, logvar = ops.split(stats, 2, axis=-1)  # (..., L) each
        z = mu + ops.exp(0.5 * logvar) * noise
        return z, ops.gaussian_kl(mu, logvar, reduction="none")

    def forward(self, stats: Array, noise: Array) -> tuple[Array, Array]:
        z, kl, sigma, excess = self.backend.gaussian_latent_forward(stats, noise)
        self.save(stats=stats, noise=noise, sigma=sigma, excess=excess)
        return z, kl

    def backward(self, gz: Array, gkl: Array) -> tuple[Array | None, Array | None]:
        s = self.saved
        dstats = None
        if self.needs[0]:
            dstats = self.backend.gaussian_latent_backward(
                gz, gkl, s.stats, s.noise, s.sigma, s.excess
            )
        return dstats, gz * s.sigma if self.needs[1] else None


def gaussian_latent(stats: Value, noise: Value) -> tuple[Any, Any]:
    """z ~ N(mu, e^logvar) by given standard normal noise, and KL(N(mu, e^logvar) || N(0, 1)) of
    each element, in nats (Kingma and Welling 2014, section 2.4 and appendix B).

    stats (..., 2 L) holds mu (..., L) and then logvar, as an encoder's last layer gives them; noise
    (..., L). Returns z and kl (..., L), both differentiable by stats and z by noise. One dtype.
    """
    same_float_dtype("gaussian_latent", stats=stats, noise=noise)
    if stats.ndim < 1 or noise.ndim < 1 or stats.shape != (*noise.shape[:-1], 2 * noise.shape[-1]):
        raise ShapeError(
            f"gaussian_latent: stats of shape {stats.shape} for noise of shape {noise.shape}; "
            "stats hold mu and logvar side by side, so their last axis is twice that of the noise."
        )
    z, kl = GaussianLatent.apply(stats, noise)
    return z, kl
