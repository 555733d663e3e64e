"""How the two players take turns (Goodfellow et al. 2014, algorithm 1).

    fake = G(z)                        one forward pass of G serves both steps
    D step:  minimise  L_D(D(real), D(fake)) + penalties     fake is a constant: G is not touched
    G step:  minimise  L_G(D(fake), D(real))                 D is frozen: not a bit of it moves

"Frozen" (`tg.freeze`) covers D's parameters, which gather no gradient, and its buffers: running
statistics and the vectors of spectral norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygen import nn, ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.grad_mode import freeze, no_grad
from tinygen.models.checks import require_examples
from tinygen.models.gan.augment import DiffAugment
from tinygen.models.gan.losses import LOSSES, Loss
from tinygen.models.gan.penalties import (
    batch_norm_of,
    clip_weights,
    gradient_penalty,
    input_gradient,
    zero_centred,
)
from tinygen.optim import EMA, Optimizer
from tinygen.random import Generator as Random
from tinygen.tensor import Tensor, device_of, plain

Metrics = dict[str, float]


@dataclass(frozen=True)
class Objective:
    """What is minimised: a loss on scores, and the weights of what is added to D's.

    WGAN-GP is `Objective(Wasserstein(), gradient_penalty=10)`, R3GAN `Objective(Relativistic(),
    r1=gamma, r2=gamma)`, WGAN `Objective(Wasserstein(), clip=0.01)`.
    """

    loss: Loss = LOSSES["non-saturating"]
    gradient_penalty: float = 0.0
    r1: float = 0.0
    r2: float = 0.0
    clip: float | None = None
    """Bound of D's weights after each of its steps."""
    augment: DiffAugment | None = None
    """Applied to whatever D sees, in both steps."""

    def __post_init__(self) -> None:
        for name in ("gradient_penalty", "r1", "r2"):
            number(f"Objective: {name}", getattr(self, name), least=0)
        if self.clip is not None:
            number("Objective: clip", self.clip, above=0)


