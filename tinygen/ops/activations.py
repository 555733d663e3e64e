"""Activation functions and the error function.

Each is written so that values *and* gradients are finite and quiet up to |x| = 1e9 at least, keep
their relative accuracy in tails that vanish (tanh, erf and their like: absolute accuracy near their
limits), and pass NaN on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import Function, FusedFunction, Value
from tinygen.ops.casting import as_floats
from tinygen.ops.checks import one_of, same_float_dtype

__all__ = [
    "erf",
    "erfc",
    "gelu",
    "leaky_relu",
    "log_sigmoid",
    "relu",
    "sigmoid",
    "silu",
    "softplus",
    "swiglu",
    "tanh",
]


class Tanh(Function):
    """y = tanh x;  dx = g (1 - y^2)."""

    def forward(self, x: Array) -> Array:
        y = self.xp.tanh(x)
        self.save(y=y)
        return y

    def backward(self, g: Value) -> Value:
        y = self.saved.y
        return g * (1 - y * y)


class Erf(Function):
    """y = 2/sqrt(pi) integral of e^(-t^2) from 0 to x;  dx = 2/sqrt(pi) g e^(-x^2)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.backend.erf(x)

    def backward(self, g: Value) -> Value:
        return 2 / math.sqrt(math.pi) * g * ops.exp(-ops.square(self.saved.x))


class Erfc(Function):
    """y = 1 - erf x;  dx = -2/sqrt(pi) g e^(-x^2)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.backend.erfc(x)

    def backward(self, g: Value) -> Value:
        return -2 / math.sqrt(math.pi) * g * ops.exp(-ops.square(self.saved.x))


class Sigmoid(Function):
    """y = 1 / (1 + e^-x);  dx = g y sigmoid(-x), where 1 - y would be rounded away."""

    def forward(self, x: Array) -> Array:
        """As 1 / (1 + e^-x) above 0 and e^x / (1 + e^x) below: the exponential never overflows."""
        e = self.xp.exp(-self.xp.abs(x))
        y = self.xp.maximum(e, x >= 0)
        e += 1
        y /= e
        self.save(x=x, y=y)
        return y

    def backward(self, g: Value) -> Value:
        return g * self.saved.y * sigmoid(-self.saved.x)


class Softplus(Function):
    """y = log(1 + e^x) = max(x, 0) + log(1 + e^-|x|);  dx = g sigmoid(x)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.maximum(x, 0) + self.xp.log1p(self.xp.exp(-self.xp.abs(x)))

    def backward(self, g: Value) -> Value:
        return g * sigmoid(self.saved.x)


