"""All that can be said of a set of sampled images, between a floor and a ceiling.

A distance by itself says nothing: `floor` is what real images that were held out get, `ceiling`
what a Gaussian fit to the training pixels gets, a model that knows means and covariances only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.evaluation.energy import gaussian_fit
from tinygen.evaluation.features import feature_net
from tinygen.evaluation.frechet import frechet_distance
from tinygen.evaluation.kernel import kernel_distance
from tinygen.evaluation.neighbours import Coverage, Memorisation, coverage, memorisation
from tinygen.random import Generator


@dataclass(frozen=True)
class Judgement:
    """Distances to the held-out images, in the features of the frozen network."""

    frechet: float
    frechet_floor: float
    frechet_ceiling: float
    kernel: float
    kernel_floor: float
    kernel_ceiling: float
    coverage: Coverage
    memorisation: Memorisation
    accuracy: float | None
    """Part of the samples that the network takes for the class that was asked for."""
    test_accuracy: float | None
    """The same of the held-out images and their labels: the judge's own reliability."""

    def lines(self) -> list[str]:
        """For a reader, a line a measure."""
        c, m = self.coverage, self.memorisation
        lines = [
            f"Fréchet distance {self.frechet:.2f} (floor, train against test "
            f"{self.frechet_floor:.2f}; ceiling, Gaussian fit {self.frechet_ceiling:.2f})",
            f"kernel distance {self.kernel:.4f} (floor {self.kernel_floor:.4f}; ceiling "
            f"{self.kernel_ceiling:.4f})",
            f"precision {c.precision:.3f}, recall {c.recall:.3f}, density {c.density:.3f}, "
            f"coverage {c.coverage:.3f}",
            f"nearest training image: samples {m.sample_median:.3f}, held-out images "
            f"{m.held_out_median:.3f}; {m.copies:.1%} of the samples as near as copies (1 % by "
            "chance)",
        ]
        if self.accuracy is not None and self.test_accuracy is not None:
            lines.append(
                f"class asked for: {self.accuracy:.1%} (of the held-out images "
                f"{self.test_accuracy:.1%})"
            )
        return lines


def judge(
    samples: NDArray[Any],
    train: NDArray[Any],
    held_out: NDArray[Any],
    *,
    asked: NDArray[Any] | None = None,
    labels: NDArray[Any] | None = None,
    rng: Generator,
) -> Judgement:
    """Samples (N, H, W, C) against train and held-out images, all in [0, 1]; `asked` are the
    samples' classes and `labels` those of the held-out images, where these are digits.

    As many training images as samples are taken, evenly over the set, so that floor, ceiling and
    samples are measured alike.
    """
    net = feature_net()
    n = len(samples)
    some = train[np.linspace(0, len(train) - 1, min(n, len(train))).astype(int)]
    test_features, test_classes = net.describe(held_out)
    sample_features, sample_classes = net.describe(samples)
    floor_features, _ = net.describe(some)
    ceiling_features, _ = net.describe(gaussian_fit(train, n, rng))
    k = min(5, len(held_out) - 1, n - 1)
    return Judgement(
        frechet=frechet_distance(sample_features, test_features),
        frechet_floor=frechet_distance(floor_features, test_features),
        frechet_ceiling=frechet_distance(ceiling_features, test_features),
        kernel=kernel_distance(sample_features, test_features),
        kernel_floor=kernel_distance(floor_features, test_features),
        kernel_ceiling=kernel_distance(ceiling_features, test_features),
        coverage=coverage(test_features, sample_features, k),
        memorisation=memorisation(train, held_out, samples),
        accuracy=None if asked is None else float((sample_classes == asked).mean()),
        test_accuracy=None if labels is None else float((test_classes == labels).mean()),
    )
