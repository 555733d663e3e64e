"""The GAN recipe: two networks that learn from each other, on points or images.

`ring` is the eight Gaussians on which plain GANs drop modes; `grid` the 25 of them with R3GAN's
loss; `digits` a conditional perceptron on the embedded digits; `mnist` a conditional DCGAN.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from tinygen import optim
from tinygen.checkpoints import State
from tinygen.errors import InputError
from tinygen.evaluation.energy import energy_distance, gaussian_fit
from tinygen.models.gan import (
    LOSSES,
    CollapseMonitor,
    DiffAugment,
    Discriminator,
    Duel,
    GANConfig,
    Generator,
    Objective,
)
from tinygen.random import Generator as Random
from tinygen.recipes import Family
from tinygen.recipes.assessment import assess_points, last
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.examples import (
    ExampleSettings,
    class_ids,
    in_unit_range,
    read_examples,
    starting_noise,
)
from tinygen.tensor import as_numpy
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings

Array = NDArray[Any]

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSettings(Settings):
    architecture: Literal["mlp", "dcgan"] = setting("mlp", "mlp, or dcgan (images)")
    latent: int = setting(2, "numbers that a sample is made from", least=1)
    hidden: tuple[int, ...] = setting((128, 128, 128), "widths of the mlps' layers", least=1)
    base: int = setting(32, "channels of the dcgan next to the image", least=1)
    conditioning: Literal["embedding", "batch_norm"] = setting(
        "embedding", "how the generator sees a class: beside z, or batch_norm (dcgan)"
    )
    spectral: bool = setting(False, "hold the discriminator's layers at spectral norm 1")
    conditional: bool = setting(True, "tell both networks each image's class, where it has one")
    ema: float = setting(0.99, "decay of the average of the generator", least=0.0, below=1.0)


@dataclass(frozen=True)
class ObjectiveSettings(Settings):
    loss: Literal[
        "non-saturating", "minimax", "least-squares", "hinge", "wasserstein", "relativistic"
    ] = setting("relativistic", "non-saturating, minimax, least-squares, hinge, wasserstein, ...")
    gradient_penalty: float = setting(0.0, "weight of WGAN-GP's penalty", least=0.0)
    r1: float = setting(0.01, "weight of the squared gradient at real examples", least=0.0)
    r2: float = setting(0.01, "weight of the squared gradient at samples", least=0.0)
    penalty_end: float = setting(
        0.1, "part of the penalties that is left after four fifths of the run", above=0.0
    )
    augment: bool = setting(False, "show both kinds to the discriminator augmented (images)")
    d_steps: int = setting(1, "steps of the discriminator to one of the generator", least=1)


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    lr: float = setting(2e-3, "learning rate of the generator", above=0.0)
    d_lr: float = setting(2e-3, "learning rate of the discriminator", above=0.0)
    betas: tuple[float, float] = setting(
        (0.0, 0.99), "decay of Adam's two running means", least=0.0, below=1.0
    )
    min_factor: float = setting(0.0, "the last learning rate / lr", least=0.0, most=1.0)


@dataclass(frozen=True)
class GANRecipeConfig(RecipeConfig):
    data: ExampleSettings = ExampleSettings(source="ring")
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = field(
        default=TrainingSettings(steps=3000, batch=128, eval_every=200)
    )


@dataclass(frozen=True)
class Sampling(Settings):
    label: int = setting(-1, "the class to draw, of a model with classes; -1 is each in turn")


PRESETS = {
    "ring": GANRecipeConfig(),
    "grid": GANRecipeConfig(
        data=ExampleSettings(source="grid"),
        objective=ObjectiveSettings(r1=0.1, r2=0.1, penalty_end=0.02),
        training=TrainingSettings(steps=5000, batch=256),
    ),
    "digits": GANRecipeConfig(
        data=ExampleSettings(source="digits"),
        model=ModelSettings(latent=32, hidden=(256, 256)),
        objective=ObjectiveSettings(r1=1.0, r2=1.0, penalty_end=1.0),
        optimizer=OptimizerSettings(lr=1e-3, d_lr=1e-3),
        training=TrainingSettings(steps=3000, batch=128),
    ),
    "mnist": GANRecipeConfig(
        data=ExampleSettings(source="mnist"),
        model=ModelSettings(
            architecture="dcgan", latent=64, base=32, conditioning="batch_norm", ema=0.99
        ),
        objective=ObjectiveSettings(loss="non-saturating", r1=0.2, r2=0.0, penalty_end=1.0),
        optimizer=OptimizerSettings(lr=5e-4, d_lr=5e-4),
        training=TrainingSettings(
            steps=3000, batch=64, eval_every=500, save_every=1000, log_every=20
        ),
    ),
}

INSPECTED = 512
"""Samples of an evaluation in which the monitor looks for collapse."""

# ---- model ---------------------------------------------------------------------------------------


class Painter:
    """A generator: what is left of a recipe once it is trained."""

    def __init__(
        self,
        settings: ModelSettings,
        shape: tuple[int, ...],
        classes: int | None,
        rng: Random,
        scale: float,
        device: str,
    ) -> None:
        self.scale, self.device = scale, device
        self.config = GANConfig(
            data_shape=shape,
            latent=settings.latent,
            architecture=settings.architecture,
            hidden=settings.hidden,
            base=settings.base,
            classes=classes,
            conditioning=settings.conditioning if classes else "embedding",
            discriminator_norm="spectral" if settings.spectral else "none",
        )
        self.generator = Generator(self.config, rng=rng).to(device)

    def paint(self, n: int, rng: Random, options: Sampling) -> Iterator[Array]:
        """The n samples, in one step."""
        z = starting_noise(n, (self.config.latent,), rng)
        yield self.samples(z, class_ids(self.config.classes, n, options.label))

    def samples(self, z: Array, y: Array | None) -> Array:
        """Of latent vectors (n, latent): images in [0, 1], or points."""
        with self.generator.inference():
            x: Array = as_numpy(self.generator(*placed((z, y), self.device)))
        return in_unit_range(x) if self.config.is_image else self.scale * x


# ---- the recipe ----------------------------------------------------------------------------------


class GANRecipe:
    """A generator and a discriminator in turn; the generator that samples is an average over the
    steps. There is no likelihood: the energy distance to held-out examples judges."""

    criterion = "energy_distance"

    def __init__(self, config: GANRecipeConfig) -> None:
        """Read the data and start at step 0. Raises InputError, UsageError, UnavailableError."""
        self.config, self.device = config, training_device(config.training)
        rng = Random(config.training.seed)
        self.data = read_examples(config.data)
        classes = len(self.data.classes) if config.model.conditional else 0
        shape = self.data.data_shape
        self.painter = Painter(
            config.model,
            shape,
            classes or None,
            rng.spawn("generator"),
            self.data.scale,
            self.device,
        )
        discriminator = Discriminator(self.painter.config, rng=rng.spawn("discriminator"))
        discriminator.to(self.device)
        self.batches = self.data.batches(config.training.batch, rng.spawn("data"))
        self.draws = rng.spawn("draws")
        self.ema = optim.EMA(self.painter.generator, config.model.ema)
        learn = config.optimizer
        self.steps_done = 0
        self.duel = Duel(
            self.painter.generator,
            discriminator,
            optim.Adam(self.painter.generator.parameters(), lr=learn.lr, betas=learn.betas),
            optim.Adam(discriminator.parameters(), lr=learn.d_lr, betas=learn.betas),
            self._objective(),
            ema=self.ema,
        )
        self.schedule = optim.Cosine(config.training.steps, min_factor=learn.min_factor)
        self.monitor = CollapseMonitor()

    def _objective(self) -> Objective:
        """The loss, and penalties that shrink: as the samples gather on the modes, the
        discriminator has to be steep over a mode's width."""
        o = self.config.objective
        part = min(1.0, self.steps_done / (0.8 * self.config.training.steps))
        left = o.penalty_end**part
        return Objective(
            LOSSES[o.loss],
            gradient_penalty=left * o.gradient_penalty,
            r1=left * o.r1,
            r2=left * o.r2,
            augment=DiffAugment() if o.augment else None,
        )

    def next_batch(self) -> list[tuple[Array, Array | None]]:
        """A batch for each step of the discriminator."""
        drawn = [next(self.batches) for _ in range(self.config.objective.d_steps)]
        return [placed((x, y if self._told else None), self.device) for x, y in drawn]

    def step(self, batch: list[tuple[Array, Array | None]]) -> Metrics:
        """Steps of the discriminator, the last together with one of the generator."""
        factor = self.schedule(self.steps_done)
        self.duel.objective = self._objective()
        self.ema.decay = optim.warm_decay(self.config.model.ema, self.steps_done)
        *before, (real, y) = batch
        for x, labels in before:
            z = self.draws.normal((len(x), self.painter.config.latent), device=self.device)
            fakes = self.duel.fakes(z, labels)
            self.duel.discriminator_step(x, fakes, labels, rng=self.draws, lr_factor=factor)
        z = self.draws.normal((len(real), self.painter.config.latent), device=self.device)
        told = self.duel.step(real, z, y, rng=self.draws, lr_factor=factor)
        self.steps_done += 1
        self.monitor.observe(told)
        return {"loss": told["d_loss"], **told, "lr": self.config.optimizer.lr * factor}

    def evaluate(self) -> Metrics:
        """`energy_distance` of samples to the held-out examples; of points with known modes also
        `modes` found and the part `on_mode`. By the averaged generator and fixed draws."""
        real = self.data.held_out
        z = Random("evaluation").normal((len(real), self.painter.config.latent))
        with self.ema.swap():
            fake = self.painter.samples(z, self.data.held_out_labels if self._told else None)
        real = in_unit_range(real) if self.painter.config.is_image else self.data.scale * real
        self.monitor.inspect(fake[:INSPECTED], real[:INSPECTED])
        if self.painter.config.is_image:
            return {"energy_distance": energy_distance(real, fake)}
        return assess_points(fake, self.config.data.source)

    def findings(self) -> list[str]:
        """What the monitor sees in the last steps and the last evaluation's samples."""
        return [str(seen) for seen in self.monitor.findings() if seen.name != "healthy"]

    @property
    def _told(self) -> bool:
        return self.painter.config.classes is not None

    def assess(self, n: int, sampling: Sampling) -> Metrics:
        """n samples of the averaged generator, judged; classes in turn where there are any."""
        with self.ema.swap():
            samples = last(self.painter.paint(n, Random("assessment"), sampling))
        return self.data.assess(samples, told=self._told)

    def baseline(self) -> tuple[str, float]:
        """Normal numbers with the mean and covariance of the held-out examples."""
        real = self.data.held_out
        real = in_unit_range(real) if self.painter.config.is_image else self.data.scale * real
        return "a Gaussian fit", energy_distance(real, gaussian_fit(real, len(real), Random(0)))

    def state_dict(self) -> State:
        return {
            "model": self.painter.generator.state_dict(),
            "discriminator": self.duel.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.duel.generator_optimizer.state_dict(),
            "d_optimizer": self.duel.discriminator_optimizer.state_dict(),
            "monitor": self.monitor.state_dict(),
            "steps_done": self.steps_done,
            "batches": self.batches.state_dict(),
            "draws": self.draws.state_dict(),
            "data": self.data.record(),
            "data_shape": list(self.data.data_shape),
            "scale": self.data.scale,
            "classes": self.painter.config.classes,
        }

    def load_state_dict(self, state: State) -> None:
        if state["data"] != self.data.record():
            raise InputError(
                f"the data {self.config.data.source!r} are not what the run was trained on; "
                "restore them"
            )
        self.painter.generator.load_state_dict(state["model"])
        self.duel.discriminator.load_state_dict(state["discriminator"])
        self.ema.load_state_dict(state["ema"])
        self.duel.generator_optimizer.load_state_dict(state["optimizer"])
        self.duel.discriminator_optimizer.load_state_dict(state["d_optimizer"])
        self.monitor.load_state_dict(state["monitor"])
        self.steps_done = state["steps_done"]
        self.batches.load_state_dict(state["batches"])
        self.draws.load_state_dict(state["draws"])

    def describe(self) -> dict[str, Any]:
        count = self.painter.generator.n_parameters + self.duel.discriminator.n_parameters
        return {"data": self.data.record(), "parameters": count}


def restore(config: GANRecipeConfig, state: State) -> Painter:
    """The painter of a checkpoint, with the averaged generator; needs no data."""
    shape = tuple(state["data_shape"])
    device = training_device(config.training)
    painter = Painter(config.model, shape, state["classes"], Random(0), state["scale"], device)
    painter.generator.load_state_dict(state["ema"])
    return painter


FAMILY = Family("gan", PRESETS, GANRecipe, restore, Sampling(), output="arrays")
