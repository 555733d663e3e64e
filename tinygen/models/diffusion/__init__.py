"""Diffusion and flow models: noise becomes data by small steps that a network has learned.

      forward: add noise, nothing to learn
      x0 ────────▶ x1 ────────▶ x2 ──── ··· ────────▶ xT ≈ noise
      data         q(x_t | x_{t-1})                   N(0, I)
      x0 ◀──────── x1 ◀──────── x2 ◀─── ··· ───────── xT
      backward: a denoiser's estimate of x0 says where to go

One idea, in three parts that fit together freely:

    a network        network(x, t, y) -> prediction          MLPDenoiser, UNet, DiT
    a model          loss(x0), denoise(x, sigma) -> x0       DDPM, EDM, Flow
    a sampler        denoise, noise -> steps                 sample_euler, ...

`schedule` says how much noise there is when, `prediction` what the network predicts of it,
`guidance` and `editing` wrap denoisers, `likelihood` measures them, and `masked` does for text what
noise does for images. A noise level sigma always means x = x0 + sigma noise.
"""

from tinygen.models.diffusion.ddpm import DDPM
from tinygen.models.diffusion.dit import DiT, DiTConfig
from tinygen.models.diffusion.editing import keep_known, sample_repaint, start_from
from tinygen.models.diffusion.edm import EDM
from tinygen.models.diffusion.flow import Flow, flow_times
from tinygen.models.diffusion.guidance import drop_classes, guide
from tinygen.models.diffusion.likelihood import Likelihood, bits_per_dimension, log_likelihood
from tinygen.models.diffusion.masked import (
    MaskedConfig,
    MaskedDiffusion,
    MaskedStep,
    MaskedTransformer,
)
from tinygen.models.diffusion.mlp import MLPConfig, MLPDenoiser
from tinygen.models.diffusion.prediction import Prediction
from tinygen.models.diffusion.sampling import (
    Denoise,
    Step,
    sample_ddim,
    sample_ddpm,
    sample_dpmpp_2m,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
)
from tinygen.models.diffusion.schedule import Schedule, karras_sigmas
from tinygen.models.diffusion.unet import UNet, UNetConfig

__all__ = [
    "DDPM",
    "EDM",
    "Denoise",
    "DiT",
    "DiTConfig",
    "Flow",
    "Likelihood",
    "MLPConfig",
    "MLPDenoiser",
    "MaskedConfig",
    "MaskedDiffusion",
    "MaskedStep",
    "MaskedTransformer",
    "Prediction",
    "Schedule",
    "Step",
    "UNet",
    "UNetConfig",
    "bits_per_dimension",
    "drop_classes",
    "flow_times",
    "guide",
    "karras_sigmas",
    "keep_known",
    "log_likelihood",
    "sample_ddim",
    "sample_ddpm",
    "sample_dpmpp_2m",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
    "sample_repaint",
    "start_from",
]
