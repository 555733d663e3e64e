"""The check that every layer makes of its sizes."""

from __future__ import annotations

from tinygen.errors import UsageError


def require_sizes(layer: str, **sizes: int) -> None:
    """Raise UsageError where a size is not a positive integer."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UsageError(f"{layer}: {name} is {size!r}; it must be a positive integer.")
