"""The diffusion recipe: images or points, a denoiser, and a path from noise to them.

`flow` (rectified flow), `edm` and `ddpm` differ in what the network predicts and how the noise is
laid out; all are sampled by the same samplers, through denoise(x, sigma) -> x0.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinygen import nn, optim
from tinygen.checkpoints import State
from tinygen.errors import InputError, UsageError
from tinygen.models.diffusion import (
    DDPM,
    EDM,
    DiT,
    DiTConfig,
    Flow,
    MLPConfig,
    MLPDenoiser,
    Prediction,
    Schedule,
    UNet,
    UNetConfig,
    drop_classes,
    guide,
    karras_sigmas,
    sample_ddim,
    sample_dpmpp_2m,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
)
from tinygen.random import Generator
from tinygen.recipes import Family
from tinygen.recipes.assessment import last
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.examples import (
    ExampleSettings,
    class_ids,
    in_unit_range,
    read_examples,
    starting_noise,
)
from tinygen.recipes.optimisation import Learner, OptimizerSettings
from tinygen.tensor import as_numpy
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings

Array = NDArray[Any]

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSettings(Settings):
    network: Literal["mlp", "unet", "dit"] = setting("mlp", "mlp, unet (images) or dit (images)")
    method: Literal["flow", "edm", "ddpm"] = setting("flow", "flow, edm or ddpm")
    width: int = setting(256, "features of the mlp and dit, channels of the unet", least=8)
    depth: int = setting(3, "blocks of the mlp and dit, blocks of a level of the unet", least=1)
    multipliers: tuple[int, ...] = setting((1, 2), "of the unet's channels, a level each", least=1)
    patch: int = setting(2, "pixels of a side that unet and dit take as one place", least=1)
    conditional: bool = setting(True, "tell the network each image's class, where it has one")
    class_dropout: float = setting(
        0.1, "how often the class is left out, for guidance", least=0.0, most=1.0
    )
    ema: float = setting(0.995, "decay of the average of the weights", least=0.0, below=1.0)


@dataclass(frozen=True)
class DiffusionRecipeConfig(RecipeConfig):
    data: ExampleSettings = ExampleSettings()
    model: ModelSettings = ModelSettings()
    optimizer: OptimizerSettings = OptimizerSettings(
        lr=2e-3, betas=(0.9, 0.999), weight_decay=0.01, min_factor=0.05
    )
    training: TrainingSettings = field(
        default=TrainingSettings(steps=3000, batch=128, eval_every=200)
    )


@dataclass(frozen=True)
class Sampling(Settings):
    sampler: Literal["heun", "euler", "ancestral", "dpmpp_2m", "ddim"] = setting(
        "heun", "heun, euler, ancestral, dpmpp_2m or ddim"
    )
    steps: int = setting(20, "of the sampler", least=1)
    guidance: float = setting(1.0, "1 is the class, 0 none, above 1 exaggerates it", least=0.0)
    interval: tuple[float, float] = setting(
        (0.0, 1e9), "noise levels between which guidance acts", least=0.0
    )
    label: int = setting(-1, "the class to draw, of a model with classes; -1 is each in turn")


PRESETS = {
    "digits": DiffusionRecipeConfig(),
    "points": DiffusionRecipeConfig(
        data=ExampleSettings(source="spirals"),
        model=ModelSettings(width=128),
        training=TrainingSettings(steps=4000, batch=512),
    ),
    "mnist": DiffusionRecipeConfig(
        data=ExampleSettings(source="mnist"),
        model=ModelSettings(network="unet", width=64, depth=1, multipliers=(1, 2), ema=0.998),
        optimizer=OptimizerSettings(lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01, min_factor=0.02),
        training=TrainingSettings(
            steps=4400, batch=32, eval_every=1100, save_every=1100, log_every=20
        ),
    ),
}

AT_ONCE = 200
"""Samples that an assessment draws together: more would not fit a processor's caches."""

_LEVELS = {"flow": (1e-2, 80.0), "edm": (2e-3, 80.0), "ddpm": (1e-2, 150.0)}
"""The least and the greatest noise level that a sampler visits before 0."""

# ---- model ---------------------------------------------------------------------------------------


