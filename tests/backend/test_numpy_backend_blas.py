"""The choice of BLAS: the same products, whoever makes them; MKL's only where it is installed."""

import subprocess
import sys

import numpy as np
import pytest

from tinygen.backend.numpy_backend import blas
from tinygen.errors import UnavailableError, UsageError


@pytest.fixture(autouse=True)
def _the_choice_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(blas, "_chosen", blas._chosen)
    monkeypatch.setattr(blas, "_name", blas._name)


@pytest.fixture
def mkl(monkeypatch):
    try:
        blas.use_blas("mkl")
    except UnavailableError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(blas, "SMALL", 0)


def layouts(shape, dtype, rng):
    """One matrix in every layout that a caller may have, and what BLAS cannot read among them."""
    matrix = rng.integers(-8, 9, shape).astype(dtype)
    rows, columns = shape
    wide = np.full((rows, columns + 3), 99, dtype)
    wide[:, 2:-1] = matrix
    spaced = np.full((rows, 2 * columns), 99, dtype)
    spaced[:, ::2] = matrix
    backwards = np.ascontiguousarray(matrix[::-1])[::-1]
    return [matrix, np.asfortranarray(matrix), wide[:, 2:-1], spaced[:, ::2], backwards]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
@pytest.mark.parametrize(
    "shape", [(5, 3, 4), (1, 7, 1), (1, 1, 1), (16, 1, 9), (3, 0, 2), (0, 2, 2)]
)
def test_products_of_every_layout(mkl, dtype, shape):
    M, K, N = shape
    rng = np.random.default_rng(0)
    for a in layouts((M, K), dtype, rng):
        for b in layouts((K, N), dtype, rng):
            for order in "CF":
                out = np.full((M, N), 99, dtype, order=order)
                assert blas.gemm(a, b, out) is out
                assert np.array_equal(out, a @ b)  # whole numbers: no rounding to allow for


def test_a_product_repeats_itself_wherever_its_factors_lie(mkl):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((37, 501), "f4"), rng.standard_normal((501, 29), "f4")
    first = blas.gemm(a, b, np.empty((37, 29), "f4"))
    for offset in range(1, 16):
        memory = np.empty(a.size + 16, "f4")
        moved = memory[offset : offset + a.size].reshape(a.shape)
        moved[...] = a
        assert np.array_equal(blas.gemm(moved, b, np.empty((37, 29), "f4")), first)


def test_mkl_is_called(mkl):
    a = np.ones((4, 4), "f4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "matmul", lambda *_, **__: pytest.fail("NumPy multiplied"))
        blas.gemm(a, a, np.empty((4, 4), "f4"))


def test_numpy_multiplies_by_default(monkeypatch):
    monkeypatch.delenv(blas.SWITCH, raising=False)
    monkeypatch.setattr(blas, "_name", None)
    assert blas.blas_in_use() == "numpy"


def test_an_unknown_blas_names_the_choices(monkeypatch):
    with pytest.raises(UsageError, match=r"'atlas'.*numpy, mkl"):
        blas.use_blas("atlas")


def test_without_mkl_the_command_says_what_to_install(tmp_path):
    """A process that cannot find the distribution, as on a machine without it."""
    hide = "import importlib.metadata as m\nm.files = lambda name: None\n"
    code = hide + "from tinygen.backend.numpy_backend.blas import blas_in_use\nblas_in_use()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"TINYGEN_BLAS": "mkl", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert 'pip install "tinygen[mkl]"' in done.stderr
