"""MKL's products in a process that PyTorch is in, with an OpenMP of its own."""

import numpy as np
import pytest

from tinygen.backend.numpy_backend import blas
from tinygen.errors import UnavailableError

torch = pytest.importorskip("torch")


def test_products_stay_right_beside_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_chosen", blas._chosen)
    monkeypatch.setattr(blas, "_name", blas._name)
    monkeypatch.setattr(blas, "SMALL", 0)
    try:
        blas.use_blas("mkl")
    except UnavailableError as error:
        pytest.skip(str(error))
    torch.ones(300, 300) @ torch.ones(300, 300)  # its threads have begun
    rng = np.random.default_rng(0)
    for _ in range(40):
        M, K, N = rng.integers(1, 500, 3)
        a, b = rng.standard_normal((M, K), "f4"), rng.standard_normal((K, N), "f4")
        product = blas.gemm(a, b, np.empty((M, N), "f4"))
        np.testing.assert_allclose(product, a @ b, atol=1e-3)