class Painter:
    """A denoiser and its samplers: what is left of a recipe once it is trained."""

    def __init__(
        self,
        settings: ModelSettings,
        shape: tuple[int, ...],
        classes: int | None,
        rng: Generator,
        scale: float,
        device: str,
    ) -> None:
        self.settings, self.shape, self.classes, self.scale = settings, shape, classes, scale
        self.device = device
        network = _network(settings, shape, classes, rng)
        methods: dict[str, Any] = {"flow": Flow, "edm": EDM, "ddpm": _ddpm}
        self.model = methods[settings.method](network).to(device)

    def paint(self, n: int, rng: Generator, options: Sampling) -> Iterator[Array]:
        """The samples on their way out of the noise, at each step brought to unit size."""
        if options.sampler == "ddim" and self.settings.method != "ddpm":
            raise UsageError('sampler "ddim" is for method "ddpm"; take heun, euler or dpmpp_2m')
        start = starting_noise(n, self.shape, rng), class_ids(self.classes, n, options.label)
        x, y = placed(start, self.device)
        with self.model.inference():
            for step in self._steps(x, y, rng.spawn("steps"), options):
                shown = as_numpy(step.x) * np.float32(1 / math.hypot(1.0, step.sigma))
                yield in_unit_range(shown) if len(self.shape) == 3 else self.scale * shown

    def _steps(self, x: Array, y: Array | None, rng: Generator, options: Sampling) -> Iterator[Any]:
        at_times = options.sampler == "ddim"
        denoise = self.model.denoise_at if at_times else self.model.denoise
        if y is not None:
            low, high = options.interval
            null = placed(np.full(len(y), self.classes), self.device)
            denoise = guide(denoise, y, options.guidance, interval=(low, high), without=null)
        if at_times:
            times = self.model.schedule.timesteps(options.steps)
            return sample_ddim(denoise, x, self.model.schedule, times, eta=0.0)
        least, most = _LEVELS[self.settings.method]
        sigmas = karras_sigmas(options.steps, least, most)
        x = x * np.float32(math.hypot(sigmas[0], 1.0))  # noise, and data of about unit size
        if options.sampler == "ancestral":
            return sample_euler_ancestral(denoise, x, sigmas, rng=rng)
        samplers: dict[str, Any] = {
            "heun": sample_heun,
            "euler": sample_euler,
            "dpmpp_2m": sample_dpmpp_2m,
        }
        return samplers[options.sampler](denoise, x, sigmas)


