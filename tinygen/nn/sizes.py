"""The check that every layer makes of its sizes."""

from __future__ import annotations

from tinygen.arguments import integer


def require_sizes(layer: str, **sizes: int) -> None:
    """Raise UsageError where a size is not a positive integer."""
    for name, size in sizes.items():
        integer(f"{layer}: {name}", size, least=1)
