"""The two-dimensional sets that generative papers draw, each with its exact density.

=============  ====================================================  =============================
set            what it tests                                         source
=============  ====================================================  =============================
ring           8 Gaussians on a circle: modes are dropped or found   Metz et al. 2017 (Unrolled GAN)
grid           25 Gaussians: many modes, none may be missing         Srivastava et al. 2017 (VEEGAN)
moons          two interleaved half circles: curved, disconnected    scikit-learn's make_moons
spirals        two long arms: thin, curved, far from any Gaussian    Lang & Witbrock 1988
checkerboard   8 squares of constant density: sharp edges            papers on flows since 2018
=============  ====================================================  =============================

`sample(n, rng)` gives (n, 2); `log_density(x, scale=, noise_std=)` is the density in nats, also of
the diffused set. All but the checkerboard have the `score` and `denoise` of a Gaussian mixture too.
`ring` and `grid` know their modes: `centres` (K, 2) and `std`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.arguments import integer, number
from tinygen.data.synthetic.mixture import Floats, GaussianMixture
from tinygen.errors import ShapeError, UsageError
from tinygen.random import Generator


class Planar(Protocol):
    """What all of them have."""

    @property
    def extent(self) -> float:
        """Nearly all points have |x| and |y| below this: the half width of a picture."""

    def sample(self, n: int, rng: Generator, dtype: Any = "float32") -> NDArray[Any]: ...

    def log_density(
        self, x: ArrayLike, *, scale: float = 1.0, noise_std: float = 0.0
    ) -> Floats: ...


# ---- separate modes ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Modes(GaussianMixture):
    """Round Gaussians of one width and equal weight, well apart: modes that can be counted."""

    @property
    def centres(self) -> Floats:
        """(K, 2)"""
        return self.means

    @property
    def std(self) -> float:
        return math.sqrt(self.variances[0, 0])

    @property
    def extent(self) -> float:
        return float(np.abs(self.means).max()) * 1.25 + 5 * self.std


def _modes(centres: Floats, std: float) -> Modes:
    number("the std of a mode", std, above=0)
    round_ones = GaussianMixture.isotropic(centres, std)
    return Modes(round_ones.means, round_ones.variances, round_ones.weights)


def ring(modes: int = 8, radius: float = 2.0, std: float = 0.02) -> Modes:
    """`modes` Gaussians at equal angles, the first at (radius, 0)."""
    integer("ring: modes", modes, least=1)
    number("ring: radius", radius, above=0)
    angle = 2 * math.pi * np.arange(modes) / modes
    return _modes(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), std)


def grid(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Modes:
    """side x side Gaussians around the origin, at -4, -2, 0, 2, 4 on both axes by default."""
    integer("grid: side", side, least=1)
    number("grid: spacing", spacing, above=0)
    ticks = spacing * (np.arange(side) - (side - 1) / 2)
    x, y = np.meshgrid(ticks, ticks)
    return _modes(np.stack([x.ravel(), y.ravel()], axis=1), std)


# ---- noisy curves --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NoisyCurves:
    """x = c_b(t) + std n: an arm b of equal chance, n ~ N(0, I), t in [0, 1) of density power
    t^(power-1).

    The density is an integral over t. Gauss-Legendre quadrature, 16 points in each of `panels`
    equal parts of an arm, makes it a sum of Gaussians: c is analytic, so the error falls
    exponentially once the points stand closer than std (below 1e-9 of the density for the sets
    here, as the tests show), and score and denoiser are those of a mixture. Drawing uses the curve
    itself.
    """

    curve: Callable[[int, Floats], Floats]  # (arm, t (n,)) -> (n, 2)
    arms: int
    std: float
    panels: int
    extent: float
    power: int = 1

    @cached_property
    def mixture(self) -> GaussianMixture:
        """The quadrature of the density."""
        node, weight = np.polynomial.legendre.leggauss(16)  # on [-1, 1]
        t = np.add.outer(np.arange(self.panels), (node + 1) / 2).ravel() / self.panels
        weights = np.tile(weight, self.panels) * t ** (self.power - 1)
        means = np.concatenate([self.curve(arm, t) for arm in range(self.arms)])
        return GaussianMixture.isotropic(means, self.std, np.tile(weights, self.arms))

    def sample(self, n: int, rng: Generator, dtype: Any = "float32") -> NDArray[Any]:
        return self.sample_labelled(n, rng, dtype)[0]

    def sample_labelled(
        self, n: int, rng: Generator, dtype: Any = "float32"
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(n, 2) draws and the arm (n,) of each."""
        arm = rng.integers(self.arms, shape=n)
        t = rng.uniform(n, dtype="float64") ** (1 / self.power)
        x = self.std * rng.normal((n, 2), dtype="float64")
        for b in range(self.arms):
            x[arm == b] += self.curve(b, t[arm == b])
        return x.astype(dtype), arm

    def log_density(
        self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0
    ) -> Floats:
        return self.mixture.log_density(x, scale=scale, noise_std=noise_std)

    def score(self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0) -> Floats:
        return self.mixture.score(x, scale=scale, noise_std=noise_std)

    def denoise(
        self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0
    ) -> Floats:
        return self.mixture.denoise(x, scale=scale, noise_std=noise_std)


