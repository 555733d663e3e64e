"""What the recipes of next-token prediction share: training a writer, and what it costs.

A family of them names its network and its settings: see `gpt.py` and `llama.py`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tinygen.checkpoints import State
from tinygen.data.baselines import bigram_nats
from tinygen.data.batches import Batch, sequential_blocks
from tinygen.data.infilling import ORDERS, Infilling
from tinygen.data.molecules import smiles_of
from tinygen.data.ngrams import NGram
from tinygen.data.splits import split
from tinygen.data.tokenizers import tokenizer_from_state
from tinygen.evaluation import are_molecules, judge_lines, longest_overlap
from tinygen.evaluation.bounded import judge_bounded, wish_of
from tinygen.evaluation.infilling import (
    FrequentLines,
    Gap,
    judge_fillings,
    line_gap,
    span_gap,
)
from tinygen.models.transformer import Estimate, estimate
from tinygen.models.transformer.decoder import Decoder
from tinygen.models.transformer.depth import learning_rate, sizes, token_budget
from tinygen.random import Generator
from tinygen.recipes import music
from tinygen.recipes.devices import placed, training_device
from tinygen.recipes.optimisation import Learner
from tinygen.recipes.text import FIM_PIECE, read_text, require_corpus
from tinygen.recipes.writing import Sampling, Writer
from tinygen.training.recipe import Metrics


class LanguageRecipe(ABC):
    """Next-token prediction on random windows of one text."""

    criterion = "val_loss"
    network: Callable[..., Decoder]
    """The family's model, made of its `architecture` and `rng`."""

    def __init__(self, config: Any) -> None:
        """Read the data and start at step 0. Raises InputError, UsageError, UnavailableError."""
        self.config, self.device = config, training_device(config.training)
        rng = Generator(config.training.seed)
        text = read_text(config.data)
        self.corpus, self.train_tokens, self.val_tokens = text.corpus, text.train, text.validation
        self.music = text.music
        architecture = self.architecture(config.model, text.tokenizer.vocab_size)
        model = self.network(architecture, rng=rng.spawn("model"))
        self.writer = Writer(model, text.tokenizer, self.device)
        self.writer.notation = config.data.notation
        block, batch = config.model.block_size, config.training.batch
        self.batches = text.batches(block, batch, rng.spawn("data"))
        self.learner = Learner(self.writer.model, config.optimizer, config.training.steps)
        self.steps_done = 0

    @staticmethod
    @abstractmethod
    def architecture(settings: Any, vocab_size: int) -> Any:
        """The configuration of the family's `network`."""

    @classmethod
    def restore(cls, config: Any, state: State) -> Writer:
        """The writer of a checkpoint; needs no data."""
        tokenizer = tokenizer_from_state(state["tokenizer"])
        architecture = cls.architecture(config.model, tokenizer.vocab_size)
        model = cls.network(architecture, rng=Generator(0))
        writer = Writer(model, tokenizer, training_device(config.training))
        writer.notation = config.data.notation
        writer.model.load_state_dict(state["model"])
        return writer

    @classmethod
    def cost(cls, config: Any) -> Estimate:
        """What a run of this configuration takes; reads the data for its vocabulary."""
        vocab_size = read_text(config.data).tokenizer.vocab_size
        return estimate(cls.architecture(config.model, vocab_size), config.training.batch)

    @classmethod
    def dial(cls, config: Any, preset: Any, depth: int) -> dict[str, Any]:
        """The settings of a model of that depth, of which `config` gives all others: its sizes, a
        learning rate scaled from the preset's, steps for its tokens. See `depth.py`."""
        model = replace(config.model, **sizes(depth))
        vocab_size = read_text(config.data).tokenizer.vocab_size
        tokens = config.training.batch * model.block_size
        lr = learning_rate(
            preset.optimizer.lr,
            wider=model.width / preset.model.width,
            longer=tokens / (preset.training.batch * preset.model.block_size),
        )
        steps = math.ceil(token_budget(cls.architecture(model, vocab_size)) / tokens)
        return {"model": sizes(depth), "optimizer": {"lr": lr}, "training": {"steps": steps}}

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
        """`val_loss`: nats a token, the mean over every target of the validation tokens; and the
        same in bits a byte of their text, which compares tokenizers."""
        model, total, count = self.writer.model, 0.0, 0
        block, batch = self.config.model.block_size, self.config.training.batch
        with model.inference():
            for part in sequential_blocks(self.val_tokens, block, batch):
                tokens, targets = placed(part, self.device)
                total += model.loss(tokens, targets).item() * targets.size
                count += targets.size
        size = len(self.writer.tokenizer.decode_bytes(self.val_tokens[1:]))
        return {"val_loss": total / count, "bits_per_byte": total / math.log(2) / max(1, size)}

    def copied(self, rng: Generator, tokens: int) -> dict[str, Any]:
        """How much of a text of so many tokens, drawn from the model's own distribution, is copied
        from the training text, beside as much held-out text: see `longest_overlap`."""
        options = Sampling(tokens=tokens, temperature=1.0, top_k=0)
        written = "".join(self.writer.sample(rng, options)).encode()
        decoded = self.writer.tokenizer.decode_bytes
        seen, unseen = decoded(self.train_tokens), decoded(self.val_tokens)[: len(written)]
        if self.music:
            seen = music.transposed_text(self.music.train, self.config.data.transpose)
        found = longest_overlap(written, seen)
        run = written[found.start : found.start + found.length]
        return {
            "copied_bytes": found.length,
            "held_out_copied_bytes": longest_overlap(unseen, seen).length,
            "of_bytes": len(written),
            "copied_text": run.decode("utf-8", "replace"),
        }

    def lines(self, rng: Generator, n: int) -> dict[str, float]:
        """Of n lines drawn from the model's own distribution, how many are unique and novel, and
        valid, where the training text is molecules; and the same of counting three characters."""
        decoded = self.writer.tokenizer.decode_bytes
        training = decoded(self.train_tokens).decode("utf-8", "replace").split("\n")[:-1]
        written = self.writer.lines(rng, n)
        if self.config.data.notation == "selfies":
            training = [smiles_of(line) for line in training]
            written = [smiles_of(line) for line in written]
        molecules, counting = are_molecules(training), NGram(training)
        counted = [counting.line(rng) for _ in range(n)]
        mine = judge_lines(written, training, molecules=molecules)
        theirs = judge_lines(counted, training, molecules=molecules)
        return mine | {f"trigram_{name}": value for name, value in theirs.items()}

    def infill(self, rng: Generator, n: int) -> dict[str, float]:
        """Of n lines, and of n spans, taken out of pieces of held-out text: how many the model's
        likeliest filling gives back, in both orders; beside the most frequent line of the place.
        A piece is as long as those that it has learned to fill, where the model sees all of it."""
        text = self.writer.tokenizer.decode_bytes(self.val_tokens)
        infilling, block = Infilling(self.writer.tokenizer), self.config.model.block_size
        training = b"\n".join(split(self.corpus, self.config.data.held_out)[0].documents)
        counting, found = FrequentLines(training), dict[str, float]()
        for name, cut in (("line", line_gap), ("span", span_gap)):
            gaps: list[Gap] = []
            for _ in range(20 * n):
                start = int(rng.integers(0, max(1, len(text) - FIM_PIECE), ()))
                gap = cut(text[start : start + FIM_PIECE], rng)
                if gap and len(infilling.example(*gap)) <= block and len(gaps) < n:
                    gaps.append(gap)
            middles = [gap.middle for gap in gaps]
            for order in ORDERS:
                judged = judge_fillings(middles, self.writer.fill(gaps, order))
                judged["nats_a_token"] = self.writer.middle_nats(gaps, order)
                found |= {f"{name}_{order}_{figure}": value for figure, value in judged.items()}
            if name == "line":
                judged = judge_fillings(middles, map(counting.fill, gaps))
                found |= {f"line_frequent_{figure}": value for figure, value in judged.items()}
        return found

    def bound(self, rng: Generator, n: int) -> dict[str, float]:
        """Of n lines that are bound to two words of a held-out line and nearly its length, and of
        n free ones: how many are so, and how different; and nats a byte of both by the model."""
        decoded = self.writer.tokenizer.decode_bytes
        training, held_out = (
            decoded(part).decode("utf-8", "replace").split("\n")[1:-1]
            for part in (self.train_tokens, self.val_tokens)
        )
        wishes = [w for w in (wish_of(line, rng) for line in held_out[: 20 * n]) if w][:n]
        found: dict[str, float] = {}
        lines = [self.writer.bound_line(rng, w.words, w.least, w.most) for w in wishes]
        for name, some in (("bound", lines), ("free", self.writer.lines(rng, len(wishes)))):
            judged = judge_bounded(wishes, some, training)
            judged["nats_a_byte"] = self.writer.nats_a_byte(some)
            found |= {f"{name}_{figure}": value for figure, value in judged.items()}
        return found

    def measured(self) -> dict[str, Any]:
        """What `eval` adds: of music its nats a time step, beside those of counting notes."""
        if self.music is None:
            return {}
        block = self.config.model.block_size
        return music.measured(self.writer.model, self.music, block, self.device)

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
            "cost": str(estimate(self.writer.model.config, self.config.training.batch)),
        }
