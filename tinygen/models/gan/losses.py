"""What the two players minimise, as functions of the scores D(x) that the discriminator gives.

    Loss.discriminator(real, fake) -> L_D         real = D(x), fake = D(G(z)), both (N,)
    Loss.generator(fake, real)     -> L_G         real is read by `Relativistic` alone

A score is a logit: D holds x for real with probability sigmoid(D(x)). Each loss is a mean over the
batch, a scalar. With p the density of the data, q that of the samples and unlimited networks, the
best discriminator D* and its loss are

    loss              D*(x)                 L_D(D*)                                    at p = q
    NonSaturating     log(p / q)            2 log 2 - 2 JS(p, q)                       2 log 2
    LeastSquares      p / (p + q)           sum p q / (p + q) / 2                      1/4
    Hinge             sign(p - q)           2 - 2 TV(p, q) = 2 sum min(p, q)           2
    Wasserstein       steepest 1-Lipschitz  -W_1(p, q)                                 0
    Relativistic      (no closed form)      at most log 2                              log 2

(JS the Jensen-Shannon divergence, TV the total variation distance sum |p - q| / 2, W_1 the earth
mover's distance.)
"""

from __future__ import annotations

from typing import Any, Protocol

from tinygen import ops
from tinygen.function import Value


class Loss(Protocol):
    """A zero-sum or nearly zero-sum game on scores."""

    paired: bool
    """Whether the generator's loss reads the scores of real examples."""

    def discriminator(self, real: Value, fake: Value) -> Any: ...

    def generator(self, fake: Value, real: Value) -> Any: ...


class NonSaturating:
    """L_D = -E log s(real) - E log(1 - s(fake)),  L_G = -E log s(fake),  s the sigmoid
    (Goodfellow et al. 2014, eq. 1 and section 3).

    The generator maximises log s instead of minimising log(1 - s), whose gradient vanishes where
    the discriminator is sure: dL_G/dfake = -s(-fake), near -1 for a sample that is found out.
    """

    paired = False

    def discriminator(self, real: Value, fake: Value) -> Any:
        return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))

    def generator(self, fake: Value, real: Value = None) -> Any:
        return ops.mean(ops.softplus(-fake))


class Minimax(NonSaturating):
    """L_D as above,  L_G = E log(1 - s(fake)): the zero-sum game (Goodfellow et al. 2014, eq. 1).

    For the theory: dL_G/dfake = -s(fake) vanishes for a sample that is found out.
    """

    def generator(self, fake: Value, real: Value = None) -> Any:
        return -ops.mean(ops.softplus(fake))


class LeastSquares:
    """L_D = E (real - 1)^2 / 2 + E fake^2 / 2,  L_G = E (fake - 1)^2 / 2 (Mao et al. 2017, eq. 9).

    Samples on the right side of the boundary still feel a pull towards it.
    """

    paired = False

    def discriminator(self, real: Value, fake: Value) -> Any:
        return 0.5 * (ops.mean(ops.square(real - 1)) + ops.mean(ops.square(fake)))

    def generator(self, fake: Value, real: Value = None) -> Any:
        return 0.5 * ops.mean(ops.square(fake - 1))


class Hinge:
    """L_D = E max(0, 1 - real) + E max(0, 1 + fake),  L_G = -E fake (Lim and Ye 2017, eq. 14-15).

    The discriminator learns from those alone that it does not yet place outside the margin.
    """

    paired = False

    def discriminator(self, real: Value, fake: Value) -> Any:
        return ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake))

    def generator(self, fake: Value, real: Value = None) -> Any:
        return -ops.mean(fake)


class Wasserstein:
    """L_D = E fake - E real,  L_G = -E fake (Arjovsky et al. 2017, eq. 2).

    Means something only where D is Lipschitz: clip its weights (`clip_weights`, their algorithm 1),
    or hold the norm of its gradient at 1 (`gradient_penalty`, WGAN-GP).
    """

    paired = False

    def discriminator(self, real: Value, fake: Value) -> Any:
        return ops.mean(fake) - ops.mean(real)

    def generator(self, fake: Value, real: Value = None) -> Any:
        return -ops.mean(fake)


class Relativistic:
    """L_D = E softplus(fake - real),  L_G = E softplus(real - fake), over pairs of a real and a
    generated example (Jolicoeur-Martineau 2019; Huang et al. 2024, "R3GAN", eq. 3).

    A sample is judged against a real example, so that a mode that is not covered is never behind
    the boundary: no local minimum there drops it. R3GAN is this loss with both zero-centred
    penalties, R1 and R2, without which it need not converge.
    """

    paired = True

    def discriminator(self, real: Value, fake: Value) -> Any:
        return ops.mean(ops.softplus(fake - real))

    def generator(self, fake: Value, real: Value) -> Any:
        return ops.mean(ops.softplus(real - fake))


LOSSES: dict[str, Loss] = {
    "non-saturating": NonSaturating(),
    "minimax": Minimax(),
    "least-squares": LeastSquares(),
    "hinge": Hinge(),
    "wasserstein": Wasserstein(),
    "relativistic": Relativistic(),
}
"""By the names that settings use."""