def moons(std: float = 0.1) -> NoisyCurves:
    """Two half circles of radius 1, one shifted by (1, 0.5) and upside down, around the origin."""

    def curve(arm: int, t: Floats) -> Floats:
        angle = math.pi * t
        x, y = np.cos(angle), np.sin(angle)
        if arm == 1:
            x, y = 1 - x, 0.5 - y
        return np.stack([x - 0.5, y - 0.25], axis=1)

    return NoisyCurves(curve, 2, std, _panels(math.pi, std), 1.6 + 5 * std)


def spirals(turns: float = 1.5, std: float = 0.05, radius: float = 2.0) -> NoisyCurves:
    """Two arms of Archimedes from the centre outwards, with points about even along their length.

    Arc length grows as t^2 (but for the innermost turn), so t has the density 2 t.
    """
    number("spirals: turns", turns, above=0)
    number("spirals: radius", radius, above=0)

    def curve(arm: int, t: Floats) -> Floats:
        angle = 2 * math.pi * turns * t + math.pi * arm
        return (radius * t)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    speed = radius * math.hypot(1.0, 2 * math.pi * turns)  # at the outer end
    return NoisyCurves(curve, 2, std, _panels(speed, std), radius + 5 * std, power=2)


def _panels(speed: float, std: float) -> int:
    """So many that none is longer than 5 std on a curve of that greatest |dc/dt|."""
    number("the std of a curve", std, above=0)
    return math.ceil(speed / (5 * std))


# ---- sharp edges ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkerboard:
    """Uniform on the dark squares of a `side` x `side` board of half width `half_width`.

    Square (i, j) is dark where i + j is even, counted from the lower left.
    """

    side: int = 4
    half_width: float = 4.0

    def __post_init__(self) -> None:
        integer("Checkerboard: side", self.side, least=1)
        number("Checkerboard: half_width", self.half_width, above=0)

    @property
    def extent(self) -> float:
        return self.half_width * 1.25

    @property
    def square(self) -> float:
        """The width of a square."""
        return 2 * self.half_width / self.side

    @cached_property
    def corners(self) -> Floats:
        """(K, 2): the lower left corner of each dark square."""
        i, j = np.nonzero(np.add.outer(range(self.side), range(self.side)) % 2 == 0)
        return np.stack([i, j], axis=1) * np.float64(self.square) - self.half_width

    def sample(self, n: int, rng: Generator, dtype: Any = "float32") -> NDArray[Any]:
        k = rng.integers(len(self.corners), shape=n)
        within = rng.uniform((n, 2), high=self.square, dtype="float64")
        return (self.corners[k] + within).astype(dtype)

    def log_density(self, x: ArrayLike, *, scale: float = 1.0, noise_std: float = 0.0) -> Floats:
        """log p (n,) in nats; -inf off the dark squares where there is no noise.

        With noise, a square is a product of two differences of normal distribution functions.
        """
        points = np.asarray(x, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ShapeError(f"points of shape {points.shape}: (n, 2) is needed")
        if not (scale > 0.0 and noise_std >= 0.0):
            raise UsageError(f"scale {scale} must be above 0 and noise_std {noise_std} at least 0")
        low = (points[:, None] - scale * self.corners) / scale  # (n, K, 2), from the low edge
        high = low - self.square
        if noise_std == 0.0:
            inside = ((low >= 0) & (high < 0)).astype(np.float64)
        else:
            inside = _normal_between(high * scale / noise_std, low * scale / noise_std)
        mass = inside.prod(2).mean(1)  # (n,)
        with np.errstate(divide="ignore"):
            return np.log(mass) - 2 * math.log(scale * self.square)


_erfc = np.frompyfunc(math.erfc, 1, 1)


def _normal_between(low: Floats, high: Floats) -> Floats:
    """P(low < n < high) for a standard normal n; in the upper tail by symmetry, without loss."""
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    root = math.sqrt(0.5)
    tails: Floats = np.asarray(_erfc(-high * root) - _erfc(-low * root), np.float64)
    return 0.5 * tails


def checkerboard(side: int = 4, half_width: float = 4.0) -> Checkerboard:
    return Checkerboard(side, half_width)


PLANAR: dict[str, Callable[[], Planar]] = {
    "ring": ring,
    "grid": grid,
    "moons": moons,
    "spirals": spirals,
    "checkerboard": checkerboard,
}
