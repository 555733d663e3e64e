"""Images and their pixels as the likelihoods of `models/vae` take them, for the recipes of
auto-encoders."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinygen.checkpoints import State
from tinygen.data.baselines import gaussian_pixels_nats, independent_pixels_nats
from tinygen.data.images import ImageBatches, binarise
from tinygen.errors import InputError, UsageError
from tinygen.random import Generator
from tinygen.recipes.examples import ImageSettings, image_split
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


class PixelExamples:
    """The training and the held-out part of a set of images, and the streams that draw from it."""

    def __init__(
        self,
        data: ImageSettings,
        pixels: PixelSettings,
        *,
        conditional: bool,
        batch: int,
        rng: Generator,
    ) -> None:
        """Read the data. Raises InputError, UsageError."""
        self.source, self.pixels = data.source, pixels
        self.train, held_out = image_split(data)
        self.classes = len(self.train.classes) if conditional else None
        if conditional and not self.classes:
            raise UsageError(f"conditional: {data.source} has no classes")
        self.held_out = pixels.data(held_out.images, Generator("held-out pixels"))
        self.held_out_labels = held_out.labels if self.classes else None
        self.batches = ImageBatches(self.train, batch, rng.spawn("data"))
        self.draws = rng.spawn("draws")

    def next_batch(self) -> tuple[Array, Array | None]:
        """(x, labels or None), binarised anew each time that an image is seen."""
        images, labels = next(self.batches)
        return self.pixels.data(images, self.draws), labels if self.classes else None

    def held_out_parts(self, size: int) -> Iterator[tuple[Array, Array | None]]:
        """(x, labels or None) of the held-out images, at most `size` at a time."""
        labels = self.held_out_labels
        for start in range(0, len(self.held_out), size):
            part = slice(start, start + size)
            yield self.held_out[part], None if labels is None else labels[part]

    def baseline(self) -> tuple[str, float]:
        """Every pixel by itself, with its own distribution over the training images."""
        train = self.pixels.data(self.train.images, Generator("training pixels"))
        return "independent pixels", self.pixels.independent(train, self.held_out)

    def state_dict(self) -> State:
        return {
            "batches": self.batches.state_dict(),
            "draws": self.draws.state_dict(),
            "data": self.train.sha256,
            "data_shape": list(self.train.shape),
            "classes": self.classes,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from `state`, of a recipe. Raises InputError where the images are others."""
        if state["data"] != self.train.sha256:
            raise InputError(
                f"the images {self.source!r} are not what the run was trained on: their sha256 is "
                f"{self.train.sha256}, it was {state['data']}; restore the data"
            )
        self.batches.load_state_dict(state["batches"])
        self.draws.load_state_dict(state["draws"])
