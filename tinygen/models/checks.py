"""The check that the loss of every model makes of its batch."""

from __future__ import annotations

from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Value


def require_examples(x: Value) -> None:
    """Raise ShapeError unless x (N, ...) has something in it, for the loss is a mean over the
    examples, and DtypeError unless it is an array or a Tensor."""
    if not hasattr(x, "shape"):
        raise DtypeError(f"a batch is an array or Tensor (N, ...), not {type(x).__name__}.")
    if not x.shape or 0 in x.shape:
        raise ShapeError(
            f"a batch has one or more examples (N, ...), and this has the shape {x.shape}: a mean "
            "over none is no number, so leave it out."
        )
