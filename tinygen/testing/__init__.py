"""Proofs for ops, layers and models, yours included.

- `check_grad(f, *tensors)`: is the gradient the derivative? Of every order asked for.
- `assert_close(actual, truth, bound)` with the formulas of `bounds`.
- `register(fn, args=..., truth=..., bound=...)` puts an op into the catalogue, and
  `laws.check_all(name)` under every law; `mutants` judge the laws, and `python -m tinygen.testing`
  prints it all.
- `strategies` (needs Hypothesis): the same arguments, searched and shrunk; random programs.
"""

from tinygen.testing import bounds
from tinygen.testing.catalogue import CATALOGUE, Bad, Op, register
from tinygen.testing.compare import assert_close
from tinygen.testing.drawing import Call, Domain, Draw, SeededDraw
from tinygen.testing.gradcheck import GradientError, GradReport, check_grad

__all__ = [
    "CATALOGUE",
    "Bad",
    "Call",
    "Domain",
    "Draw",
    "GradReport",
    "GradientError",
    "Op",
    "SeededDraw",
    "assert_close",
    "bounds",
    "check_grad",
    "register",
]
