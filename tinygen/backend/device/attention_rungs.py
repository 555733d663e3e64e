"""The ladder of attention: what each rung can attend with, and which one is taken."""

from __future__ import annotations

from typing import Any

from tinygen.backend.device.rungs import wanted_rung
from tinygen.errors import UsageError

Array = Any

BACKWARD = ("tiled", "mma")
FEW = 16
"""Queries that share a key/value head, at most, for decode: of all heads of a group."""
MANY = 256
"""Keys from which on its splits are worth a second kernel."""
NARROW = 32
"""Columns of a head up to which half of wgmma's least width would be zeros."""


def forward_rung(backend: Any, q: Array, k: Array, v: Array, out: Array, scale: float) -> str:
    """The fastest for these arrays (B, H, T, D) on this device, or the one that is wanted. Raises
    UsageError where that cannot."""
    arrays = q, k, v, out
    wanted = wanted_rung(backend, "attention")
    if wanted is not None:
        obstacle = _obstacle(backend, wanted, arrays, scale)
        if obstacle:
            raise UsageError(
                f"attention's rung {wanted!r} {obstacle}; leave the choice to attention."
            )
        return wanted
    worth = {
        "decode": k.shape[2] >= MANY,
        "wgmma": q.shape[3] > NARROW,
        "mma": True,
    }
    fit = (
        name for name, good in worth.items() if good and not _obstacle(backend, name, arrays, scale)
    )
    return next(fit, "tiled")


def backward_rung(backend: Any, *arrays: Array) -> str:
    """The fastest that has a backward, or the one that is wanted if it has one."""
    wanted = wanted_rung(backend, "attention")
    if wanted in BACKWARD:
        return wanted
    return "tiled" if _obstacle(backend, "mma", arrays) else "mma"


def sharing(q: Array, k: Array) -> int:
    """Queries that look at one key/value head."""
    return int(q.shape[1] // max(1, k.shape[1]) * q.shape[2])


def _obstacle(backend: Any, name: str, arrays: tuple[Array, ...], scale: float = 1.0) -> str:
    """Why a rung cannot attend with these arrays here; empty if it can."""
    if name == "decode" and not 0 < sharing(*arrays[:2]) <= FEW:
        return f"takes 1 to {FEW} queries for each key/value head, not {sharing(*arrays[:2])}"
    if name not in ("mma", "wgmma"):
        return ""
    least, available = {"mma": 80, "wgmma": 90}[name], backend.compute_capability
    if available < least or (name == "wgmma" and available != least):
        return f"is for architecture {least}, and this device is {available}"
    if arrays[0].dtype.itemsize != 2:
        return f"takes 16-bit numbers, not {arrays[0].dtype}"
    if name == "wgmma" and not scale > 0:
        return f"takes a scale above 0, not {scale}"
    aligned = all(
        backend.address(a) % 16 == 0 and not any(stride % 16 for stride in a.strides[:3])
        for a in arrays
    )
    if not aligned or arrays[0].shape[3] % 8:
        return "takes rows that begin at multiples of 16 bytes, of a multiple of 8 elements"
    return ""