class Duel:
    """A generator and a discriminator in training, each with an optimiser of its own, so that they
    may move on two time scales (Heusel et al. 2017).

        duel = Duel(generator, discriminator, g_optimizer, d_optimizer, Objective(Hinge()))
        for real in batches:
            metrics = duel.step(real, rng.normal((len(real), latent)), rng=rng)

    For k steps of D to one of G, call `discriminator_step(real, duel.fakes(z))` k - 1 times first.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        objective: Objective | None = None,
        *,
        ema: EMA | None = None,
    ) -> None:
        """`ema`, an average of the generator's weights, is updated after each of its steps."""
        self.generator, self.discriminator = generator, discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.objective = Objective() if objective is None else objective
        self.ema = ema
        norm = batch_norm_of(discriminator)
        self.independent = norm is None
        """Whether no score of D depends on another example."""
        if norm and (self.objective.r1 or self.objective.r2 or self.objective.gradient_penalty):
            raise UsageError(
                f"the discriminator's {norm} is a batch normalisation: its scores depend on the "
                "whole batch, so that a penalty on the gradient of one has no meaning. Use "
                'discriminator_norm="none" or "spectral".'
            )

    # ---- losses

    def discriminator_loss(
        self, real: Array, fake: Array, y: Array | None = None, *, rng: Random | None = None
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """(loss, scores of real (N,), scores of fake (N,), the penalties' part of the loss).

        y are the classes of both. `rng` draws augmentations and the mixing of gradient_penalty.
        """
        o = self.objective
        real, fake = (self.augmented(x, rng) for x in (real, fake))
        real_scores, fake_scores, slopes = self._scores(real, fake, y)
        loss = o.loss.discriminator(real_scores, fake_scores)
        penalties = [
            weight * zero_centred(slope)
            for weight, slope in zip((o.r1, o.r2), slopes, strict=True)
            if slope is not None
        ]
        if o.gradient_penalty:
            mix = _needed(rng).uniform((len(real),), dtype=real.dtype, device=device_of(real))
            slope = gradient_penalty(self.discriminator, real, fake, y, mix=mix)
            penalties.append(o.gradient_penalty * slope)
        for penalty in penalties:
            loss = loss + penalty
        return loss, real_scores, fake_scores, sum(p.item() for p in penalties)

    def _scores(
        self, real: Array, fake: Array, y: Array | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor | None, Tensor | None]]:
        """Scores of both batches, and the slopes (N, ...) at those that are penalised.

        In one pass where no score depends on another example (twice the batch, half the calls),
        except where only one of the two slopes is wanted. Batch normalisation takes two: real and
        generated examples have statistics of their own (as in DCGAN).
        """
        r1, r2 = self.objective.r1 > 0, self.objective.r2 > 0
        if self.independent and r1 == r2:
            both = Tensor(ops.concat([real, fake]), requires_grad=r1)
            n, classes = len(real), None if y is None else ops.concat([y, y])
            scores = self.discriminator(both, classes)
            slope = input_gradient(scores, both) if r1 else None
            slopes = (None, None) if slope is None else (slope[:n], slope[n:])
            return scores[:n], scores[n:], slopes
        leaves = Tensor(real, requires_grad=r1), Tensor(fake, requires_grad=r2)
        real_scores, fake_scores = (self.discriminator(leaf, y) for leaf in leaves)
        real_slope = input_gradient(real_scores, leaves[0]) if r1 else None
        fake_slope = input_gradient(fake_scores, leaves[1]) if r2 else None
        return real_scores, fake_scores, (real_slope, fake_slope)

    def generator_loss(
        self,
        fake: Tensor,
        real: Array | None = None,
        y: Array | None = None,
        *,
        rng: Random | None = None,
    ) -> Tensor:
        """L_G of samples that are still in G's graph; `real` is read by a paired loss alone."""
        with freeze(self.discriminator):
            fake_scores = self.discriminator(self.augmented(fake, rng), y)
            real_scores = None
            if self.objective.loss.paired:
                if real is None:
                    raise UsageError("this loss pairs samples with real examples: give `real`.")
                with no_grad():
                    real_scores = self.discriminator(self.augmented(real, rng), y)
        return self.objective.loss.generator(fake_scores, real_scores)

    def augmented(self, x: Any, rng: Random | None) -> Any:
        return x if self.objective.augment is None else self.objective.augment(x, rng=_needed(rng))

    # ---- steps

    def fakes(self, z: Value, y: Array | None = None) -> Array:
        """Samples to show to D, as in training; neither G's weights nor its buffers take part."""
        with freeze(self.generator), no_grad():
            return plain(self.generator(z, y))

    def discriminator_step(
        self,
        real: Array,
        fake: Array,
        y: Array | None = None,
        *,
        rng: Random | None = None,
        lr_factor: float = 1.0,
    ) -> Metrics:
        """One step of D on a batch of each kind. `accuracy` is the share of pairs in which it gave
        the real example the higher score, whatever the loss makes of a score: 1/2 is blind."""
        loss, real_scores, fake_scores, penalty = self.discriminator_loss(real, fake, y, rng=rng)
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        norm = _grad_norm(self.discriminator_optimizer.parameters)
        self.discriminator_optimizer.step(lr_factor)
        if self.objective.clip is not None:
            clip_weights(self.discriminator, self.objective.clip)
        real_values, fake_values = real_scores.detach().numpy(), fake_scores.detach().numpy()
        return {
            "d_loss": loss.item(),
            "penalty": penalty,
            "d_grad_norm": norm,
            "real_score": float(real_values.mean()),
            "fake_score": float(fake_values.mean()),
            "accuracy": _ranked(real_values, fake_values),
        }

    def generator_step(
        self,
        fake: Tensor,
        real: Array | None = None,
        y: Array | None = None,
        *,
        rng: Random | None = None,
        lr_factor: float = 1.0,
    ) -> Metrics:
        """One step of G, from samples that it has made (with their graph)."""
        loss = self.generator_loss(fake, real, y, rng=rng)
        self.generator_optimizer.zero_grad()
        loss.backward()
        norm = _grad_norm(self.generator_optimizer.parameters)
        self.generator_optimizer.step(lr_factor)
        if self.ema is not None:
            self.ema.update()
        return {"g_loss": loss.item(), "g_grad_norm": norm}

    def step(
        self,
        real: Array,
        z: Value,
        y: Array | None = None,
        *,
        rng: Random | None = None,
        lr_factor: float = 1.0,
    ) -> Metrics:
        """One step of each on real (N, *data_shape) and z (N, latent), y their classes (N,)."""
        require_examples(real)
        if len(z) != len(real):
            raise UsageError(f"{len(real)} real examples and {len(z)} latent vectors: as many.")
        fake = self.generator(z, y)
        told = self.discriminator_step(real, plain(fake), y, rng=rng, lr_factor=lr_factor)
        return told | self.generator_step(fake, real, y, rng=rng, lr_factor=lr_factor)


def _grad_norm(parameters: Sequence[Tensor]) -> float:
    """Of all gradients as one vector."""
    total = 0.0
    for p in parameters:
        if p.grad is not None:
            flat = ops.reshape(p.grad.data, (-1,))
            total += float(ops.matmul(flat, flat))
    return float(total**0.5)


def _ranked(real: Any, fake: Any) -> float:
    """The share of pairs with real > fake; equal scores count half."""
    return float((real > fake).mean() + (real >= fake).mean()) / 2


def _needed(rng: Random | None) -> Random:
    if rng is None:
        raise UsageError("this objective draws random numbers: give the generator, rng=...")
    return rng
