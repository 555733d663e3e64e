"""The GPT recipe: text, tokenizer, model, AdamW on a cosine schedule; nanoGPT's settings.

`nano` is nanoGPT's character-level Shakespeare on a CPU with three times its learning rate (a model
this small stands it, and gains 0.13 nats), `small` the same on a GPU (Karpathy 2022,
github.com/karpathy/nanoGPT, config/train_shakespeare_char.py and README).
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.checkpoints import State
from tinygen.data.baselines import bigram_nats
from tinygen.data.batches import Batch, sequential_blocks
from tinygen.data.tokenizers import Tokenizer, tokenizer_from_state
from tinygen.data.tokenizers.base import Ids
from tinygen.errors import InputError
from tinygen.models.transformer import GPT, GPTConfig
from tinygen.random import Generator
from tinygen.recipes import Family
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.optimisation import Learner, OptimizerSettings
from tinygen.recipes.text import (
    DataSettings,
    TransformerSettings,
    encoded,
    read_text,
    require_corpus,
)
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSettings(TransformerSettings):
    bias: bool = setting(False, "biases in linear layers and norms")


@dataclass(frozen=True)
class GPTRecipeConfig(RecipeConfig):
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    training: TrainingSettings = field(default=TrainingSettings(steps=2000, batch=12))


@dataclass(frozen=True)
class Sampling(Settings):
    prompt: str = setting("", "the text to continue")
    tokens: int = setting(256, "how many tokens to add", least=1)
    temperature: float = setting(0.8, "1 is the model's own distribution, 0 is greedy", least=0.0)
    top_k: int = setting(200, "draw among the k likeliest tokens; 0 is all", least=0)
    top_p: float = setting(1.0, "draw among the likeliest that make up p", above=0.0, most=1.0)


PRESETS = {
    "nano": GPTRecipeConfig(optimizer=OptimizerSettings(lr=3e-3)),
    "small": GPTRecipeConfig(
        model=ModelSettings(n_layer=6, n_head=6, width=384, block_size=256, dropout=0.2),
        training=TrainingSettings(steps=5000, batch=64, threads=2),
    ),
}

# ---- text and model ------------------------------------------------------------------------------


class Writer:
    """A GPT and its tokenizer: what is left of a recipe once it is trained."""

    def __init__(
        self, settings: ModelSettings, tokenizer: Tokenizer, rng: Generator, device: str
    ) -> None:
        self.tokenizer, self.device = tokenizer, device
        self.model = GPT(
            GPTConfig(
                vocab_size=tokenizer.vocab_size,
                block_size=settings.block_size,
                n_layer=settings.n_layer,
                n_head=settings.n_head,
                width=settings.width,
                dropout=settings.dropout,
                bias=settings.bias,
            ),
            rng=rng,
        ).to(device)

    def sample(self, rng: Generator, options: Sampling) -> Iterator[str]:
        """The prompt, then what the model adds to it, as soon as its characters are complete."""
        prompt = encoded(self.tokenizer, options.prompt) if options.prompt else self._start()
        tokens = self.model.generate(
            placed(prompt[None].astype(np.int64), self.device),  # (1, T)
            max_new_tokens=options.tokens,
            temperature=options.temperature,
            top_k=options.top_k or None,
            top_p=options.top_p,
            rng=rng,
        )
        yield options.prompt
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for token in tokens:  # (1,)
            yield decoder.decode(self.tokenizer.decode_bytes(token))
        yield decoder.decode(b"", final=True)  # what a last, incomplete character becomes

    def _start(self) -> Ids:
        """What an empty prompt continues: a new line, where the tokenizer has one."""
        try:
            return self.tokenizer.encode("\n")
        except InputError:
            return np.zeros(1, np.uint8)


# ---- the recipe ----------------------------------------------------------------------------------


class GPTRecipe:
    """Next-token prediction on random windows of one text."""

    criterion = "val_loss"

    def __init__(self, config: GPTRecipeConfig) -> None:
        """Read the data and start at step 0. Raises InputError, UsageError, UnavailableError."""
        self.config, self.device = config, training_device(config.training)
        rng = Generator(config.training.seed)
        text = read_text(config.data)
        self.corpus, self.train_tokens, self.val_tokens = text.corpus, text.train, text.validation
        self.writer = Writer(config.model, text.tokenizer, rng.spawn("model"), self.device)
        block, batch = config.model.block_size, config.training.batch
        self.batches = text.batches(block, batch, rng.spawn("data"))
        self.learner = Learner(self.writer.model, config.optimizer, config.training.steps)
        self.steps_done = 0

    def next_batch(self) -> Batch:
        batch: Batch = placed(next(self.batches), self.device)
        return batch

    def step(self, batch: Batch) -> Metrics:
        """One AdamW step on tokens and targets (B, T)."""
        loss = self.writer.model.loss(*batch)
        metrics = self.learner.step(loss, self.steps_done)
        self.steps_done += 1
        return metrics

    def evaluate(self) -> Metrics:
        """`val_loss`: nats a token, the mean over every target of the validation tokens."""
        model, total, count = self.writer.model, 0.0, 0
        block, batch = self.config.model.block_size, self.config.training.batch
        with model.inference():
            for part in sequential_blocks(self.val_tokens, block, batch):
                tokens, targets = placed(part, self.device)
                total += model.loss(tokens, targets).item() * targets.size
                count += targets.size
        return {"val_loss": total / count}

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        """What counting pairs of tokens achieves on the same validation tokens, in nats."""
        vocab_size = self.writer.tokenizer.vocab_size
        return "bigram", bigram_nats(self.train_tokens, self.val_tokens, vocab_size)

    def sample(self, rng: Generator, options: Sampling) -> Iterator[str]:
        return self.writer.sample(rng, options)

    def state_dict(self) -> State:
        dropout = self.writer.model.named_generators()
        return {
            "model": self.writer.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "steps_done": self.steps_done,
            "batches": self.batches.state_dict(),
            "dropout": {name: rng.state_dict() for name, rng in dropout.items()},
            "tokenizer": self.writer.tokenizer.state,
            "corpus": self.corpus.sha256,
        }

    def load_state_dict(self, state: State) -> None:
        require_corpus(self.corpus, self.config.data, state["corpus"])
        self.writer.model.load_state_dict(state["model"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = state["steps_done"]
        self.batches.load_state_dict(state["batches"])
        for name, rng in self.writer.model.named_generators().items():
            rng.load_state_dict(state["dropout"][name])

    def describe(self) -> dict[str, Any]:
        return {
            "corpus": self.corpus.record(),
            "tokenizer": self.writer.tokenizer.kind,
            "train_tokens": len(self.train_tokens),
            "val_tokens": len(self.val_tokens),
            "parameters": self.writer.model.n_parameters,
        }


def restore(config: GPTRecipeConfig, state: State) -> Writer:
    """The writer of a checkpoint; needs no data."""
    tokenizer, device = tokenizer_from_state(state["tokenizer"]), training_device(config.training)
    writer = Writer(config.model, tokenizer, Generator(0), device)
    writer.model.load_state_dict(state["model"])
    return writer


FAMILY = Family("gpt", PRESETS, GPTRecipe, restore, Sampling())
