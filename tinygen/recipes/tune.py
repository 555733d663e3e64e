"""Fine-tuning a decoder on examples: all of it, by LoRA, or on preferences by DPO.

A checkpoint holds what was learned (for LoRA and DPO the adapters alone), and the model that it was
learned on stays where it is: a run folder, or a folder of the transformers package.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tinygen import nn, ops
from tinygen.checkpoints import State
from tinygen.data.examples import IGNORED, Example, encoded, padded, read_examples
from tinygen.data.splits import HELD_OUT
from tinygen.errors import CheckpointError, InputError, UsageError
from tinygen.models.transformer.preference import answer_log_probs, dpo_loss
from tinygen.random import Generator
from tinygen.recipes import Family, family
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.optimisation import Learner, OptimizerSettings
from tinygen.recipes.pretrained import holds_model, pretrained
from tinygen.recipes.writing import Sampling, Writer
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings
from tinygen.training.run import Run

Batch = tuple[Any, ...]


@dataclass(frozen=True)
class ExampleSettings(Settings):
    source: str = setting("", "JSON lines of prompt and completion, or messages; see data/examples")
    held_out: float = setting(HELD_OUT, "part that is kept for validation", above=0.0, below=1.0)


@dataclass(frozen=True)
class TunedSettings(Settings):
    source: str = setting("", "what is tuned: a run, or a folder of the transformers package")
    method: Literal["lora", "full", "dpo"] = setting(
        "lora", "lora or full, on answers; dpo, by LoRA, on chosen and rejected ones"
    )
    rank: int = setting(8, "columns of LoRA's narrow matrices", least=1)
    alpha: float = setting(16.0, "LoRA's factor, divided by the rank", above=0.0)
    targets: str = setting("*", "layers with adapters: names, with * for anything, and commas")
    beta: float = setting(0.1, "DPO: how far from the reference costs how much", above=0.0)


@dataclass(frozen=True)
class TuneConfig(RecipeConfig):
    data: ExampleSettings = ExampleSettings()
    model: TunedSettings = TunedSettings()
    optimizer: OptimizerSettings = OptimizerSettings(lr=1e-3, warmup=20, weight_decay=0.0)
    training: TrainingSettings = field(default=TrainingSettings(steps=200, batch=8, eval_every=50))


class TuneRecipe:
    """One decoder that learns the answers of examples, or the better of two."""

    criterion = "val_loss"

    def __init__(self, config: TuneConfig) -> None:
        """Read the model and the examples. Raises InputError, UsageError, UnavailableError."""
        if not config.data.source:
            raise UsageError("tune needs examples: --data FILE, JSON lines")
        self.config, self.device = config, training_device(config.training)
        rng = Generator(config.training.seed)
        self.writer = tuned_writer(config)
        if config.model.method != "full":
            nn.add_lora(self.model, **_adapters(config.model), rng=rng.spawn("lora"))
        examples = read_examples(config.data.source)
        self._require_kind(examples)
        count = max(1, round(config.data.held_out * len(examples)))
        if count >= len(examples):
            raise InputError(
                f"{config.data.source} has {len(examples)} example(s), of which some are held out; "
                "two are the least"
            )
        longest = self.model.config.block_size
        rows = [self._rows(example, longest) for example in examples]
        self.train, self.held_out = rows[:-count], rows[-count:]
        if not all((targets != IGNORED).any() for way in self.train for _, targets in way):
            raise InputError(
                f"{config.data.source}: an answer has no tokens, or none within the model's "
                f"{longest}; shorten it"
            )
        self.order = rng.spawn("data")
        self.learner = Learner(self.model, config.optimizer, config.training.steps)
        self.steps_done = 0

    @property
    def model(self) -> Any:
        return self.writer.model

    def _require_kind(self, examples: list[Example]) -> None:
        pairs = examples[0].rejected is not None
        if pairs != (self.config.model.method == "dpo"):
            wanted = "pairs of chosen and rejected answers" if not pairs else "one answer each"
            raise InputError(
                f"{self.config.data.source} does not fit --model.method "
                f"{self.config.model.method}, which takes {wanted}"
            )

    def _rows(self, example: Example, longest: int) -> list[Any]:
        ways = [example.segments, *([example.rejected] if example.rejected else [])]
        return [encoded(way, self.writer.tokenizer, longest) for way in ways]

    def next_batch(self) -> Batch:
        """(tokens, targets) of the answers, and of the rejected ones behind them."""
        chosen = self.order.integers(0, len(self.train), (self.config.training.batch,))
        return self._batch([self.train[int(i)] for i in chosen])

    def _batch(self, rows: list[Any]) -> Batch:
        ways = range(len(rows[0]))
        made = [padded([row[way] for row in rows]) for way in ways]
        batch: Batch = placed(tuple(part for pair in made for part in pair), self.device)
        return batch

    def step(self, batch: Batch) -> Metrics:
        loss, more = self._loss(batch)
        metrics = self.learner.step(loss, self.steps_done)
        self.steps_done += 1
        return {**metrics, **more}

    def _loss(self, batch: Batch) -> tuple[Any, Metrics]:
        """Nats a token of the answers; or DPO's, and how many pairs are in order."""
        if self.config.model.method != "dpo":
            tokens, targets = batch
            return ops.cross_entropy(self.model(tokens), targets, ignore_index=IGNORED), {}
        with nn.without_lora(self.model), self.model.inference():
            reference = self._log_probs(batch)
        chosen, rejected = self._log_probs(batch)
        loss, margins = dpo_loss(chosen, rejected, reference, self.config.model.beta)
        return loss, {"in_order": float(ops.mean(ops.astype(margins > 0, loss.dtype)).item())}

    def _log_probs(self, batch: Batch) -> tuple[Any, Any]:
        tokens, targets, other_tokens, other_targets = batch
        return (
            answer_log_probs(self.model(tokens), targets, IGNORED),
            answer_log_probs(self.model(other_tokens), other_targets, IGNORED),
        )

    def evaluate(self) -> Metrics:
        """`val_loss` of the held-out examples: nats a token of the answers, or DPO's loss."""
        total, count, size = 0.0, 0, self.config.training.batch
        found: list[Metrics] = []
        with self.model.inference():
            for first in range(0, len(self.held_out), size):
                rows = self.held_out[first : first + size]
                loss, more = self._loss(self._batch(rows))
                dpo = self.config.model.method == "dpo"
                weight = len(rows) if dpo else sum(int((t != IGNORED).sum()) for ((_, t),) in rows)
                total, count = total + float(loss.item()) * weight, count + weight
                found.append({name: value * len(rows) for name, value in more.items()})
        means = {
            f"val_{name}": sum(part[name] for part in found) / len(self.held_out)
            for name in found[0]
        }
        return {"val_loss": total / max(1, count), **means}

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        """What the model has of the same examples before it is tuned."""
        if self.config.model.method == "dpo":
            return "untuned", math.log(2)
        if self.config.model.method == "full":
            untuned = tuned_writer(self.config)
            self.writer, tuned = untuned, self.writer
            try:
                return "untuned", self.evaluate()["val_loss"]
            finally:
                self.writer = tuned
        with nn.without_lora(self.model):
            return "untuned", self.evaluate()["val_loss"]

    def sample(self, rng: Generator, options: Sampling) -> Iterator[str]:
        return self.writer.sample(rng, options)

    def state_dict(self) -> State:
        adapted = self.config.model.method != "full"
        learned = nn.lora_state(self.model) if adapted else self.model.state_dict()
        streams = self.model.named_generators()
        return {
            "learned": learned,
            "optimizer": self.learner.optimizer.state_dict(),
            "steps_done": self.steps_done,
            "order": self.order.state_dict(),
            "dropout": {name: stream.state_dict() for name, stream in streams.items()},
        }

    def load_state_dict(self, state: State) -> None:
        _learn(self.model, self.config.model.method, state["learned"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = state["steps_done"]
        self.order.load_state_dict(state["order"])
        for name, stream in self.model.named_generators().items():
            stream.load_state_dict(state["dropout"][name])

    def describe(self) -> dict[str, Any]:
        return {
            "examples": len(self.train),
            "held_out": len(self.held_out),
            "parameters": self.model.n_parameters,
            "learning": sum(p.size for p in self.learner.parameters),
        }


def tuned_writer(config: TuneConfig) -> Writer:
    """The model that is tuned, as it was. Raises UsageError, InputError."""
    source = config.model.source
    if not source:
        raise UsageError("tune needs a model: a run, or a folder of the transformers package")
    device = training_device(config.training)
    if holds_model(source):
        writer = pretrained(source, device)
    else:
        run = Run(source)
        chosen = family(run.family)
        base = next(iter(chosen.presets.values()))
        saved = base.updated(run.config_values, where=str(run.path / "config.json"))
        state = run.load(run.best_step())
        if state is None:
            raise InputError(f"{source} has no checkpoint yet; train it: {run.resume_command}")
        writer = chosen.restore(saved.on(device), state)
    if not isinstance(writer, Writer):
        raise UsageError(f"{source} is no model that writes text token by token")
    return writer


def _adapters(settings: TunedSettings) -> dict[str, Any]:
    targets = [name.strip() for name in settings.targets.split(",")]
    return {"rank": settings.rank, "alpha": settings.alpha, "targets": targets}


def _learn(model: Any, method: str, learned: State) -> None:
    """Put what a checkpoint holds into the model, whose adapters are there if it has any."""
    if method == "full":
        model.load_state_dict(learned)
        return
    there = nn.lora_state(model)["layers"]
    if there.keys() != learned["layers"].keys():
        raise CheckpointError("the adapters of this checkpoint are those of other layers")
    model.load_state_dict(
        {
            f"{name}.{narrow}": np.asarray(layer[narrow])
            for name, layer in learned["layers"].items()
            for narrow in ("down", "up")
        },
        strict=False,
    )


def restore(config: TuneConfig, state: State) -> Writer:
    """The tuned writer of a checkpoint; the model that was tuned must still be where it was."""
    writer = tuned_writer(config)
    if config.model.method == "full":
        writer.model.load_state_dict(state["learned"])
    else:
        nn.load_lora_state(writer.model, state["learned"])
        nn.merge_lora(writer.model)
    return writer


FAMILY = Family("tune", {"answers": TuneConfig()}, TuneRecipe, restore, Sampling())
