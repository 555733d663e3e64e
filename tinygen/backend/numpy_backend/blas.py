"""Whose BLAS multiplies the matrices of linear layers: NumPy's own, or Intel's MKL by choice.

NumPy's wheels bring OpenBLAS. On processors with AVX-512 its float32 products take a quarter longer
than those of MKL, which PyTorch's wheels bring, and nothing around the call closes that: no other
layout, no tiles, no aligned factors. So MKL is a switch: `pip install "tinygen[mkl]"`, then
TINYGEN_BLAS=mkl in the environment, or `use_blas("mkl")`. Never on its own account, since the last
bits of every result change with it; the run's environment.json says which BLAS was at work.

MKL multiplies by one thread, the default of every run. Its threads would be Intel's OpenMP, and
beside another OpenMP in the process, as with PyTorch, they give wrong products (measured: a seventh
to a third of them).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tinygen.backend.numpy_backend.array import Array
from tinygen.errors import UnavailableError, UsageError

Gemm: TypeAlias = Callable[[Array, Array, Array], Array]

SWITCH = "TINYGEN_BLAS"
CHOICES = ("numpy", "mkl")

SMALL = 1 << 18
"""Multiplications up to which the 8 microseconds of a call by ctypes cost more than they gain."""

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112  # of cblas.h
LP64, ONE_THREAD, STRICT = 0, 1, 0x10000  # of mkl_service.h and mkl_types.h


def gemm(a: Array, b: Array, out: Array) -> Array:
    """out (M, N) = a (M, K) b (K, N), by the BLAS that was chosen."""
    return _chosen(a, b, out)


def use_blas(name: str) -> None:
    """Multiply by "numpy" or "mkl" from now on. UnavailableError where MKL is not installed."""
    global _chosen, _name
    if name not in CHOICES:
        raise UsageError(f"unknown BLAS {name!r} ({SWITCH}): the choices are {', '.join(CHOICES)}.")
    _chosen = _mkl() if name == "mkl" else _by_numpy
    _name = name


def blas_in_use() -> str:
    """The name of the BLAS that multiplies: "numpy" or "mkl"."""
    if _name is None:
        use_blas(os.environ.get(SWITCH) or "numpy")
    assert _name is not None
    return _name


def _by_numpy(a: Array, b: Array, out: Array) -> Array:
    return np.matmul(a, b, out=out)


def _as_the_environment_says(a: Array, b: Array, out: Array) -> Array:
    """The first product of a process: chooses, so that importing tinygen loads nothing."""
    blas_in_use()
    return _chosen(a, b, out)


_chosen: Gemm = _as_the_environment_says
_name: str | None = None


def _mkl() -> Gemm:
    library = _load()
    number: Any = ctypes.c_int
    pointer: Any = ctypes.c_void_p
    multiply = {}
    for letter, dtype, scalar in (("s", "f4", ctypes.c_float), ("d", "f8", ctypes.c_double)):
        function = library[f"cblas_{letter}gemm"]
        factors = [scalar, pointer, number, pointer, number, scalar, pointer, number]
        function.argtypes, function.restype = [number] * 6 + factors, None
        multiply[np.dtype(dtype)] = function

    def gemm(a: Array, b: Array, out: Array) -> Array:
        (M, K), N = a.shape, b.shape[1]
        function = multiply.get(out.dtype)
        if M * N * K <= SMALL or function is None or not a.dtype == b.dtype == out.dtype:
            return np.matmul(a, b, out=out)
        left, right, result = _operand(a), _operand(b), _operand(out)
        if left is None or right is None or result is None or result[0] == TRANSPOSED:
            return np.matmul(a, b, out=out)
        start = a.ctypes.data, left[1], b.ctypes.data, right[1]
        function(
            ROW_MAJOR, left[0], right[0], M, N, K, 1.0, *start, 0.0, out.ctypes.data, result[1]
        )
        return out

    return gemm


def _operand(a: Array) -> tuple[int, int] | None:
    """(transposed or not, leading dimension) of a matrix that BLAS can read where it lies."""
    item, (rows, columns) = a.itemsize, a.shape
    down, right = a.strides
    if right == item and down >= item * columns and down % item == 0:
        return AS_IT_IS, down // item
    if down == item and right >= item * rows and right % item == 0:
        return TRANSPOSED, right // item
    return None


def _load() -> ctypes.CDLL:
    """MKL, set to 32-bit indices and to sums whose order does not depend on where an array lies,
    so that a resumed run repeats itself bit for bit."""
    from importlib import metadata  # a mail parser comes with it: only for those who ask for MKL

    try:
        files = metadata.files("mkl") or []
        file = next(f for f in files if f.name.startswith(("libmkl_rt", "mkl_rt")))
        library = ctypes.CDLL(str(Path(str(file.locate())).resolve()))
    except (metadata.PackageNotFoundError, StopIteration, OSError) as error:
        raise UnavailableError(
            f'{SWITCH}=mkl needs Intel\'s MKL, which is not installed: pip install "tinygen[mkl]", '
            f"or unset {SWITCH}."
        ) from error
    library.MKL_Set_Interface_Layer(LP64)
    library.MKL_Set_Threading_Layer(ONE_THREAD)
    library.MKL_CBWR_Set(library.MKL_CBWR_Get_Auto_Branch() | STRICT)
    return library
