"""Image to image and inpainting, with any denoiser and without training.

`start_from` begins a sampler from a noised image; `keep_known` makes a denoiser that knows some
pixels, for any sampler; `sample_repaint` goes back and forth, so that the new pixels fit the known
ones better. Known pixels are bit for bit themselves at the end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import integer, number
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Value
from tinygen.models.diffusion.levels import normal_like
from tinygen.models.diffusion.sampling.euler import split_noise
from tinygen.models.diffusion.sampling.steps import Denoise, Step, checked, draws, estimate
from tinygen.random import Generator


def start_from(
    x0: Value,
    sigmas: Sequence[float],
    strength: float,
    *,
    rng: Generator | None = None,
    noise: Value = None,
) -> tuple[Any, list[float]]:
    """(x, sigmas) for a sampler that edits x0 (N, ...): the last `strength` of the steps, at least
    one, and x0 noised to where they begin (Meng et al. 2022, "SDEdit", algorithm 1).

        for step in sample_heun(denoise, *start_from(image, sigmas, 0.6, rng=rng)): ...

    strength 1 takes all steps and keeps next to nothing, small strengths change details only.
    """
    levels = checked("start_from", x0, sigmas)
    number("start_from: strength", strength, above=0, most=1)
    steps = max(1, round(strength * (len(levels) - 1)))
    kept = levels[-1 - steps :]
    return x0 + kept[0] * normal_like(x0, rng, noise, "start_from"), kept


def keep_known(denoise: Denoise, known: Value, mask: Value) -> Denoise:
    """A denoiser whose estimate is `known` where the boolean `mask` is True, broadcast to x.

    A sampler then carries the known pixels as known + sigma noise at every level, with the noise it
    began with, and ends in them exactly (the replacement method of Song et al. 2021, "Score-based
    generative modeling", appendix I.2, with one noise throughout).
    """
    _require_mask(mask)

    def keeping(x: Value, level: float) -> Any:
        return ops.where(mask, known, denoise(x, level))

    return keeping


def sample_repaint(
    denoise: Denoise,
    x: Value,
    known: Value,
    mask: Value,
    sigmas: Sequence[float],
    *,
    repeats: int = 10,
    rng: Generator | None = None,
    noise: Iterable[Value] | None = None,
) -> Iterator[Step]:
    """RePaint (Lugmayr et al. 2022, algorithm 1), in the coordinates of sigma.

    A step is DDPM's, after which the known pixels are replaced by themselves, freshly noised; then
    the whole is noised back up, and the step is made again, `repeats` times in all, so that new and
    known pixels come to agree. repeats = 1 is plain replacement.

    x, known (N, ...) in one shape, mask True where known and broadcast to them; sigmas as in
    `sample_euler`. Yields a `Step` after each noise level. `noise`, if given, has one array like x
    for each draw: for a step, for the known pixels, and for going back; the last step draws none.
    """
    levels = checked("sample_repaint", x, sigmas)
    _require_mask(mask)
    if known.shape != x.shape or known.dtype != x.dtype:
        raise ShapeError(
            f"sample_repaint: x is {x.dtype}{list(x.shape)} and known {known.dtype}"
            f"{list(known.shape)}; they have one shape and dtype."
        )
    integer("sample_repaint: repeats", repeats, least=1)
    fresh = draws("sample_repaint", x, rng, noise)
    return _repaint(denoise, x, known, mask, levels, repeats, fresh)


def _repaint(
    denoise: Denoise,
    x: Value,
    known: Value,
    mask: Value,
    sigmas: list[float],
    repeats: int,
    fresh: Iterator[Value],
) -> Iterator[Step]:
    for i, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        down, up = split_noise(sigma, sigma_next, 1.0)
        back = math.sqrt(sigma**2 - sigma_next**2)
        for repeat in range(repeats if sigma_next > 0 else 1):
            if repeat:
                x = x + back * next(fresh)
            x0 = estimate(denoise, x, sigma)
            x, noised = x0 + (down / sigma) * (x - x0), known
            if sigma_next > 0:
                x = x + up * next(fresh)
                noised = known + sigma_next * next(fresh)
            x = ops.where(mask, noised, x)
        yield Step(i, sigma_next, x, x0)


def _require_mask(mask: Value) -> None:
    dtype = getattr(mask, "dtype", type(mask).__name__)
    if getattr(dtype, "kind", None) != "b":
        raise DtypeError(f"a mask is boolean, True where a pixel is known, and this is {dtype}.")
