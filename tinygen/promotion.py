"""Which dtype an op computes in, where its inputs have several, or one that NumPy lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygen.arguments import bfloat16, is_bfloat16
from tinygen.backend import Array, backend_of, raw
from tinygen.errors import DtypeError


def promote(*values: Any) -> tuple[Any, ...]:
    """`values` cast to their common dtype (NumPy's promotion; Python scalars adapt to it)."""
    arrays = [raw(plain(x)) for x in values]
    try:
        dtype = backend_of(arrays).xp.result_type(*[a for a in arrays if a is not None])
    except TypeError as error:
        raise DtypeError(
            f"{' and '.join(str(a.dtype) for a in arrays if hasattr(a, 'dtype'))} have no dtype in "
            "common; convert one of them with x.astype(dtype)."
        ) from error
    return tuple(
        x if a is None or not hasattr(a, "dtype") or a.dtype == dtype else ops.astype(x, dtype)
        for x, a in zip(values, arrays, strict=True)
    )


def has_bfloat16(arrays: Sequence[Array]) -> bool:
    return any(is_bfloat16(getattr(x, "dtype", None)) for x in arrays)


def of_one_form(arrays: Sequence[Array]) -> bool:
    """Whether all are arrays of one dtype and one shape, so that nothing is converted, and no
    gradient summed, on the way."""
    forms = {(getattr(x, "dtype", None), getattr(x, "shape", None)) for x in arrays}
    return len(forms) == 1 and (None, None) not in forms


def in_float32(apply: Callable[..., Any], inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """What `apply` makes of inputs of which some are bfloat16, by way of float32: each result is
    rounded once. NumPy's own arithmetic of it is in steps of 8 bits, and ends in float32 at the
    first Python number."""
    narrow = bfloat16()
    wide = [ops.astype(x, "float32") if has_bfloat16([x]) else x for x in inputs]
    results = apply(*wide, **params)
    if type(results) is not tuple:
        return ops.astype(results, narrow) if results.dtype == "float32" else results
    return tuple([ops.astype(y, narrow) if y.dtype == "float32" else y for y in results])


# A part of the engine's one cycle: each needs the others only when called.
from tinygen import ops  # noqa: E402
from tinygen.tensor import plain  # noqa: E402
