"""Penalties on the slope of the discriminator, and the clipping of its weights.

Each needs the gradient of every score by its own example,

    g_n = d D(x_n) / d x_n        (N, ...),      |g_n| its Euclidean norm,

which is the gradient of the *sum* of the scores, as long as no score depends on another example:
no batch normalisation in D. g is computed with `create_graph=True`, so that the penalty can be
differentiated by D's parameters in turn.

The price: one more pass back to the input and one back through that. In `benchmarks/gan_modes.py`
a training step of both players takes 1.6 times as long with one penalty and 1.7 with both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygen import autograd, nn, ops
from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.tensor import Tensor

Critic = Callable[..., Any]
"""discriminator(x, y=None) -> scores (N,)"""


def input_gradient(scores: Tensor, x: Tensor) -> Tensor:
    """d scores[n] / d x[n], of x's shape (N, ...), itself differentiable."""
    (gradient,) = autograd.grad(ops.sum(scores), x, create_graph=True)
    assert gradient is not None
    return gradient


def zero_centred(gradient: Tensor) -> Tensor:
    """E |g|^2 / 2 of the gradients g (N, ...) (Mescheder et al. 2018, eq. 9-10)."""
    return ops.sum(ops.square(gradient)) * (0.5 / max(1, gradient.shape[0]))


def one_centred(gradient: Tensor, target: float = 1.0) -> Tensor:
    """E (|g| - target)^2 of the gradients g (N, ...) (Gulrajani et al. 2017, eq. 3)."""
    lengths = ops.norm(gradient, axis=tuple(range(1, gradient.ndim)))  # (N,)
    return ops.mean(ops.square(lengths - target))


def r1(discriminator: Critic, x: Array, y: Array | None = None) -> Tensor:
    """E |g|^2 / 2 on real examples: the slope where the data lie (Mescheder et al. 2018, eq. 9).

    At the equilibrium D is flat there; this pulls it flat. R2 is the same on samples.
    """
    leaf = Tensor(x, requires_grad=True)
    return zero_centred(input_gradient(discriminator(leaf, y), leaf))


def r2(discriminator: Critic, fake: Array, y: Array | None = None) -> Tensor:
    """E |g|^2 / 2 on samples (Mescheder et al. 2018, eq. 10)."""
    return r1(discriminator, fake, y)


def gradient_penalty(
    discriminator: Critic,
    real: Array,
    fake: Array,
    y: Array | None = None,
    *,
    mix: Array,
    target: float = 1.0,
) -> Tensor:
    """E (|g| - target)^2 at x = mix real + (1 - mix) fake (Gulrajani et al. 2017, algorithm 1).

    `mix` (N,) are the uniform numbers that place each x on the line between its two ends; `y` are
    the classes of the real examples, under which x is judged. The authors' weight is 10.
    """
    if real.shape != fake.shape or mix.shape != real.shape[:1]:
        raise ShapeError(
            f"gradient_penalty: real {real.shape}, fake {fake.shape} and mix {mix.shape}; the "
            "first two have one shape (N, ...), and mix has one number for each pair, (N,)."
        )
    share = mix.reshape(-1, *(1,) * (real.ndim - 1))  # (N, 1, ...)
    between = Tensor(fake + share * (real - fake), requires_grad=True)
    return one_centred(input_gradient(discriminator(between, y), between), target)


def clip_weights(discriminator: nn.Module, bound: float) -> None:
    """Every parameter into [-bound, bound], in place, after an optimiser step (Arjovsky et al.
    2017, algorithm 1; there bound = 0.01). A crude way to keep D Lipschitz."""
    if not bound > 0:
        raise UsageError(f"clip_weights: the bound is {bound}; it must be positive.")
    for parameter in discriminator.parameters():
        parameter.data.clip(-bound, bound, out=parameter.data)
        parameter.version += 1


def batch_norm_of(discriminator: nn.Module) -> str | None:
    """The name of a batch normalisation in D, through which scores depend on other examples; None
    if there is none."""
    for name, module in discriminator.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            return name
    return None
