"""How many modes of a known mixture samples reach, and how they share them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import ShapeError, UsageError


@dataclass(frozen=True)
class ModesFound:
    """What `modes_found` counts."""

    found: int
    """Modes with at least one sample of high quality for every 20 that its equal share would be."""
    modes: int
    on_mode: float
    """The part of the samples that lie within `radius` standard deviations of some centre."""
    kl: float
    """KL(share of each mode among the samples on one || equal shares), nats; log(modes), the most
    that it can be, if one mode has them all or none has any."""

    def __str__(self) -> str:
        return (
            f"{self.found}/{self.modes} modes, {self.on_mode:.1%} of the samples on one, "
            f"KL to equal shares {self.kl:.3f} nats"
        )


def modes_found(
    samples: NDArray[Any], centres: NDArray[Any], std: float, *, radius: float = 4.0
) -> ModesFound:
    """Of samples (N, D): the modes at `centres` (K, D), round Gaussians of width `std`, that they
    reach (Srivastava et al. 2017, "VEEGAN", section 4.1, counts within 3 std; in the plane an exact
    sample lies within 4 std with probability 1 - e^-8, within 3 std with 98.9 %).

    A mode counts as found where it has a twentieth of its equal share, N / (20 K), or more: one
    stray sample finds nothing.
    """
    if samples.ndim != 2 or centres.ndim != 2 or samples.shape[1] != centres.shape[1]:
        raise ShapeError(
            f"modes_found: samples {samples.shape} and centres {centres.shape}; they are (N, D) "
            "and (K, D)."
        )
    if not len(samples) or not std > 0 or not radius > 0:
        raise UsageError("modes_found: give samples, and a positive std and radius.")
    distance = np.linalg.norm(samples[:, None] - centres, axis=-1)  # (N, K)
    nearest = distance.argmin(axis=1)
    on = distance[np.arange(len(samples)), nearest] <= radius * std
    counts = np.bincount(nearest[on], minlength=len(centres))
    enough = max(1.0, len(samples) / (20 * len(centres)))
    shares = counts[counts > 0] / max(1, counts.sum())
    if not on.any():
        shares = np.ones(1)
    kl = float((shares * np.log(shares * len(centres))).sum())
    return ModesFound(int((counts >= enough).sum()), len(centres), float(on.mean()), kl)
