"""Images and points that a model made, written as the file that was asked for."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import DivergedError, UsageError
from tinygen.files import write_atomically
from tinygen.random import Generator
from tinygen.study.pictures import ANIMATED, animation, grid, png, points_picture
from tinygen.training.config import nearest
from tinygen.training.run import Run

Array = NDArray[Any]

SUFFIXES = ("png", *ANIMATED, "npz")

_IMAGES, _POINTS = 64, 2000  # samples, where -n is not given
_LEAST_SIDE = 64  # small images are enlarged to this many pixels, for the eye


def paint(painter: Any, sampling: Any, n: int | None, rng: Generator) -> list[Array]:
    """The frames of n samples: the sampler's steps, the last of which is the result."""
    first = next(painter.paint(1, rng, sampling))
    n = n or (_IMAGES if first.ndim == 4 else _POINTS)
    frames = list(painter.paint(n, rng, sampling))
    if not np.isfinite(frames[-1]).all():
        raise DivergedError(
            "the samples are not finite: the model diverged in training; take another checkpoint "
            "with --step"
        )
    return frames


def write_painting(frames: list[Array], run: Run, out: str | None, seed: int) -> Path:
    """Write `frames` to `out`, by default a new PNG file in the run's folder `samples`."""
    if out is None:
        folder = run.path / "samples"
        folder.mkdir(exist_ok=True)
        path, number = folder / f"seed-{seed}.png", 1
        while path.exists():
            number += 1
            path = folder / f"seed-{seed}-{number}.png"
    else:
        path = Path(out)
    write_atomically(path, encoded(frames, kind_of(path)))
    return path


def kind_of(path: Path) -> str:
    """The kind of file by its ending. Raises UsageError."""
    kind = path.suffix[1:].lower()
    if kind not in SUFFIXES:
        raise UsageError(
            f"{path}: samples are written as {', '.join(f'.{s}' for s in SUFFIXES)}; "
            f"{nearest(kind, SUFFIXES)}"
        )
    return kind


def encoded(frames: list[Array], kind: str) -> bytes:
    """A file of that kind: all frames of an animation, else the last."""
    if kind == "npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, samples=frames[-1])
        return buffer.getvalue()
    if kind == "png":
        return png(_picture(frames[-1], frames[-1]))
    return animation([_picture(frame, frames[-1]) for frame in frames], kind)


def _picture(frame: Array, last: Array) -> Array:
    if frame.ndim == 4:
        return grid(frame, scale=max(1, -(-_LEAST_SIDE // frame.shape[1])))
    return points_picture(frame, 1.15 * float(np.abs(last).max()) or 1.0)
