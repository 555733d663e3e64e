"""The recipe of masked diffusion: text that becomes clear in any order, not from left to right.

`nano` has the size of the GPT's preset of that name and reads the same text, so that its bound on
the nats of a token stands beside the GPT's. A masked token teaches only when it is masked, and the
batch is larger for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.checkpoints import State
from tinygen.data.baselines import bigram_nats
from tinygen.data.tokenizers import Tokenizer, tokenizer_from_state
from tinygen.errors import UsageError
from tinygen.models.diffusion import MaskedConfig, MaskedDiffusion, MaskedTransformer
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

Tokens = NDArray[np.int64]

GAP = "_"
"""What `--infill` writes for a token that is to be guessed."""

# ---- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskedRecipeConfig(RecipeConfig):
    data: DataSettings = DataSettings()
    model: TransformerSettings = TransformerSettings()
    optimizer: OptimizerSettings = OptimizerSettings(lr=3e-3)
    training: TrainingSettings = field(default=TrainingSettings(steps=3000, batch=16))


@dataclass(frozen=True)
class Sampling(Settings):
    prompt: str = setting("", "the text to continue")
    infill: str = setting("", f"a text in which each {GAP} is a token to guess; nothing is added")
    tokens: int = setting(256, "how many tokens to add", least=1)
    steps: int = setting(64, "passes over a window; more is better and slower", least=1)
    temperature: float = setting(0.8, "1 is the model's own distribution", above=0.0)


PRESETS = {
    "nano": MaskedRecipeConfig(),
    "small": MaskedRecipeConfig(
        model=TransformerSettings(n_layer=6, n_head=6, width=384, block_size=256, dropout=0.1),
        optimizer=OptimizerSettings(lr=1e-3),
        training=TrainingSettings(steps=10000, batch=64, threads=2),
    ),
}

# ---- text and model ------------------------------------------------------------------------------


class Writer:
    """A masked diffusion model and its tokenizer: what is left of a recipe once it is trained."""

    def __init__(
        self, settings: TransformerSettings, tokenizer: Tokenizer, rng: Generator, device: str
    ) -> None:
        self.tokenizer, self.length, self.device = tokenizer, settings.block_size, device
        config = MaskedConfig(
            vocab_size=tokenizer.vocab_size,
            length=settings.block_size,
            n_layer=settings.n_layer,
            n_head=settings.n_head,
            width=settings.width,
            dropout=settings.dropout,
        )
        network = MaskedTransformer(config, rng=rng)
        self.model = MaskedDiffusion(network, tokenizer.vocab_size).to(device)

    def sample(self, rng: Generator, options: Sampling) -> Iterator[str]:
        """The text with its gaps filled; or the prompt, then what is added to it, a window at a
        time: the last half of a window is the beginning of the next."""
        if options.infill:
            yield self._text(self._filled(self._gaps(options.infill), rng, options))
            return
        yield options.prompt
        known = encoded(self.tokenizer, options.prompt).astype(np.int64)
        written, left = known[:0], options.tokens
        while left:
            context = known[-(self.length // 2) :] if self.length > 1 else known[:0]
            fresh = min(left, self.length - len(context))
            window = np.concatenate([context, np.full(fresh, self.model.mask)])
            added = self._filled(window, rng, options)[len(context) :]
            known, written = np.concatenate([known, added]), np.concatenate([written, added])
            left -= fresh
        yield self._text(written)

    def _filled(self, tokens: Tokens, rng: Generator, options: Sampling) -> Tokens:
        """Tokens (T,) with every mask guessed."""
        tokens = placed(tokens[None], self.device)
        (*_, last) = self.model.sample(
            tokens, options.steps, temperature=options.temperature, rng=rng
        )
        return np.asarray(last.tokens[0])

    def _gaps(self, text: str) -> Tokens:
        """A text (T,) with masks for its gaps."""
        first, *others = (
            encoded(self.tokenizer, part).astype(np.int64) for part in text.split(GAP)
        )
        mask = np.full(1, self.model.mask)
        tokens = np.concatenate([first, *(x for part in others for x in (mask, part))])
        if len(tokens) > self.length:
            raise UsageError(
                f"the text to fill has {len(tokens)} tokens, and the model sees {self.length} at "
                "once; give a shorter --infill"
            )
        return tokens

    def _text(self, tokens: Tokens) -> str:
        return self.tokenizer.decode(tokens)


# ---- the recipe ----------------------------------------------------------------------------------


class MaskedRecipe:
    """Guessing what stood under masks, in random windows of one text."""

    criterion = "val_loss"

    def __init__(self, config: MaskedRecipeConfig) -> None:
        """Read the data and start at step 0. Raises InputError, UsageError, UnavailableError."""
        self.config, self.device = config, training_device(config.training)
        rng = Generator(config.training.seed)
        self.text = read_text(config.data)
        self.writer = Writer(config.model, self.text.tokenizer, rng.spawn("model"), self.device)
        self.model = self.writer.model
        block, batch = config.model.block_size, config.training.batch
        self.batches = self.text.batches(block, batch, rng.spawn("data"))
        self.masks = rng.spawn("masks")
        self.learner = Learner(self.model, config.optimizer, config.training.steps)
        self.steps_done = 0

    def next_batch(self) -> Tokens:
        tokens: Tokens = placed(next(self.batches)[0], self.device)
        return tokens

    def step(self, batch: Tokens) -> Metrics:
        """One AdamW step down the bound, tokens (B, T)."""
        metrics = self.learner.step(self.model.loss(batch, rng=self.masks), self.steps_done)
        self.steps_done += 1
        return metrics

    def evaluate(self) -> Metrics:
        """`val_loss`: the bound on -log p of the validation tokens, cut into windows that know
        nothing of each other; nats a token, by fixed masks."""
        length = self.config.model.block_size
        tokens = placed(self.text.validation.astype(np.int64), self.device)
        whole = len(tokens) // length * length
        rng, total = Generator("evaluation masks"), 0.0
        windows = tokens[:whole].reshape(-1, length)
        for start in range(0, len(windows), 64):
            total += float(self.model.nelbo(windows[start : start + 64], rng=rng).sum())
        if whole < len(tokens):
            total += float(self.model.nelbo(tokens[None, whole:], rng=rng).sum())
        return {"val_loss": total / len(tokens)}

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        """What counting pairs of tokens achieves on the same validation tokens, in nats."""
        text = self.text
        return "bigram", bigram_nats(text.train, text.validation, text.tokenizer.vocab_size)

    def state_dict(self) -> State:
        dropout = self.model.named_generators()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "steps_done": self.steps_done,
            "batches": self.batches.state_dict(),
            "masks": self.masks.state_dict(),
            "dropout": {name: rng.state_dict() for name, rng in dropout.items()},
            "tokenizer": self.text.tokenizer.state,
            "corpus": self.text.corpus.sha256,
        }

    def load_state_dict(self, state: State) -> None:
        require_corpus(self.text.corpus, self.config.data, state["corpus"])
        self.model.load_state_dict(state["model"])
        self.learner.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = state["steps_done"]
        self.batches.load_state_dict(state["batches"])
        self.masks.load_state_dict(state["masks"])
        for name, rng in self.model.named_generators().items():
            rng.load_state_dict(state["dropout"][name])

    def describe(self) -> dict[str, Any]:
        return {
            "corpus": self.text.corpus.record(),
            "tokenizer": self.text.tokenizer.kind,
            "train_tokens": len(self.text.train),
            "val_tokens": len(self.text.validation),
            "parameters": self.model.n_parameters,
        }


def restore(config: MaskedRecipeConfig, state: State) -> Writer:
    """The writer of a checkpoint; needs no data."""
    tokenizer, device = tokenizer_from_state(state["tokenizer"]), training_device(config.training)
    writer = Writer(config.model, tokenizer, Generator(0), device)
    writer.model.load_state_dict(state["model"])
    return writer


FAMILY = Family("masked", PRESETS, MaskedRecipe, restore, Sampling())
