"""From noise to data: each sampler is a generator of `Step`s."""

from tinygen.models.diffusion.sampling.discrete import sample_ddim, sample_ddpm
from tinygen.models.diffusion.sampling.dpm_solver import sample_dpmpp_2m
from tinygen.models.diffusion.sampling.euler import sample_euler, sample_euler_ancestral
from tinygen.models.diffusion.sampling.heun import sample_heun
from tinygen.models.diffusion.sampling.steps import Denoise, Step

__all__ = [
    "Denoise",
    "Step",
    "sample_ddim",
    "sample_ddpm",
    "sample_dpmpp_2m",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
]
