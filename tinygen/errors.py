"""The exceptions of tinygen, each with the exit code that the command line gives it.

Every message says what happened, why, and what to do, with the caller's own shapes, names and
values in it. An error that an op raises is also the built-in type that a Python programmer would
catch (`ShapeError` is a `ValueError`, `DtypeError` a `TypeError`, and so on).

==== =============================================================================
code meaning
==== =============================================================================
0    done
1    internal error: a bug in tinygen
2    usage: an unknown option, or a value that cannot be
3    input missing or invalid: a path, data, or a checkpoint
4    device or extra unavailable; output unwritable; disk full
5    training diverged
6    finished, with findings
130  interrupted by the user, and saved
==== =============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TinygenError(Exception):
    """Base of every error that tinygen raises on purpose."""

    exit_code = 1


# ---- the command line, files and devices ---------------------------------------------------------


class UsageError(TinygenError, ValueError):
    """An option that does not exist, or a value that cannot be."""

    exit_code = 2


class InputError(TinygenError, ValueError):
    """Something to be read is missing, unreadable, or not what it should be."""

    exit_code = 3


class CheckpointError(InputError):
    """A checkpoint is truncated, altered, or belongs to another model."""


class UnavailableError(TinygenError, RuntimeError):
    """A device or an optional package is not here."""

    exit_code = 4


class KernelError(TinygenError, RuntimeError):
    """A CUDA kernel does not compile, or did what no kernel may do."""


class OutputError(TinygenError, OSError):
    """Output cannot be written: no permission, no space, or something stands in the way."""

    exit_code = 4


class DivergedError(TinygenError, ArithmeticError):
    """Training produced a loss or a gradient that is not finite."""

    exit_code = 5


class Interrupted(TinygenError):
    """The user interrupted a run; its state was saved first."""

    exit_code = 130


# ---- ops and the engine --------------------------------------------------------------------------


class ShapeError(TinygenError, ValueError):
    """Shapes, axes or sizes that do not fit together."""


class DtypeError(TinygenError, TypeError):
    """A dtype or a type of argument that an op does not take."""


class DeviceError(TinygenError, ValueError):
    """Arrays of different devices met in one op, or a device is unknown."""


class InterchangeError(TinygenError, BufferError):
    """Memory that cannot be shared with another library as it was asked for."""


class OutOfRangeError(TinygenError, IndexError):
    """An index beyond the end of its axis."""


class GraphError(TinygenError, RuntimeError):
    """The gradient that was asked for cannot be computed from this graph."""


def explained(op: str, error: Exception, arrays: Sequence[Any]) -> TinygenError:
    """NumPy's complaint as the documented error, with the op and the caller's shapes."""
    kinds = {
        ValueError: ShapeError,
        TypeError: DtypeError,
        OverflowError: DtypeError,  # a Python number that the dtype cannot hold
        IndexError: OutOfRangeError,
    }
    kind = next(ours for theirs, ours in kinds.items() if isinstance(error, theirs))
    given = ", ".join(
        f"{a.dtype}{list(a.shape)}" if hasattr(a, "shape") else repr(a) for a in arrays
    )
    return kind(f"{op}: {error}. The inputs were {given}; check their shapes, axes and dtypes.")
