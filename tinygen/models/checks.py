"""The checks that models of several families make of what they are given."""

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


def require_tokens(tokens: Value) -> None:
    """Raise DtypeError unless tokens are integers, ShapeError unless they are (B, T)."""
    if getattr(getattr(tokens, "dtype", None), "kind", None) not in ("i", "u"):
        raise DtypeError(
            "tokens are an array of integers, not "
            f"{getattr(tokens, 'dtype', type(tokens).__name__)}; encode the text first."
        )
    if tokens.ndim != 2:
        raise ShapeError(
            f"tokens have shape {tokens.shape}, and the model takes (B, T); for one sequence give "
            "tokens[None]."
        )
