"""How many threads BLAS uses: a choice of the run, since it decides speed and the last bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tinygen.backend.numpy_backend.blas import blas_in_use
from tinygen.errors import UnavailableError


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Inside, matrix products use `count` threads.

    One is the right number for products that take microseconds: their threads wait for each other
    by spinning, and on a busy machine that costs up to ten times the work itself.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise UnavailableError(
            "choosing the number of threads needs threadpoolctl: pip install threadpoolctl"
        ) from error
    blas_in_use()  # the limit reaches only libraries that are loaded
    with threadpool_limits(limits=count, user_api="blas"):
        yield
