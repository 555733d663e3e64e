"""`assert_close`: a computed array against the truth, within a registered bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend import Array
from tinygen.tensor import plain
from tinygen.testing.bounds import Bound, exact, unit_roundoff

_EXACT = exact()


def assert_close(actual: Any, truth: Any, bound: Bound = _EXACT, *, what: str = "result") -> float:
    """Fail unless |actual - truth| <= bound, elementwise; return the largest error / bound.

    `actual` is an array or Tensor, `truth` an array of at least its precision. Equal values, both
    NaN included, always agree; a truth beyond the largest number of `actual`'s dtype is infinite.
    Shapes must be equal, and integers and booleans agree exactly.
    """
    found = _array(actual)
    expected = _array(truth)
    if found.shape != expected.shape:
        raise AssertionError(f"{what}: shape {found.shape}, and the truth has {expected.shape}.")
    with np.errstate(all="ignore"):
        if found.dtype.kind != "f":
            error = (found != expected).astype(np.float64)
            allowed: Array = np.zeros(found.shape)
            same = found == expected
        else:
            rounded = expected.astype(found.dtype)
            same = (found == rounded) | (np.isnan(found) & np.isnan(expected))
            error = np.abs(found.astype(np.longdouble) - expected)
            smallest = float(np.finfo(found.dtype).smallest_subnormal)
            raw = np.asarray(bound(unit_roundoff(found.dtype), expected))
            allowed = np.broadcast_to(np.where(raw > 0, raw + smallest, raw), found.shape)
        # So that NaN fails; and that an infinite truth, whose bound is infinite, needs infinity.
        ok = same | (np.isfinite(expected.astype(found.dtype)) & (error <= allowed))
        if not ok.all():
            index = _worst(error, allowed, ok)
            raise AssertionError(
                f"{what}: {int((~ok).sum())} of {ok.size} elements are off. Worst at {index}: "
                f"{found[index]!r}, and the truth is {expected[index]!r}; error "
                f"{float(error[index]):.3g}, bound {float(allowed[index]):.3g} ({found.dtype})."
            )
        judged = ~same & (allowed > 0)
        return float((error[judged] / allowed[judged]).max()) if judged.any() else 0.0


def _array(value: Any) -> Array:
    return np.asarray(plain(value))


def _worst(error: Array, allowed: Array, ok: Array) -> tuple[int, ...]:
    excess = np.where(ok, -1.0, np.nan_to_num(error / allowed, nan=np.inf, posinf=np.inf))
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), ok.shape))
