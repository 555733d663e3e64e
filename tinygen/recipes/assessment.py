"""What `tinygen eval` says of samples beyond the training criterion."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.data.images import ImageSet, normalise
from tinygen.data.synthetic import PLANAR, Modes
from tinygen.evaluation import energy_distance, judge, modes_found
from tinygen.random import Generator
from tinygen.training.recipe import Metrics

Array = NDArray[Any]


def last(frames: Iterator[Array]) -> Array:
    """The last of a painter's frames: the sample."""
    *_, result = frames
    return np.asarray(result)


def assess_images(
    samples: Array, train: ImageSet, held_out: Array, labels: Array | None, *, told: bool
) -> Metrics:
    """`judge` as metrics; samples and held_out are in [0, 1]. Where the model was `told` classes,
    sample i was asked to be of class i mod classes, and the network says whether it is, for digits.
    """
    digits = train.classes == tuple("0123456789")
    asked = np.arange(len(samples)) % len(train.classes) if told and digits else None
    judged = judge(
        np.clip(samples, 0, 1),
        normalise(train.images),
        held_out,
        asked=asked,
        labels=labels if digits else None,
        rng=Generator("Gaussian fit"),
    )
    metrics = {
        "frechet": judged.frechet,
        "frechet_floor": judged.frechet_floor,
        "frechet_ceiling": judged.frechet_ceiling,
        "kernel": judged.kernel,
        "kernel_floor": judged.kernel_floor,
        "kernel_ceiling": judged.kernel_ceiling,
        "precision": judged.coverage.precision,
        "recall": judged.coverage.recall,
        "density": judged.coverage.density,
        "coverage": judged.coverage.coverage,
        "nearest_training_image": judged.memorisation.sample_median,
        "nearest_of_held_out": judged.memorisation.held_out_median,
        "copies": judged.memorisation.copies,
    }
    if judged.accuracy is not None:
        metrics["class_accuracy"] = judged.accuracy
    if judged.test_accuracy is not None:
        metrics["class_accuracy_of_held_out"] = judged.test_accuracy
    return metrics


def assess_points(samples: Array, name: str) -> Metrics:
    """Energy distance to fresh draws, the median log density, and modes where they are known."""
    truth: Any = PLANAR[name]()
    fresh = truth.sample(len(samples), Generator("fresh points"))
    metrics = {
        "energy_distance": energy_distance(fresh, samples),
        "log_density": _middle(truth.log_density(samples)),
        "log_density_of_truth": _middle(truth.log_density(fresh)),
    }
    if isinstance(truth, Modes):
        count = modes_found(samples, truth.centres, truth.std)
        metrics |= {"modes": float(count.found), "on_mode": count.on_mode, "modes_kl": count.kl}
    return metrics


def _middle(log_density: Array) -> float:
    """The median, at least -1000 nats: beside the squares of a checkerboard it is -infinity."""
    return float(np.median(np.maximum(log_density, -1000.0)))
