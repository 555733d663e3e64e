"""What the image families learn from: sets of images, and planar sets whose truth is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinygen.checkpoints import State
from tinygen.data.images import ImageBatches, ImageSet, PointBatches, normalise, read_images
from tinygen.data.synthetic import PLANAR
from tinygen.errors import InputError, UsageError
from tinygen.random import Generator
from tinygen.recipes.assessment import assess_images, assess_points
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics

Array = NDArray[Any]


@dataclass(frozen=True)
class ImageSettings(Settings):
    source: str = setting(
        "digits", "digits, glyphs, mnist, fashion-mnist, cifar10, or a file or folder of images"
    )
    size: int = setting(0, "pixels of a side, for glyphs and folders; 0 is their own", least=0)
    held_out: float = setting(
        0.1, "part kept for validation, where the data have no split", above=0.0, below=1.0
    )
    eval_images: int = setting(
        1024, "held-out images of an evaluation, the first of that part", least=2
    )


@dataclass(frozen=True)
class ExampleSettings(ImageSettings):
    """Images, or points of a planar set."""

    source: str = setting(
        "digits",
        "digits, glyphs, mnist, fashion-mnist, cifar10, a file or folder of images, or the points "
        f"of {', '.join(PLANAR)}",
    )


def image_split(settings: ImageSettings) -> tuple[ImageSet, ImageSet]:
    """The training images, and the held-out ones that an evaluation takes."""
    data = read_images(settings.source, size=settings.size or None)
    train, held_out = data.split(settings.held_out)
    kept = min(len(held_out), settings.eval_images)
    if kept < 2:  # no spread, no covariance
        raise InputError(
            f"{settings.source}: its {len(data)} images leave {kept} held out to judge by, and two "
            "are needed; give more images, or a larger --data.held-out or --data.eval-images"
        )
    return train, held_out.subset(np.arange(kept))


class Examples(Protocol):
    """A training and a held-out part: images in [-1, 1], or points divided by `scale`."""

    data_shape: tuple[int, ...]
    classes: tuple[str, ...]
    """Names of the labels; none where the data have none."""
    scale: float
    """What a model's points are multiplied by to be the data's; 1 for images."""
    held_out: Array
    held_out_labels: Array | None

    def batches(self, batch: int, rng: Generator) -> "Batches":
        """An endless iterator of (x, labels or None) with a cursor."""

    def assess(self, samples: Array, *, told: bool) -> Metrics:
        """How good samples are: images in [0, 1], or points; `told` if classes were in turn."""

    def record(self) -> dict[str, Any]:
        """What a run notes about its data."""


class Batches(Protocol):
    def __next__(self) -> tuple[Array, Array | None]: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...


def read_examples(settings: ExampleSettings) -> Examples:
    """The data that `--data` names."""
    if settings.source in PLANAR:
        return PointExamples(settings)
    return ImageExamples(settings)


class ImageExamples:
    """Images in [-1, 1], (N, H, W, C)."""

    scale = 1.0

    def __init__(self, settings: ImageSettings) -> None:
        self.train, held_out = image_split(settings)
        self.data_shape: tuple[int, ...] = self.train.shape
        if self.data_shape[2] not in (1, 3):
            raise InputError(
                f"{settings.source}: its images have {self.data_shape[2]} channels; 1 (grey) or 3 "
                "(colour) are needed"
            )
        self.classes = self.train.classes
        self.held_out = normalise(held_out.images, signed=True)
        self.held_out_labels = held_out.labels

    def batches(self, batch: int, rng: Generator) -> Batches:
        images = ImageBatches(self.train, batch, rng)
        return Prepared(images, lambda drawn: (normalise(drawn[0], signed=True), drawn[1]))

    def assess(self, samples: Array, *, told: bool) -> Metrics:
        held_out = in_unit_range(self.held_out)
        return assess_images(samples, self.train, held_out, self.held_out_labels, told=told)

    def record(self) -> dict[str, Any]:
        return self.train.record()


class Prepared:
    """Batches that pass through a function of (x, labels) on their way; it draws nothing."""

    def __init__(self, batches: Any, prepare: Callable[[Any], tuple[Array, Array | None]]) -> None:
        self.inner, self.prepare = batches, prepare

    def __next__(self) -> tuple[Array, Array | None]:
        return self.prepare(next(self.inner))

    def state_dict(self) -> State:
        state: State = self.inner.state_dict()
        return state

    def load_state_dict(self, state: State) -> None:
        self.inner.load_state_dict(state)


class PointExamples:
    """Fresh draws of a planar set, (N, 2); nothing is ever seen twice."""

    classes: tuple[str, ...] = ()
    held_out_labels: Array | None = None

    def __init__(self, settings: ImageSettings) -> None:
        self.name = settings.source
        self.truth = PLANAR[self.name]()
        self.data_shape: tuple[int, ...] = (2,)
        spread = self.truth.sample(20_000, Generator("spread")).astype(np.float64).std(axis=0)
        self.scale = float(np.sqrt((spread**2).mean()))  # a model's points are of about unit size
        held_out = self.truth.sample(settings.eval_images, Generator("held-out points"))
        self.held_out = held_out / np.float32(self.scale)

    def batches(self, batch: int, rng: Generator) -> Batches:
        points = PointBatches(self.truth.sample, batch, rng)
        return Prepared(points, lambda x: (x / np.float32(self.scale), None))

    def assess(self, samples: Array, *, told: bool) -> Metrics:
        return assess_points(samples, self.name)

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "provenance": "synthetic, its density is known"}


def class_ids(classes: int | None, n: int, label: int) -> Array | None:
    """The classes of n samples: `label` for all, or each class in turn where it is -1.

    Raises UsageError where there is no such class.
    """
    if classes is None:
        if label >= 0:
            raise UsageError(
                f"label {label} was asked for, and this model was trained without classes"
            )
        return None
    if label >= classes:
        raise UsageError(f"label {label} is none of the {classes} classes, 0 ... {classes - 1}")
    return np.arange(n) % classes if label < 0 else np.full(n, label)


def starting_noise(n: int, shape: tuple[int, ...], rng: Generator) -> Array:
    """Standard normals (n, *shape); sample i has a stream of its own, so that it is the same
    whatever n."""
    rows = [rng.spawn(f"sample {i}").normal(shape) for i in range(n)]
    return np.stack(rows)


def in_unit_range(images: Array) -> Array:
    """[-1, 1] -> [0, 1], the range of pictures."""
    return np.asarray((images + 1) / 2)
