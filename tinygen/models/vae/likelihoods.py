"""What a decoder's numbers mean: the distribution p(x | z) of data given their latent.

    decoder(z) (..., D P) ──▶ likelihood ──▶ log_prob(x) (...,),  mean (..., D),  sample (..., D)

D dimensions of an example, P numbers for each, dimension by dimension: [d0 p0, d0 p1, d1 p0, ...].
x has the shape (..., D), or only the last axes of that: then the leading axes of the parameters
(several z of one x) meet the same data. Log-probabilities are in nats.

                          x                          P     numbers of a dimension
    Bernoulli             floats in [0, 1]           1     log-odds
    Gaussian              any floats                 1, 2  mean, and log sigma if it is decoded
    Categorical           integers below K           K     logits
    DiscretisedLogistic   integers below K, ordered  2     mean and log scale, in units of [-1, 1]
"""

from __future__ import annotations

import math
from typing import Any, Literal

from tinygen import nn, ops
from tinygen.arguments import integer, number
from tinygen.backend import Array
from tinygen.errors import DtypeError, OutOfRangeError, UsageError
from tinygen.function import Value
from tinygen.ops.checks import known_reduction
from tinygen.random import Generator
from tinygen.tensor import Tensor, device_of, plain

LOG_SCALE_FLOOR = -7.0
"""Of a discretised logistic: scales below e^-7 would only sharpen a single level."""


class Likelihood(nn.Module):
    """Base of the likelihoods."""

    per_dimension: int = 1
    """P, the numbers that the decoder gives for each dimension."""

    def prepare(self, x: Value, dtype: Any) -> tuple[Any, Any]:
        """x checked: as `log_prob` takes it, and as the encoder sees it, floats of `dtype`."""
        raise NotImplementedError(f"{type(self).__name__} does not define prepare")

    def log_prob(self, x: Value, params: Value, *, reduction: str = "sum") -> Any:
        """log p(x | params) in nats, over the dimensions of an example: their "sum" (...,), their
        "mean" (...,), or "none" (..., D)."""
        raise NotImplementedError(f"{type(self).__name__} does not define log_prob")

    def nll(self, x: Value, params: Value) -> Any:
        """-log p(x | params) in nats, summed over the dimensions of an example (...,)."""
        return -self.log_prob(x, params)

    def mean(self, params: Value) -> Any:
        """The expectation of x (..., D), as floats in the units of the data."""
        raise NotImplementedError(f"{type(self).__name__} does not define mean")

    def sample(self, params: Value, *, rng: Generator | None = None, noise: Value = None) -> Array:
        """A draw of x (..., D) from `rng`, or from the `noise` (..., D) itself: standard normal for
        a Gaussian, uniform in [0, 1) for the others."""
        raise NotImplementedError(f"{type(self).__name__} does not define sample")

    def _split(self, params: Value) -> Any:
        """(..., D P) -> (..., D, P)."""
        return ops.reshape(params, (*params.shape[:-1], -1, self.per_dimension))


class Bernoulli(Likelihood):
    """p(x) = p^x (1 - p)^(1 - x), p the sigmoid of the decoder's number. For x strictly between 0
    and 1 it is a loss, not a density (Loaiza-Ganem and Cunningham 2019): binarise first."""

    def prepare(self, x: Value, dtype: Any) -> tuple[Any, Any]:
        values = plain(x)
        if values.size and not (values.min() >= 0 and values.max() <= 1):
            raise OutOfRangeError(
                f"Bernoulli data lie in [0, 1], and these in [{values.min()}, {values.max()}]; "
                "scale them, for example x / 255."
            )
        x = _floats(x, dtype)
        return x, x

    def log_prob(self, x: Value, params: Value, *, reduction: str = "sum") -> Any:
        if reduction == "sum":
            return -self.nll(x, params)
        return _reduced(x * params - ops.softplus(params), reduction)

    def nll(self, x: Value, params: Value) -> Any:
        return ops.bernoulli_nll(params, x)

    def mean(self, params: Value) -> Any:
        return ops.sigmoid(params)

    def sample(self, params: Value, *, rng: Generator | None = None, noise: Value = None) -> Array:
        p = plain(self.mean(params))
        return (_uniform(noise, rng, p.shape, p) < p).astype(p.dtype)


