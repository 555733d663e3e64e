"""A monitor that says in words what goes wrong between the two players, with the numbers.

    monitor = CollapseMonitor()
    for ...:
        monitor.observe(duel.step(real, z, rng=rng))         # every step
    monitor.inspect(samples, data)                           # now and then, as many of each
    for finding in monitor.findings():
        print(finding)                # "mode collapse: samples are 0.04 times as far apart as ..."

It sees five things, and says "healthy" where it sees none:

    diverged                       a score, loss or gradient is not a finite number
    mode collapse                  samples lie much closer together than data do, or repeat each
                                   other, or lie among the data but leave much of them out
    discriminator overpowers       nearly every real example is ranked above its generated one
    vanishing generator gradient   it has fallen far below what it was
    oscillation                    one frequency holds most of the movement of D's scores

Distances are Euclidean in data space; give features instead of pixels where you have them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.arguments import integer, number
from tinygen.errors import ShapeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """What was seen: its name, a sentence, and the numbers that the sentence rests on."""

    name: str
    says: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}: {self.says}"


@dataclass(frozen=True)
class Limits:
    """Where the monitor draws its lines."""

    diversity: float = 0.5
    """Least mean distance of two samples, as a part of that of two data points."""
    duplicates: float = 0.2
    """Largest share of samples that repeat another, above the same share of the data."""
    coverage: float = 0.5
    """Least share of the data that have a sample near, where most samples lie near data."""
    accuracy: float = 0.97
    """Largest mean share of pairs that D ranks rightly."""
    gradient: float = 1e-3
    """Least gradient norm of G, as a part of the largest that a window has had."""
    peak: float = 0.6
    """Largest share of the power of D's score at one frequency ..."""
    swing: float = 0.1
    """... where its standard deviation is above this."""

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            number(f"Limits: {name}", limit, least=0)


class CollapseMonitor:
    """Watches the metrics of `Duel.step` in a window of the last `window` steps."""

    def __init__(self, window: int = 128, limits: Limits | None = None) -> None:
        integer("CollapseMonitor: window (fewer steps say nothing)", window, least=32)
        self.window = window
        self.limits = Limits() if limits is None else limits
        self.steps = 0
        self.recent: dict[str, deque[float]] = {}
        self.largest_gradient = 0.0
        self.samples: dict[str, float] = {}

    # ---- what it is told

    def observe(self, metrics: Mapping[str, float]) -> None:
        """One step's numbers; of use are accuracy, real_score, fake_score and g_grad_norm."""
        for name, value in metrics.items():
            self.recent.setdefault(name, deque(maxlen=self.window)).append(float(value))
        self.steps += 1
        if self.full and "g_grad_norm" in self.recent:
            self.largest_gradient = max(self.largest_gradient, self._median("g_grad_norm"))

    def inspect(self, samples: Any, data: Any) -> Mapping[str, float]:
        """Measure the variety of samples against as many data points, both (N, ...), N >= 8."""
        x, y = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (samples, data))
        if x.shape != y.shape or len(x) < 8:
            raise ShapeError(
                f"inspect: samples {np.shape(samples)} and data {np.shape(data)}; give as many of "
                "each, 8 or more, of one shape."
            )
        self.samples = diversity(x, y) if np.isfinite(x).all() else {"finite": 0.0}
        return self.samples

    @property
    def full(self) -> bool:
        return self.steps >= self.window

    def state_dict(self) -> dict[str, Any]:
        """What it has seen, for a checkpoint."""
        return {
            "steps": self.steps,
            "recent": {name: list(values) for name, values in self.recent.items()},
            "largest_gradient": self.largest_gradient,
            "samples": dict(self.samples),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
        recent = state["recent"].items()
        self.recent = {name: deque(values, maxlen=self.window) for name, values in recent}
        self.largest_gradient = state["largest_gradient"]
        self.samples = dict(state["samples"])

    # ---- what it says

    def findings(self) -> list[Finding]:
        """All that it sees; one finding, "healthy", if that is nothing."""
        seen = [*self._diverged(), *self._collapse()]
        if not seen and self.full:
            seen = [*self._overpowers(), *self._vanishing(), *self._oscillation()]
        elif self.full and seen[0].name != "diverged":
            seen += [*self._overpowers(), *self._vanishing(), *self._oscillation()]
        return seen or [self._healthy()]

    def _diverged(self) -> list[Finding]:
        broken = [name for name, values in self.recent.items() if not np.isfinite(values).all()]
        if "finite" in self.samples:
            broken.append("samples")
        if not broken:
            return []
        return [Finding("diverged", f"not finite: {', '.join(broken)}; lower the learning rates")]

    def _collapse(self) -> list[Finding]:
        s, limits = self.samples, self.limits
        if not s or "finite" in s:
            return []
        says = []
        if not s["diversity"] >= limits.diversity:
            says.append(f"samples are {s['diversity']:.2g} times as far apart as the data")
        if s["duplicates"] - s["data_duplicates"] > limits.duplicates:
            says.append(
                f"{s['duplicates']:.0%} of them repeat another sample, where "
                f"{s['data_duplicates']:.0%} of the data do"
            )
        if s["precision"] > 0.5 and s["coverage"] < limits.coverage:
            says.append(
                f"{s['precision']:.0%} lie among the data, but only {s['coverage']:.0%} of the "
                "data have one near"
            )
        return [Finding("mode collapse", "; ".join(says), s)] if says else []

    def _overpowers(self) -> list[Finding]:
        if "accuracy" not in self.recent:
            return []
        accuracy, gap = self._mean("accuracy"), self._gap()
        if accuracy <= self.limits.accuracy:
            return []
        says = (
            f"it ranks {accuracy:.1%} of the pairs rightly, and its scores are {gap:.3g} apart; "
            "slow it down, or penalise its slope (R1)"
        )
        return [Finding("discriminator overpowers", says, {"accuracy": accuracy, "gap": gap})]

    def _vanishing(self) -> list[Finding]:
        if "g_grad_norm" not in self.recent:
            return []
        now, was = self._median("g_grad_norm"), self.largest_gradient
        if now > self.limits.gradient * was:
            return []
        says = f"its norm is {now:.2g}, where it was {was:.2g}"
        return [Finding("vanishing generator gradient", says, {"now": now, "largest": was})]

    def _oscillation(self) -> list[Finding]:
        if "fake_score" not in self.recent:
            return []
        scores = np.array(self.recent["fake_score"])
        share, period, swing = dominant_frequency(scores)
        if share <= self.limits.peak or swing <= self.limits.swing:
            return []
        says = (
            f"{share:.0%} of the movement of D's score of samples has a period of {period:.0f} "
            f"steps (standard deviation {swing:.2g}); the players chase each other"
        )
        return [Finding("oscillation", says, {"share": share, "period": period, "swing": swing})]

    def _healthy(self) -> Finding:
        numbers = dict(self.samples)
        for name in sorted({"accuracy", "g_grad_norm"} & self.recent.keys()):
            numbers[name] = self._mean(name)
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in numbers.items())
        return Finding("healthy", told or "nothing has been seen yet", numbers)

    def _mean(self, name: str) -> float:
        return float(np.mean(self.recent[name]))

    def _median(self, name: str) -> float:
        return float(np.median(self.recent[name]))

    def _gap(self) -> float:
        if not {"real_score", "fake_score"} <= self.recent.keys():
            return math.nan
        return self._mean("real_score") - self._mean("fake_score")


