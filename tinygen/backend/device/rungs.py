"""The rungs of each ladder, and the one that is asked for.

    backend.rungs["softmax"] = "naive"

takes that rung wherever the operation runs, forward and backward; without it a launcher takes the
fastest that can. kernels/README.md says which file holds which.
"""

from __future__ import annotations

from typing import Any

from tinygen.errors import UsageError

RUNGS: dict[str, tuple[str, ...]] = {
    "activation": ("naive", "vectors"),
    "adamw": ("naive", "vectors"),
    "attention": ("naive", "tiled", "decode", "mma", "wgmma"),
    "cast": ("naive", "vectors"),
    "column_sums": ("naive", "slices"),
    "cross_entropy": ("naive", "block"),
    "dropout": ("naive", "vectors"),
    "embedding": ("naive", "sorted"),
    "group_norm": ("naive", "chunks"),
    "layer_norm": ("naive", "block", "registers"),
    "log_softmax": ("naive", "online", "registers"),
    "matmul": ("naive", "tiled", "registers", "splits", "wgmma_parts", "mma", "wgmma"),
    "random": ("naive", "blocks"),
    "rms_norm": ("naive", "block", "registers"),
    "rope": ("naive", "vectors"),
    "softmax": ("naive", "online", "registers"),
    "swiglu": ("naive", "vectors"),
    "topk": ("naive", "radix"),
    "transpose": ("naive", "tiled"),
}
"""By operation, from the bottom."""


def wanted_rung(backend: Any, operation: str, given: str | None = None) -> str | None:
    """The rung that is `given` or that `backend.rungs` asks for; None leaves the choice to the
    launcher. Raises UsageError for an operation or a rung that there is not."""
    for name, rung in ({operation: given} if given else backend.rungs).items():
        if name not in RUNGS:
            raise UsageError(f"no operation {name!r} has rungs; these have: {', '.join(RUNGS)}.")
        if rung not in RUNGS[name]:
            raise UsageError(f"{name} has no rung {rung!r}; it has {', '.join(RUNGS[name])}.")
    found: str | None = given or backend.rungs.get(operation)
    return found


def rung_of(backend: Any, operation: str) -> str:
    """The rung that is asked for, else the topmost: of a ladder whose rungs take anything."""
    return wanted_rung(backend, operation) or RUNGS[operation][-1]