def _network(
    settings: ModelSettings, shape: tuple[int, ...], classes: int | None, rng: Generator
) -> nn.Module:
    if settings.network == "mlp":
        config = MLPConfig(shape, width=settings.width, depth=settings.depth, classes=classes)
        return MLPDenoiser(config, rng=rng)
    if len(shape) != 3 or shape[0] != shape[1]:
        raise UsageError(
            f'network "{settings.network}" is for square images, and the data are {shape}; take mlp'
        )
    size, _, channels = shape
    if settings.network == "dit":
        heads = max(1, settings.width // 64)
        return DiT(
            DiTConfig(
                channels,
                size=size,
                patch=settings.patch,
                width=settings.width,
                depth=settings.depth,
                n_head=heads,
                classes=classes,
            ),
            rng=rng,
        )
    return UNet(
        UNetConfig(
            channels,
            base=settings.width,
            multipliers=settings.multipliers,
            blocks=settings.depth,
            attention=(),
            classes=classes,
            size=size,
            patch=settings.patch,
        ),
        rng=rng,
    )


def _ddpm(network: nn.Module) -> DDPM:
    return DDPM(network, Schedule.cosine(1000), Prediction.V)


# ---- the recipe ----------------------------------------------------------------------------------


class DiffusionRecipe:
    """Denoising of noised examples; the weights that sample are an average over the steps."""

    criterion = "val_loss"

    def __init__(self, config: DiffusionRecipeConfig) -> None:
        """Read the data and start at step 0. Raises InputError, UsageError, UnavailableError."""
        self.config, self.device = config, training_device(config.training)
        rng = Generator(config.training.seed)
        self.data = read_examples(config.data)
        classes = len(self.data.classes) if config.model.conditional else 0
        self.painter = Painter(
            config.model,
            self.data.data_shape,
            classes or None,
            rng.spawn("model"),
            self.data.scale,
            self.device,
        )
        self.model = self.painter.model
        self.batches = self.data.batches(config.training.batch, rng.spawn("data"))
        self.draws = rng.spawn("draws")
        self.learner = Learner(self.model, config.optimizer, config.training.steps)
        self.ema = optim.EMA(self.model, config.model.ema)
        self.steps_done = 0

    def next_batch(self) -> tuple[Array, Array | None]:
        x, y = next(self.batches)
        batch: tuple[Array, Array | None]
        batch = placed((x, y if self.painter.classes else None), self.device)
        return batch

    def step(self, batch: tuple[Array, Array | None]) -> Metrics:
        """One step down the denoising error."""
        x, y = batch
        if y is not None and self.painter.classes:
            dropped = self.config.model.class_dropout
            y = drop_classes(y, dropped, null=self.painter.classes, rng=self.draws)
        metrics = self.learner.step(self.model.loss(x, y, rng=self.draws), self.steps_done)
        self.ema.decay = optim.warm_decay(self.config.model.ema, self.steps_done)
        self.ema.update()
        self.steps_done += 1
        return metrics

    def evaluate(self) -> Metrics:
        """`val_loss`: the training loss on held-out examples, by the averaged weights and fixed
        draws. No likelihood, and comparable within one method only."""
        rng, total = Generator("evaluation"), 0.0
        x, labels = self._held_out()
        with self.ema.swap(), self.model.inference():
            for start in range(0, len(x), 256):
                part = slice(start, start + 256)
                y = None if labels is None else labels[part]
                total += self.model.loss(x[part], y, rng=rng).item() * len(x[part])
        return {"val_loss": total / len(x)}

    def _held_out(self) -> tuple[Array, Array | None]:
        """The held-out examples and, if the network is told them, their classes."""
        labels = self.data.held_out_labels if self.painter.classes else None
        found: tuple[Array, Array | None] = placed((self.data.held_out, labels), self.device)
        return found

    def assess(self, n: int, sampling: Sampling) -> Metrics:
        """n samples, judged; classes in turn where there are any."""
        rng, classes = Generator("assessment"), self.painter.classes or 1
        at_once = max(1, AT_ONCE // classes) * classes
        with self.ema.swap():
            samples = np.concatenate(
                [
                    last(self.painter.paint(min(at_once, n - i), rng.spawn(f"from {i}"), sampling))
                    for i in range(0, n, at_once)
                ]
            )
        return self.data.assess(samples, told=self.painter.classes is not None)

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        """The loss of an untrained network, which predicts 0: what there is to learn."""
        rng = Generator(self.config.training.seed)
        fresh = Painter(
            self.config.model,
            self.data.data_shape,
            self.painter.classes,
            rng.spawn("model"),
            self.data.scale,
            self.device,
        )
        x, y = self._held_out()
        with fresh.model.inference():
            loss = fresh.model.loss(x, y, rng=Generator("evaluation"))
        return "untrained network", float(loss.item())

    def state_dict(self) -> State:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "steps_done": self.steps_done,
            "batches": self.batches.state_dict(),
            "draws": self.draws.state_dict(),
            "data": self.data.record(),
            "data_shape": list(self.data.data_shape),
            "scale": self.data.scale,
            "classes": self.painter.classes,
        }

    def load_state_dict(self, state: State) -> None:
        if state["data"] != self.data.record():
            raise InputError(
                f"the data {self.config.data.source!r} are not what the run was trained on; "
                "restore them"
            )
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = state["steps_done"]
        self.batches.load_state_dict(state["batches"])
        self.draws.load_state_dict(state["draws"])

    def describe(self) -> dict[str, Any]:
        return {"data": self.data.record(), "parameters": self.model.n_parameters}


def restore(config: DiffusionRecipeConfig, state: State) -> Painter:
    """The painter of a checkpoint, with the averaged weights; needs no data."""
    shape = tuple(state["data_shape"])
    device = training_device(config.training)
    painter = Painter(config.model, shape, state["classes"], Generator(0), state["scale"], device)
    painter.model.load_state_dict(state["ema"])
    return painter


FAMILY = Family("diffusion", PRESETS, DiffusionRecipe, restore, Sampling(), output="arrays")
