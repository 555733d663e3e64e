"""Variational auto-encoders and their discrete relatives."""

from tinygen.models.vae.evidence import LogLikelihood, anomaly_score, log_likelihood
from tinygen.models.vae.fsq import FSQ
from tinygen.models.vae.latent import interpolate, latent_walk
from tinygen.models.vae.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
)
from tinygen.models.vae.networks import LIKELIHOODS, VAEConfig
from tinygen.models.vae.prior import CodePrior
from tinygen.models.vae.quantizer import Quantised, VectorQuantizer, usage
from tinygen.models.vae.vae import VAE, kl_warmup
from tinygen.models.vae.vqvae import VQVAE, VQVAEConfig

__all__ = [
    "FSQ",
    "LIKELIHOODS",
    "VAE",
    "VQVAE",
    "Bernoulli",
    "Categorical",
    "CodePrior",
    "DiscretisedLogistic",
    "Gaussian",
    "Likelihood",
    "LogLikelihood",
    "Quantised",
    "VAEConfig",
    "VQVAEConfig",
    "VectorQuantizer",
    "anomaly_score",
    "interpolate",
    "kl_warmup",
    "latent_walk",
    "log_likelihood",
    "usage",
]
