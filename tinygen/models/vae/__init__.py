"""Variational auto-encoders and their discrete relatives."""

from tinygen.models.vae.evidence import LogLikelihood, anomaly_score, log_likelihood
from tinygen.models.vae.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
)
from tinygen.models.vae.vae import VAE, VAEConfig, kl_warmup

__all__ = [
    "VAE",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "Gaussian",
    "Likelihood",
    "LogLikelihood",
    "VAEConfig",
    "anomaly_score",
    "kl_warmup",
    "log_likelihood",
]
