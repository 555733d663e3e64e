"""Pixels as the likelihoods of `models/vae` take them, for the recipes of auto-encoders."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinygen.data.baselines import gaussian_pixels_nats, independent_pixels_nats
from tinygen.data.images import binarise
from tinygen.random import Generator
from tinygen.training.config import Settings, setting

Array = NDArray[Any]


@dataclass(frozen=True)
class PixelSettings(Settings):
    likelihood: Literal["bernoulli", "gaussian", "categorical", "logistic"] = setting(
        "categorical", "bernoulli (of binarised pixels), gaussian, categorical or logistic"
    )
    levels: int = setting(17, "values of a pixel, for categorical and logistic", least=2, most=256)

    def data(self, images: Array, rng: Generator) -> Array:
        """uint8 images as the likelihood wants them; only binarising draws."""
        if self.likelihood == "bernoulli":
            return binarise(images, rng)
        if self.likelihood == "gaussian":
            return images.astype(np.float32) / np.float32(255)
        return np.rint(images * ((self.levels - 1) / 255)).astype(np.int64)  # the nearest level

    def picture(self, x: Array) -> Array:
        """What the model makes, in [0, 1]."""
        if self.likelihood in ("categorical", "logistic"):
            return np.asarray(x / (self.levels - 1))
        return np.asarray(np.clip(x, 0, 1))

    def independent(self, train: Array, held_out: Array) -> float:
        """Nats of a held-out image where every pixel has, by itself, its own distribution over the
        training images."""
        if self.likelihood == "gaussian":
            return gaussian_pixels_nats(train, held_out)
        levels = 2 if self.likelihood == "bernoulli" else self.levels
        return independent_pixels_nats(train, held_out, levels)