class Gaussian(Likelihood):
    """log p(x) = -(x - mu)^2 / (2 sigma^2) - log sigma - log(2 pi) / 2.

    sigma is a positive number; or "shared", one learned number for all dimensions (the optimum is
    then the root mean squared error: Rybkin et al. 2021, "Simple and effective VAE training with
    calibrated decoders"); or "decoded", one for each dimension of each z.
    """

    def __init__(self, sigma: float | Literal["shared", "decoded"] = "shared") -> None:
        if not isinstance(sigma, str):
            number("sigma", sigma, above=0)
        elif sigma not in ("shared", "decoded"):
            raise UsageError(f'sigma is {sigma!r}; it is a number, "shared" or "decoded".')
        self.per_dimension = 2 if sigma == "decoded" else 1
        self.log_sigma: Tensor | float | None = None
        if sigma == "shared":
            self.log_sigma = nn.Parameter(nn.init.zeros(()))
        elif not isinstance(sigma, str):
            self.log_sigma = math.log(sigma)

    def prepare(self, x: Value, dtype: Any) -> tuple[Any, Any]:
        x = _floats(x, dtype)
        return x, x

    def log_prob(self, x: Value, params: Value, *, reduction: str = "sum") -> Any:
        mu, log_sigma = self._mu_log_sigma(params)
        z = (x - mu) * _exp(-log_sigma)
        return _reduced(-0.5 * z * z - log_sigma - 0.5 * math.log(2 * math.pi), reduction)

    def mean(self, params: Value) -> Any:
        return self._mu_log_sigma(params)[0]

    def sample(self, params: Value, *, rng: Generator | None = None, noise: Value = None) -> Array:
        mu, log_sigma = (plain(value) for value in self._mu_log_sigma(params))
        if noise is None:
            noise = _given(rng).normal(mu.shape, mu.dtype, device_of(mu))
        return mu + _exp(log_sigma) * plain(noise)

    def _mu_log_sigma(self, params: Value) -> tuple[Any, Any]:
        if self.log_sigma is not None:
            return params, self.log_sigma
        pairs = self._split(params)  # (..., D, 2)
        return pairs[..., 0], pairs[..., 1]


class _Levels(Likelihood):
    """Data that are integers 0 ... levels - 1."""

    def __init__(self, levels: int) -> None:
        self.levels = integer("levels", levels, least=2)

    def prepare(self, x: Value, dtype: Any) -> tuple[Any, Any]:
        """The encoder sees level k as 2 k / (levels - 1) - 1, in [-1, 1]."""
        values = plain(x)
        if values.dtype.kind not in "iu":
            raise DtypeError(
                f"{type(self).__name__} data are integers below {self.levels}, not {values.dtype}; "
                "round and convert them with .astype('int64')."
            )
        if values.size and not (values.min() >= 0 and values.max() < self.levels):
            raise OutOfRangeError(
                f"data from {values.min()} to {values.max()} do not fit {self.levels} levels; give "
                f"integers 0 ... {self.levels - 1}, or more levels."
            )
        return values, values.astype(dtype) * (2 / (self.levels - 1)) - 1


class Categorical(_Levels):
    """p(x = k) = softmax(logits)_k: any distribution over the levels, with no order among them."""

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.per_dimension = levels

    def log_prob(self, x: Value, params: Value, *, reduction: str = "sum") -> Any:
        logits = self._split(params)  # (..., D, K)
        classes = ops.broadcast_to(plain(x), logits.shape[:-1])
        return _reduced(-ops.cross_entropy(logits, classes, reduction="none"), reduction)

    def mean(self, params: Value) -> Any:
        probs = ops.softmax(self._split(params), axis=-1)
        levels = ops.arange(self.levels, dtype=params.dtype, device=device_of(params))
        return ops.matmul(probs, levels.data)

    def sample(self, params: Value, *, rng: Generator | None = None, noise: Value = None) -> Array:
        """The first level whose cumulative probability passes the noise."""
        below = ops.cumsum(plain(ops.softmax(self._split(params), axis=-1)), axis=-1)[..., :-1]
        u = _uniform(noise, rng, below.shape[:-1], below)
        return (u[..., None] >= below).sum(axis=-1)