# ---- measures ------------------------------------------------------------------------------------


def diversity(samples: Floats, data: Floats, k: int = 5) -> dict[str, float]:
    """How varied `samples` are beside `data`, both (N, D):

    diversity   mean distance of two samples / of two data points
    duplicates  share of samples whose nearest other is within 5 % of the usual distance, the median
                over the data; `data_duplicates` the same share of the data
    precision   share of samples inside some data point's k-neighbour ball
    coverage    share of data points in whose ball some sample lies (Naeem et al. 2020)
    """
    among_samples, among_data = distances(samples, samples), distances(data, data)
    between = distances(data, samples)  # (data, samples)
    sorted_data = np.sort(among_data, axis=1)  # column 0 is each point itself
    near = 0.05 * np.median(sorted_data[:, 1])
    inside = between <= sorted_data[:, min(k, len(data) - 1), None]
    spread = among_data.sum()
    return {
        "diversity": float(among_samples.sum() / spread) if spread else math.nan,
        "duplicates": float((np.sort(among_samples, axis=1)[:, 1] <= near).mean()),
        "data_duplicates": float((sorted_data[:, 1] <= near).mean()),
        "precision": float(inside.any(axis=0).mean()),
        "coverage": float(inside.any(axis=1).mean()),
    }


def distances(a: Floats, b: Floats) -> Floats:
    """Euclidean, (len(a), len(b)); exactly 0 between equal rows."""
    out = np.empty((len(a), len(b)))
    for i, row in enumerate(a):
        out[i] = np.sqrt(((b - row) ** 2).sum(axis=1))
    return out


def dominant_frequency(series: Floats) -> tuple[float, float, float]:
    """(share of the power at the strongest frequency, its period in steps, standard deviation).

    Of the series less its straight line, under a Hann window. Only frequencies with five periods
    or more in the series and four steps or more a period count: a walk has power, but no rhythm.
    """
    n = len(series)
    time = np.arange(n) - (n - 1) / 2
    centred = series - series.mean()
    centred = centred - time * (time @ centred) / (time @ time)
    power = np.abs(np.fft.rfft(centred * np.hanning(n))) ** 2
    candidates = power[5 : n // 4 + 1]
    total = power.sum()
    if not total > 0 or not len(candidates):
        return 0.0, math.inf, 0.0
    peak = 5 + int(candidates.argmax())
    share = power[peak - 1 : peak + 2].sum() / total  # the window spreads a tone over three bins
    return float(share), n / peak, float(centred.std())
