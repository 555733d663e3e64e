"""The VQ-VAE recipe: an auto-encoder with discrete codes, then a prior over them.

The first part of the steps trains the auto-encoder (its codebook follows a running mean, and dead
codes start afresh), the rest a GPT over the codes of the finished encoder (van den Oord et al.
2017, section 3.3). Until the prior begins, the codes count as uniform.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinygen.checkpoints import State
from tinygen.errors import UsageError
from tinygen.evaluation import bits_per_dimension
from tinygen.models.vae import (
    FSQ,
    LIKELIHOODS,
    VQVAE,
    CodePrior,
    VectorQuantizer,
    VQVAEConfig,
    usage,
)
from tinygen.random import Generator
from tinygen.recipes import Family
from tinygen.recipes.assessment import assess_images, last
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.examples import ImageSettings, class_ids
from tinygen.recipes.optimisation import Learner, OptimizerSettings
from tinygen.recipes.pixels import PixelExamples, PixelSettings
from tinygen.tensor import as_numpy
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings

Array = NDArray[Any]

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSettings(PixelSettings):
    channels: tuple[int, ...] = setting(
        (32, 64), "of the convolutions that halve an image", least=1
    )
    residual: int = setting(2, "residual blocks after them", least=0)
    quantiser: Literal["vq", "fsq"] = setting("vq", "vq (a learned codebook), or fsq (a grid)")
    codes: int = setting(128, "vectors in the codebook of vq", least=2, most=2**20)
    code_width: int = setting(16, "numbers of such a vector", least=1)
    levels_of_code: tuple[int, ...] = setting((5, 5, 5), "levels of fsq's components", least=2)
    decay: float = setting(0.98, "of the codebook's running mean", least=0.0, below=1.0)
    commitment: float = setting(0.25, "weight that holds the encoder near its codes", least=0.0)
    reset_below: float = setting(0.1, "a code that is used less starts afresh", least=0.0)
    conditional: bool = setting(False, "tell the prior each image's class")


@dataclass(frozen=True)
class PriorSettings(Settings):
    part: float = setting(0.33, "of the steps that train the prior, the last", above=0.0, below=1.0)
    n_layer: int = setting(2, "transformer blocks", least=1)
    n_head: int = setting(4, "attention heads, a divisor of the width", least=1)
    width: int = setting(64, "features of a code", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.n_head:
            raise UsageError(f"n_head must divide the width {self.width}, not {self.n_head}")


@dataclass(frozen=True)
class VQVAERecipeConfig(RecipeConfig):
    data: ImageSettings = ImageSettings()
    model: ModelSettings = ModelSettings()
    prior: PriorSettings = PriorSettings()
    optimizer: OptimizerSettings = OptimizerSettings(
        lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01, min_factor=0.02, max_norm=100.0
    )
    training: TrainingSettings = field(
        default=TrainingSettings(steps=1200, batch=64, eval_every=100)
    )


@dataclass(frozen=True)
class Sampling(Settings):
    mean: bool = setting(True, "show the mean of p(x | codes) instead of a draw")
    temperature: float = setting(1.0, "of the prior; 1 is its own distribution", least=0.0)
    label: int = setting(-1, "the class to draw, of a model with classes; -1 is each in turn")


PRESETS = {
    "digits": VQVAERecipeConfig(),
    "fsq": VQVAERecipeConfig(model=ModelSettings(quantiser="fsq")),
    "mnist": VQVAERecipeConfig(
        data=ImageSettings(source="mnist"),
        model=ModelSettings(likelihood="bernoulli", levels=2),
        prior=PriorSettings(part=0.5, n_layer=4, width=128),
        training=TrainingSettings(
            steps=6000, batch=64, eval_every=500, save_every=500, log_every=50
        ),
    ),
}

# ---- the model -----------------------------------------------------------------------------------


class Painter:
    """An auto-encoder and its prior: what is left of a recipe once it is trained."""

    def __init__(
        self, config: VQVAERecipeConfig, shape: tuple[int, ...], classes: int | None, rng: Generator
    ) -> None:
        m, p = config.model, config.prior
        self.settings, self.classes, self.device = m, classes, training_device(config.training)
        quantiser: Any = FSQ(m.levels_of_code)
        if m.quantiser == "vq":
            quantiser = VectorQuantizer(
                m.codes,
                m.code_width,
                decay=m.decay,
                commitment=m.commitment,
                reset_below=m.reset_below,
                rng=rng,
            )
        likelihood = LIKELIHOODS[m.likelihood](SimpleNamespace(levels=m.levels, sigma="shared"))
        height, width, channels = shape
        sizes = VQVAEConfig((height, width, channels), m.channels, m.residual)
        self.model = VQVAE(sizes, quantiser, likelihood, rng=rng).to(self.device)
        factor = 2 ** len(m.channels)
        self.prior = CodePrior(
            quantiser.codes,
            (height // factor, width // factor),
            n_layer=p.n_layer,
            n_head=p.n_head,
            width=p.width,
            classes=classes,
            rng=rng.spawn("prior"),
        ).to(self.device)

    def paint(self, n: int, rng: Generator, options: Sampling) -> Iterator[Array]:
        """The n samples, in one step: codes from the prior, pixels from the decoder."""
        y = class_ids(self.classes, n, options.label)
        length = math.prod(self.prior.grid)
        rows = [rng.spawn(f"sample {i}").uniform((length,), dtype="float64") for i in range(n)]
        codes = self.prior.sample(np.stack(rows), y, temperature=options.temperature)
        draws = None if options.mean else rng.spawn("pixels")
        x = self.model.decode(placed(codes, self.device), rng=draws)
        yield self.settings.picture(as_numpy(x))


# ---- the recipe ----------------------------------------------------------------------------------


class VQVAERecipe:
    """Reconstruction and commitment first, then the nats of the codes."""

    criterion = "val_loss"

    def __init__(self, config: VQVAERecipeConfig) -> None:
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
        self.painter = Painter(config, shape, self.data.classes, rng.spawn("model"))
        self.model, self.prior = self.painter.model, self.painter.prior
        steps = config.training.steps
        self.prior_begins = steps - int(config.prior.part * steps)
        self.learner = Learner(self.model, config.optimizer, self.prior_begins)
        self.prior_learner = Learner(
            self.prior, config.optimizer, max(1, steps - self.prior_begins)
        )
        self.steps_done = 0

    def next_batch(self) -> tuple[Array, Array | None]:
        batch: tuple[Array, Array | None] = placed(self.data.next_batch(), self.device)
        return batch

    def step(self, batch: tuple[Array, Array | None]) -> Metrics:
        """One step of the auto-encoder or, later, of the prior; `loss` in nats an image."""
        x, y = batch
        if self.steps_done < self.prior_begins:
            recon, quantised = self.model(x, rng=self.data.draws)
            total = recon.sum() if quantised.loss is None else recon.sum() + quantised.loss
            metrics = self.learner.step(total / len(x), self.steps_done)
            metrics["perplexity"], metrics["codes_in_use"] = usage(
                quantised.indices, self.prior.codes
            )
        else:
            loss = self.prior.loss(self.model.encode(x), y)
            metrics = self.prior_learner.step(loss, self.steps_done - self.prior_begins)
        self.steps_done += 1
        return metrics

    def evaluate(self) -> Metrics:
        """`val_loss`: -ELBO of the held-out images, nats an image: `reconstruction_nats` -log p(x |
        codes) and `code_nats` -log p(codes). And the codes' `perplexity` and part `in use`."""
        recon, nats, indices = [], [], []
        with self.model.inference():
            for part in self.data.held_out_parts(256):
                x, y = placed(part, self.device)
                losses, quantised = self.model(x)
                recon.append(as_numpy(losses))
                indices.append(as_numpy(quantised.indices))
                nats.append(self._code_nats(quantised.indices, y))
        perplexity, used = usage(np.concatenate(indices), self.prior.codes)
        pixels, codes = (float(np.concatenate(x).mean(dtype=np.float64)) for x in (recon, nats))
        return {
            "val_loss": pixels + codes,
            "reconstruction_nats": pixels,
            "code_nats": codes,
            "perplexity": perplexity,
            "codes_in_use": used,
        }

    def _code_nats(self, indices: Array, y: Array | None) -> Array:
        """-log p of the codes (N, h, w) of held-out images, (N,)."""
        if self.steps_done <= self.prior_begins:
            return np.full(len(indices), math.prod(self.prior.grid) * math.log(self.prior.codes))
        return self.prior.nats(indices, y)

    def assess(self, n: int, sampling: Sampling) -> Metrics:
        """Squared error of reconstructions, pixels in [0, 1]; bits of an image under the prior and
        of a pixel in all; and n samples judged."""
        found = self.evaluate()
        pixels = self.config.model.picture(self.data.held_out)
        held_out = placed(self.data.held_out, self.device)
        again = self.config.model.picture(as_numpy(self.model.reconstruct(held_out)))
        samples = last(self.painter.paint(n, Generator("assessment"), sampling))
        told = self.painter.classes is not None
        judged = assess_images(
            samples, self.data.train, pixels, self.data.held_out_labels, told=told
        )
        return {
            "reconstruction_error": float(((again - pixels) ** 2).mean()),
            "code_bits": found["code_nats"] / math.log(2),
            "bits_per_dimension": bits_per_dimension(
                found["val_loss"], math.prod(self.data.train.shape)
            ),
            **judged,
        }

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        return self.data.baseline()

    def state_dict(self) -> State:
        return {
            "model": self.model.state_dict(),
            "prior": self.prior.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "prior_optimizer": self.prior_learner.optimizer.state_dict(),
            "steps_done": self.steps_done,
            "prior_begins": self.prior_begins,
            **self.data.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """A run that gets more steps gives them to the prior: the codes stay what they are."""
        self.data.load_state_dict(state)
        self.model.load_state_dict(state["model"])
        self.prior.load_state_dict(state["prior"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.prior_learner.optimizer.load_state_dict(state["prior_optimizer"])
        self.steps_done = state["steps_done"]
        self.prior_begins = state["prior_begins"]
        self.prior_learner.plan(max(1, self.config.training.steps - self.prior_begins))

    def describe(self) -> dict[str, Any]:
        return {
            "images": self.data.train.record(),
            "held_out_images": len(self.data.held_out),
            "parameters": self.model.n_parameters + self.prior.n_parameters,
        }


def restore(config: VQVAERecipeConfig, state: State) -> Painter:
    """The painter of a checkpoint; needs no data."""
    painter = Painter(config, tuple(state["data_shape"]), state["classes"], Generator(0))
    painter.model.load_state_dict(state["model"])
    painter.prior.load_state_dict(state["prior"])
    return painter


FAMILY = Family(
    "vqvae",
    PRESETS,
    VQVAERecipe,
    restore,
    Sampling(),
    output="arrays",
    assessed=Sampling(mean=False),
)
