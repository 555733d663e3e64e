"""Diffusion and flow models: noise becomes data by small steps that a network has learned."""

from tinygen.models.diffusion.dit import DiT, DiTConfig
from tinygen.models.diffusion.unet import UNet, UNetConfig

__all__ = ["DiT", "DiTConfig", "UNet", "UNetConfig"]
