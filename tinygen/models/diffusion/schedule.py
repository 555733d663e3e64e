"""How much noise at which time: the forward process of DDPM (Ho et al. 2020, section 2).

    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)              one step     (eq. 2)
    q(x_t | x0)      = N(sqrt(alpha_bar_t) x0, (1 - alpha_bar_t) I)       all at once  (eq. 4)
    alpha_bar_t      = (1 - beta_0) (1 - beta_1) ... (1 - beta_t)

Time is discrete and counts from 0: t = T-1 is nearly pure noise, t = 0 nearly clean, and the clean
data themselves stand at t = -1, where alpha_bar is 1. Everything is float64; x keeps its dtype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tinygen.arguments import integer, number, numbers
from tinygen.errors import OutOfRangeError, UsageError
from tinygen.function import Value
from tinygen.models.diffusion.levels import Floats, Level, noise_levels, per_example, require_batch

Times = np.ndarray[Any, np.dtype[np.int64]]

Spacing = Literal["linspace", "leading", "trailing"]


class Schedule:
    """`betas` (T,), each in (0, 1), the last at most 1; `alpha_bar` (T,) strictly decreasing.

    `Schedule(betas)` takes the variances of the steps, `Schedule.from_alpha_bar` their products;
    `linear`, `cosine` and `sigmoid` are the published ones. The arrays are read-only.
    """

    def __init__(self, betas: Sequence[float] | Floats) -> None:
        betas = _row("betas", betas)
        self._set(betas, np.asarray(np.cumprod(1 - betas), np.float64))

    @classmethod
    def from_alpha_bar(cls, alpha_bar: Sequence[float] | Floats) -> Schedule:
        """The schedule with exactly these products; beta_t = 1 - alpha_bar_t / alpha_bar_{t-1}."""
        alpha_bar = _row("alpha_bar", alpha_bar)
        schedule = cls.__new__(cls)
        with np.errstate(divide="ignore", invalid="ignore"):  # refused below
            betas = 1 - alpha_bar / np.concatenate([[1.0], alpha_bar])[:-1]
        schedule._set(betas, alpha_bar)
        return schedule

    def _set(self, betas: Floats, alpha_bar: Floats) -> None:
        ok = (betas > 0) & (betas <= 1)
        ok[:-1] &= betas[:-1] < 1
        ok[1:] &= np.diff(alpha_bar) < 0
        if not ok.all():
            t = int(np.argmin(ok))
            raise UsageError(
                f"at t = {t} beta is {betas[t]} and alpha_bar {alpha_bar[t]}; every beta lies in "
                "(0, 1), the last may be 1, and alpha_bar falls from step to step."
            )
        self.betas, self.alpha_bar = betas, alpha_bar
        for array in (betas, alpha_bar):
            array.flags.writeable = False

    @classmethod
    def linear(cls, T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
        """betas evenly spaced, both ends included (Ho et al. 2020, section 4)."""
        number("beta_start", beta_start)
        number("beta_end", beta_end)
        return cls(np.linspace(beta_start, beta_end, _steps(T)))

    @classmethod
    def cosine(cls, T: int = 1000, *, s: float = 0.008, beta_max: float = 0.999) -> Schedule:
        """alpha_bar_t = f(t+1) / f(0), f(u) = cos^2((u/T + s) / (1 + s) pi/2), with betas cut at
        `beta_max` (Nichol and Dhariwal 2021, "Improved DDPM", eq. 17)."""
        number("s", s, least=0)
        number("beta_max", beta_max)
        u = np.arange(_steps(T) + 1) / T
        f = np.cos((u + s) / (1 + s) * (math.pi / 2)) ** 2
        return cls(np.minimum(1 - f[1:] / f[:-1], beta_max))

    @classmethod
    def sigmoid(
        cls, T: int = 1000, *, start: float = -3.0, end: float = 3.0, tau: float = 1.0
    ) -> Schedule:
        """alpha_bar falls along the logistic curve from `start` to `end` at temperature `tau`,
        scaled to run from 1 to 0, at least 1e-9 (Jabri et al. 2023, "Scalable adaptive
        computation for iterative generation")."""
        number("start", start)
        number("end", end, above=start)
        number("tau", tau, above=0)
        u = np.arange(1, _steps(T) + 1) / T
        first, last = (1 / (1 + math.exp(-edge / tau)) for edge in (start, end))
        curve = 1 / (1 + np.exp(-(u * (end - start) + start) / tau))
        return cls.from_alpha_bar(np.maximum((last - curve) / (last - first), 1e-9))

    def zero_terminal_snr(self) -> Schedule:
        """This schedule with sqrt(alpha_bar) shifted and scaled so that its last value is exactly
        0 and its first is kept (Lin et al. 2024, "Common diffusion noise schedules and sample
        steps are flawed", algorithm 1): sampling then starts from what training saw, pure noise."""
        root = np.sqrt(self.alpha_bar)
        if self.T < 2:
            raise UsageError("one step cannot both keep its alpha_bar and end at 0; give T >= 2.")
        alpha_bar = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
        alpha_bar[0], alpha_bar[-1] = self.alpha_bar[0], 0.0
        return Schedule.from_alpha_bar(alpha_bar)

    # ---- what it is at a time

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.betas)

    @property
    def snr(self) -> Floats:
        """alpha_bar / (1 - alpha_bar), the signal-to-noise ratio, (T,)."""
        return np.asarray(self.alpha_bar / (1 - self.alpha_bar))

    @property
    def sigmas(self) -> Floats:
        """sqrt((1 - alpha_bar) / alpha_bar), (T,), the noise level of x_t / sqrt(alpha_bar_t):
        the sigma of Karras et al. 2022. It is infinite where alpha_bar is 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.sqrt((1 - self.alpha_bar) / self.alpha_bar))

    def alpha_bar_at(self, t: Level) -> Any:
        """alpha_bar at integer times (any shape) in -1 ... T-1; 1 at -1, the clean data."""
        t = np.asarray(t)
        if t.dtype.kind not in "iu":
            raise UsageError(f"times of a schedule are integers, not {t.dtype}.")
        if t.size and not (t.min() >= -1 and t.max() < self.T):
            raise OutOfRangeError(
                f"times from {t.min()} to {t.max()} do not lie in 0 ... {self.T - 1}, the times of "
                "this schedule."
            )
        return np.concatenate([self.alpha_bar, [1.0]])[t]  # -1 is the last

    def scales(self, t: Level) -> tuple[Any, Any]:
        """(alpha, sigma) at times t: x_t = alpha x0 + sigma noise, alpha^2 + sigma^2 = 1."""
        alpha_bar = self.alpha_bar_at(t)
        return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)

    def time_of(self, sigma: Level) -> Any:
        """The fractional time whose noise level `sigmas` is sigma, linear in log sigma between
        steps, and the first or last finite step beyond them."""
        sigma = noise_levels(sigma)
        levels = self.sigmas[np.isfinite(self.sigmas)]
        with np.errstate(divide="ignore"):
            return np.interp(np.log(sigma), np.log(levels), np.arange(len(levels)))

    # ---- the process

    def add_noise(self, x0: Value, noise: Value, t: Level) -> Any:
        """x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) noise (eq. 4), for x0 (N, ...) and t
        an integer or (N,) integers."""
        require_batch("add_noise", x0)
        alpha, sigma = self.scales(t)
        return per_example(alpha, x0) * x0 + per_example(sigma, x0) * noise

    def posterior_weights(self, t: Level, s: Level | None = None) -> tuple[Any, Any, Any]:
        """(a, b, variance) of q(x_s | x_t, x0) = N(a x0 + b x_t, variance I), float64, for a time
        s < t, by default t - 1: eq. 6 and 7, and for longer strides Nichol and Dhariwal 2021."""
        s = np.asarray(t) - 1 if s is None else s
        alpha_bar_t, alpha_bar_s = self.alpha_bar_at(t), self.alpha_bar_at(s)
        if not np.all(np.asarray(s) < np.asarray(t)):
            raise UsageError(f"the posterior goes back in time, and s = {s} is not before t = {t}.")
        kept = alpha_bar_t / alpha_bar_s  # the product of 1 - beta over the stride
        a = np.sqrt(alpha_bar_s) * (1 - kept) / (1 - alpha_bar_t)
        b = np.sqrt(kept) * (1 - alpha_bar_s) / (1 - alpha_bar_t)
        return a, b, (1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - kept)

    def posterior(self, x0: Value, xt: Value, t: Level, s: Level | None = None) -> tuple[Any, Any]:
        """Mean and variance of q(x_s | x_t, x0); see `posterior_weights`."""
        require_batch("posterior", xt)
        a, b, variance = self.posterior_weights(t, s)
        return per_example(a, xt) * x0 + per_example(b, xt) * xt, per_example(variance, xt)

    # ---- which times to visit, in integers: halves round up, and no rounding makes two equal

    def timesteps(self, n: int, spacing: Spacing = "linspace") -> Times:
        """n different times (n,), int64, strictly decreasing (Lin et al. 2024, table 2).

        "linspace" visits both ends: round(i (T-1) / (n-1)). "leading" visits 0 but not always T-1:
        floor(i T / n). "trailing" visits T-1 but not always 0: round(i T / n) - 1, whose strides
        are all alike, the last one to the clean data included.
        """
        T = self.T
        integer("the number of timesteps", n)
        if not 1 <= n <= T:
            raise UsageError(f"{n} timesteps of a schedule of {T}; give 1 ... {T}.")
        if spacing == "linspace":
            gaps = max(1, n - 1)  # n = 1 is T - 1 alone
            return (2 * np.arange(gaps, gaps - n, -1) * (T - 1) + gaps) // (2 * gaps)
        if spacing == "leading":
            return np.arange(n - 1, -1, -1) * T // n
        if spacing == "trailing":
            return (2 * np.arange(n, 0, -1) * T + n) // (2 * n) - 1
        raise UsageError(f"unknown spacing {spacing!r}: use linspace, leading or trailing.")

    def sigma_grid(self, n: int, spacing: Spacing = "linspace") -> list[float]:
        """The noise levels at n `timesteps`, then 0: the `sigmas` of a sampler."""
        return [*self.sigmas[self.timesteps(n, spacing)].tolist(), 0.0]

    def __repr__(self) -> str:
        return (
            f"Schedule(T={self.T}, alpha_bar {self.alpha_bar[0]:.6g} ... {self.alpha_bar[-1]:.3g})"
        )


def karras_sigmas(
    n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> list[float]:
    """n noise levels from sigma_max to sigma_min, then 0, evenly spaced in sigma^(1/rho)
    (Karras et al. 2022, eq. 5; `rho` 7 is theirs). n = 1 is sigma_max and 0."""
    integer("karras_sigmas: n", n, least=1)
    number("karras_sigmas: sigma_min", sigma_min, above=0)
    number("karras_sigmas: sigma_max", sigma_max, above=sigma_min)
    number("karras_sigmas: rho", rho, above=0)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    inner = [(high + i / (n - 1) * (low - high)) ** rho for i in range(1, n - 1)]
    return [sigma_max, *inner, *([sigma_min] if n > 1 else []), 0.0]


def _steps(T: int) -> int:
    return integer("the number of steps, T,", T, least=1)


def _row(name: str, values: Any) -> Floats:
    row = np.array(numbers(name, values), np.float64)
    if not row.size:
        raise UsageError(f"{name} is empty; a schedule has one or more steps.")
    return row