class LogSigmoid(Function):
    """y = -softplus(-x) = min(x, 0) - log(1 + e^-|x|);  dx = g sigmoid(-x)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.minimum(x, 0) - self.xp.log1p(self.xp.exp(-self.xp.abs(x)))

    def backward(self, g: Value) -> Value:
        return g * sigmoid(-self.saved.x)


class ReLU(Function):
    """y = max(x, 0);  dx = g where y > 0, else 0."""

    def forward(self, x: Array) -> Array:
        y = self.xp.maximum(x, 0)
        self.save(y=y)
        return y

    def backward(self, g: Value) -> Value:
        return ops.where(self.saved.y > 0, g, 0)


class LeakyReLU(Function):
    """y = x where x > 0, else slope x;  dx = g where x > 0, else slope g."""

    def forward(self, x: Array, *, slope: float) -> Array:
        self.save(x=x)
        return self.backend.leaky_relu(x, slope)

    def backward(self, g: Value) -> Value:
        return Leak.apply(g, self.saved.x > 0, slope=self.params["slope"])


class Leak(Function):
    """y = x where `above`, else slope x: linear, so its derivative is the same of g."""

    def forward(self, x: Array, above: Array, *, slope: float) -> Array:
        self.save(above=above)
        return self.backend.leak(x, above, slope)

    def backward(self, g: Value) -> tuple[Value, None]:
        return Leak.apply(g, self.saved.above, slope=self.params["slope"]), None


class SiLU(FusedFunction):
    """y = x s, s = sigmoid(x);  dx = g s (1 + x (1 - s)) (Elfwing et al. 2017, eq. 5)."""

    primitives = ("silu_forward",)

    @staticmethod
    def reference(x: Value) -> Value:
        return x * ops.sigmoid(x)

    def forward(self, x: Array) -> Array:
        y, slope = self.backend.silu_forward(x, with_derivative=bool(self.needs))
        self.save(slope=slope)
        return y

    def backward(self, g: Array) -> Array:
        return g * self.saved.slope


class GELU(FusedFunction):
    """y = x P(x), P the normal distribution function;  dx = g (P(x) + x P'(x)) (Hendrycks and
    Gimpel 2016, section 2).

    P(x) = erfc(-x / sqrt 2) / 2 or, approximately, (1 + tanh u) / 2 = sigmoid(2u) with
    u = sqrt(2/pi) (x + 0.044715 x^3): forms that keep their accuracy where P vanishes.
    """

    primitives = ("gelu_forward",)

    @staticmethod
    def reference(x: Value, *, approximate: str) -> Value:
        if approximate == "tanh":
            return x * ops.sigmoid(math.sqrt(8 / math.pi) * x * (1 + 0.044715 * x * x))
        return 0.5 * x * ops.erfc(-x * math.sqrt(0.5))

    def forward(self, x: Array, *, approximate: str) -> Array:
        y, slope = self.backend.gelu_forward(x, approximate, with_derivative=bool(self.needs))
        self.save(slope=slope)
        return y

    def backward(self, g: Array) -> Array:
        return g * self.saved.slope


class SwiGLU(FusedFunction):
    """y = silu(gate) up;  dgate = g up silu'(gate),  dup = g silu(gate) (Shazeer 2020,
    arXiv:2002.05202, eq. 6)."""

    primitives = ("swiglu_forward", "swiglu_backward")

    @staticmethod
    def reference(gate: Value, up: Value) -> Value:
        return ops.silu(gate) * up

    def forward(self, gate: Array, up: Array) -> Array:
        self.save(gate=gate, up=up)
        return self.backend.swiglu_forward(gate, up)

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        return self.backend.swiglu_backward(g, self.saved.gate, self.saved.up, self.needs)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * outputs[0].size


def tanh(x: Value) -> Any:
    """The hyperbolic tangent, elementwise."""
    return Tanh.apply(as_floats(x))


def erf(x: Value) -> Any:
    """The error function 2/sqrt(pi) * integral of e^(-t^2) from 0 to x, elementwise; x float."""
    same_float_dtype("erf", x=x)
    return Erf.apply(x)


def erfc(x: Value) -> Any:
    """1 - erf(x), elementwise, with full relative accuracy where it vanishes; x float."""
    same_float_dtype("erfc", x=x)
    return Erfc.apply(x)


def sigmoid(x: Value) -> Any:
    """1 / (1 + e^-x), elementwise; e^x to full relative accuracy far below 0; x float."""
    same_float_dtype("sigmoid", x=x)
    return Sigmoid.apply(x)


def log_sigmoid(x: Value) -> Any:
    """log(sigmoid(x)), elementwise; x itself far below 0, -e^-x far above; x float."""
    same_float_dtype("log_sigmoid", x=x)
    return LogSigmoid.apply(x)


def softplus(x: Value) -> Any:
    """log(1 + e^x), elementwise; x itself far above 0, e^x far below; x float."""
    same_float_dtype("softplus", x=x)
    return Softplus.apply(x)


def relu(x: Value) -> Any:
    """max(x, 0), elementwise; the gradient at 0 is 0."""
    return ReLU.apply(x)


def leaky_relu(x: Value, negative_slope: float = 0.01) -> Any:
    """x above 0, negative_slope * x below, elementwise; at 0 the gradient is the slope.

    `negative_slope` is a finite number.
    """
    slope = number("leaky_relu: negative_slope", negative_slope)
    return LeakyReLU.apply(as_floats(x), slope=slope)


def silu(x: Value) -> Any:
    """x sigmoid(x), elementwise, also known as swish; x float."""
    same_float_dtype("silu", x=x)
    return SiLU.apply(x)


def swiglu(gate: Value, up: Value) -> Any:
    """silu(gate) up, elementwise: what stands between the products of a gated feed-forward layer.

    gate and up have one shape and one float dtype; halves of one array, as x[..., :n] and
    x[..., n:], are not copied.
    """
    same_float_dtype("swiglu", gate=gate, up=up)
    if gate.shape != up.shape:
        raise ShapeError(f"swiglu: gate has shape {gate.shape} and up {up.shape}; make them equal.")
    return SwiGLU.apply(gate, up)


def gelu(x: Value, approximate: str = "none") -> Any:
    """x P(x), elementwise, P the distribution function of the standard normal; x float.

    approximate="tanh" replaces P by (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, as GPT-2 does.
    """
    one_of("gelu", "approximate", approximate, ("none", "tanh"))
    same_float_dtype("gelu", x=x)
    return GELU.apply(x, approximate=approximate)