class DiscretisedLogistic(_Levels):
    """p(x = k) = s((k + 1/2 - m) / scale) - s((k - 1/2 - m) / scale), s the sigmoid, where the
    first level reaches down to -infinity and the last up to +infinity (Salimans et al. 2017, eq. 2;
    Kingma et al. 2016). m and scale are for levels laid evenly over [-1, 1].

    With a < b the two arguments, s(b) - s(a) = s(b) s(-a) (1 - e^(a - b)): a product, so its
    logarithm is exact in both tails and for the narrowest level.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(levels)
        self.per_dimension = 2

    def log_prob(self, x: Value, params: Value, *, reduction: str = "sum") -> Any:
        m, log_scale = self._m_log_scale(params)  # (..., D)
        levels = plain(x)
        half = 1 / (self.levels - 1)
        centre = levels.astype(m.dtype) * (2 * half) - 1
        inverse = ops.exp(-log_scale)
        b = (centre + half - m) * inverse
        a = (centre - half - m) * inverse
        not_last, not_first = levels < self.levels - 1, levels > 0
        width = 2 * half * inverse  # b - a
        logs = ops.where(not_last, ops.log_sigmoid(b), 0.0)
        logs = logs + ops.where(not_first, ops.log_sigmoid(-a), 0.0)
        inner = not_first & not_last
        return _reduced(logs + ops.where(inner, ops.log(-ops.expm1(-width)), 0.0), reduction)

    def mean(self, params: Value) -> Any:
        """The sum of P(x >= k) over k = 1 ... K - 1."""
        m, log_scale = self._m_log_scale(params)
        levels = ops.arange(1, self.levels, dtype=m.dtype, device=device_of(m)).data
        edges = (2 * levels - 1) / (self.levels - 1) - 1
        above = (ops.expand_dims(m, -1) - edges) * ops.expand_dims(ops.exp(-log_scale), -1)
        return ops.sum(ops.sigmoid(above), axis=-1)  # (..., D, K - 1) -> (..., D)

    def sample(self, params: Value, *, rng: Generator | None = None, noise: Value = None) -> Array:
        """A logistic number by its inverse cumulative function, rounded to the nearest level."""
        m, log_scale = (plain(value) for value in self._m_log_scale(params))
        u = _uniform(noise, rng, m.shape, m).clip(1e-7, 1 - 1e-7)
        x = m + ops.exp(log_scale) * (ops.log(u) - ops.log1p(-u))
        level = ops.floor((x + 1) * ((self.levels - 1) / 2) + 0.5)
        return level.clip(0, self.levels - 1).astype("int64")

    def _m_log_scale(self, params: Value) -> tuple[Any, Any]:
        pairs = self._split(params)
        return pairs[..., 0], ops.maximum(pairs[..., 1], LOG_SCALE_FLOOR)


def _reduced(log_probs: Value, reduction: str) -> Any:
    known_reduction("log_prob", reduction)
    if reduction == "none":
        return log_probs
    reduce = ops.sum if reduction == "sum" else ops.mean
    return reduce(log_probs, axis=-1)


def _exp(x: Value) -> Any:
    return math.exp(x) if isinstance(x, float) else ops.exp(x)


def _floats(x: Value, dtype: Any) -> Any:
    return x if x.dtype == dtype else ops.astype(x, dtype)


def _uniform(noise: Value, rng: Generator | None, shape: tuple[int, ...], like: Array) -> Array:
    if noise is not None:
        return plain(noise)
    return _given(rng).uniform(shape, dtype=like.dtype, device=device_of(like))


def _given(rng: Generator | None) -> Generator:
    if rng is None:
        raise UsageError("give the random generator (rng=...), or the noise itself.")
    return rng
