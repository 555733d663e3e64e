"""The VAE recipe: images, a likelihood that fits their pixels, AdamW on the ELBO.

`digits` is a categorical VAE of the embedded 8 x 8 digits, whose pixels have 17 levels; `mnist` has
50 latents and dynamically binarised pixels, the setting of the published 86 ... 90 nats (Burda et
al. 2016, table 1).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinygen.checkpoints import State
from tinygen.evaluation import bits_per_dimension
from tinygen.models.vae import VAE, VAEConfig, kl_warmup, log_likelihood
from tinygen.random import Generator
from tinygen.recipes import Family
from tinygen.recipes.assessment import assess_images, last
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.examples import ImageSettings, class_ids, starting_noise
from tinygen.recipes.optimisation import Learner, OptimizerSettings
from tinygen.recipes.pixels import PixelExamples, PixelSettings
from tinygen.tensor import as_numpy
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings

Array = NDArray[Any]

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSettings(PixelSettings):
    latent: int = setting(12, "numbers that an image is squeezed into", least=1)
    hidden: tuple[int, ...] = setting((256,), "widths of the encoder's layers", least=1)
    activation: Literal["relu", "gelu", "silu", "tanh"] = setting(
        "relu", "relu, gelu, silu or tanh"
    )
    conditional: bool = setting(False, "tell the model each image's class")


@dataclass(frozen=True)
class ObjectiveSettings(Settings):
    beta: float = setting(1.0, "weight of the KL divergence", least=0.0)
    warmup: int = setting(0, "steps over which beta rises from 0", least=0)
    free_bits: float = setting(0.0, "nats that each latent has for nothing", least=0.0)
    samples: int = setting(1, "1 is the ELBO, more the importance-weighted bound", least=1)


@dataclass(frozen=True)
class VAERecipeConfig(RecipeConfig):
    data: ImageSettings = ImageSettings()
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimizer: OptimizerSettings = OptimizerSettings(
        lr=2e-3, betas=(0.9, 0.999), weight_decay=0.01, min_factor=0.02, max_norm=100.0
    )
    training: TrainingSettings = field(
        default=TrainingSettings(steps=1000, batch=64, eval_every=100)
    )


@dataclass(frozen=True)
class Sampling(Settings):
    what: Literal["samples", "walk"] = setting(
        "samples", "samples, or a walk between samples through the latent space"
    )
    mean: bool = setting(True, "show the mean of p(x | z) instead of a draw")
    label: int = setting(-1, "the class to draw, of a model with classes; -1 is each in turn")


PRESETS = {
    "digits": VAERecipeConfig(),
    "mnist": VAERecipeConfig(
        data=ImageSettings(source="mnist"),
        model=ModelSettings(latent=50, hidden=(512, 512), likelihood="bernoulli", levels=2),
        objective=ObjectiveSettings(warmup=2000),
        training=TrainingSettings(
            steps=40000, batch=128, eval_every=2000, save_every=2000, log_every=100
        ),
    ),
}

# ---- pixels and model ----------------------------------------------------------------------------


class Painter:
    """A VAE and what its numbers mean: what is left of a recipe once it is trained."""

    def __init__(
        self,
        settings: ModelSettings,
        shape: tuple[int, ...],
        classes: int | None,
        rng: Generator,
        device: str,
    ) -> None:
        self.settings = settings
        self.classes, self.device = classes, device
        self.model = VAE(
            VAEConfig(
                data_shape=shape,
                latent=settings.latent,
                hidden=settings.hidden,
                activation=settings.activation,
                likelihood=settings.likelihood,
                levels=settings.levels,
                classes=classes,
            ),
            rng=rng,
        ).to(device)

    def paint(self, n: int, rng: Generator, options: Sampling) -> Iterator[Array]:
        """n samples; of a walk, the steps from each to the next and back to the first."""
        z = starting_noise(n, (self.settings.latent,), rng)
        y = class_ids(self.classes, n, options.label)
        if options.what == "samples":
            yield self.decoded(z, y, rng, options.mean)
            return
        following = np.roll(z, -1, axis=0)
        for part in np.linspace(0, 1, 16, endpoint=False):
            yield self.decoded(slerp(z, following, float(part)), y, rng, mean=True)
        yield self.decoded(z, y, rng, mean=True)

    def decoded(self, z: Array, y: Array | None, rng: Generator, mean: bool) -> Array:
        """Pictures (n, H, W, C) of latents (n, latent)."""
        z, y = placed((z, y), self.device)
        x = self.model.sample(len(z), y, noise=z, rng=rng.spawn("pixels"), mean=mean)
        return self.settings.picture(as_numpy(x))


def slerp(a: Array, b: Array, part: float) -> Array:
    """Between normal vectors (n, D), along the arc: what lies on the way is as long as they are
    (Shoemake 1985; White 2016, "Sampling generative networks")."""
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    angle = np.arccos(np.clip(cosine, -1, 1))[:, None]
    sine = np.maximum(np.sin(angle), 1e-6)
    weights = np.sin((1 - part) * angle) / sine, np.sin(part * angle) / sine
    return np.asarray(weights[0] * a + weights[1] * b, a.dtype)


# ---- the recipe ----------------------------------------------------------------------------------


class VAERecipe:
    """The ELBO of batches of images, binarised anew each time they are seen."""

    criterion = "val_loss"

    def __init__(self, config: VAERecipeConfig) -> None:
        """Read the data and start at step 0. Raises InputError, UsageError, UnavailableError."""
        self.config, self.device = config, training_device(config.training)
        rng = Generator(config.training.seed)
        self.data = PixelExamples(
            config.data,
            config.model,
            conditional=config.model.conditional,
            batch=config.training.batch,
            rng=rng,
        )
        shape = self.data.train.shape
        classes, rng = self.data.classes, rng.spawn("model")
        self.painter = Painter(config.model, shape, classes, rng, self.device)
        self.model = self.painter.model
        self.learner = Learner(self.model, config.optimizer, config.training.steps)
        self.steps_done = 0

    def next_batch(self) -> tuple[Array, Array | None]:
        batch: tuple[Array, Array | None] = placed(self.data.next_batch(), self.device)
        return batch

    def step(self, batch: tuple[Array, Array | None]) -> Metrics:
        """One step down the bound, in nats an image."""
        x, y = batch
        o = self.config.objective
        if o.samples > 1:
            loss = -self.model.iwae(x, o.samples, y, rng=self.data.draws).mean()
        else:
            beta = kl_warmup(self.steps_done, o.warmup, o.beta)
            loss = self.model.loss(x, y, rng=self.data.draws, beta=beta, free_bits=o.free_bits)
        metrics = self.learner.step(loss, self.steps_done)
        self.steps_done += 1
        return metrics

    def evaluate(self) -> Metrics:
        """`val_loss`: -ELBO of the held-out images, nats an image, by fixed draws."""
        rng, total = Generator("evaluation"), 0.0
        with self.model.inference():
            for part in self.data.held_out_parts(256):
                x, y = placed(part, self.device)
                total -= float(self.model.elbo(x, y, rng=rng).data.sum())
        return {"val_loss": total / len(self.data.held_out)}

    def assess(self, n: int, sampling: Sampling) -> Metrics:
        """-log p(x) by 200 importance samples, nats and bits; and n samples judged."""
        draws = Generator("importance samples")
        x, y = placed((self.data.held_out, self.data.held_out_labels), self.device)
        found = log_likelihood(self.model, x, y, samples=200, rng=draws)
        samples = last(self.painter.paint(n, Generator("assessment"), sampling))
        pixels = self.config.model.picture(self.data.held_out)
        told = self.painter.classes is not None
        judged = assess_images(
            samples, self.data.train, pixels, self.data.held_out_labels, told=told
        )
        dimensions = self.model.config.dimensions
        return {
            "nll": -found.mean,
            "nll_standard_error": found.standard_error,
            "bits_per_dimension": bits_per_dimension(-found.mean, dimensions),
            **judged,
        }

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        return self.data.baseline()

    def state_dict(self) -> State:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "steps_done": self.steps_done,
            **self.data.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        self.data.load_state_dict(state)
        self.model.load_state_dict(state["model"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = state["steps_done"]

    def describe(self) -> dict[str, Any]:
        return {
            "images": self.data.train.record(),
            "held_out_images": len(self.data.held_out),
            "parameters": self.model.n_parameters,
        }


def restore(config: VAERecipeConfig, state: State) -> Painter:
    """The painter of a checkpoint; needs no data."""
    shape = tuple(state["data_shape"])
    device = training_device(config.training)
    painter = Painter(config.model, shape, state["classes"], Generator(0), device)
    painter.model.load_state_dict(state["model"])
    return painter


FAMILY = Family(
    "vae", PRESETS, VAERecipe, restore, Sampling(), output="arrays", assessed=Sampling(mean=False)
)
