"""A trained decoder that writes: what `tinygen sample` can ask of it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.data.infilling import Infilling, Order
from tinygen.data.molecules import smiles_of
from tinygen.data.reading import read_file
from tinygen.data.tokenizers import Tokenizer
from tinygen.data.tokenizers.base import Ids
from tinygen.decoding import (
    NOTHING,
    Constraint,
    Detection,
    FrequencyPenalty,
    NoRepeatNGram,
    Processor,
    RepetitionPenalty,
    Sampler,
    Step,
    StopStrings,
    Watermark,
    beam_search,
    sample,
    sample_speculatively,
    stream_text,
)
from tinygen.decoding.constraints import Automaton, line_with_words
from tinygen.decoding.constraints.words import Unit
from tinygen.decoding.rows import log_softmax
from tinygen.errors import InputError, UsageError
from tinygen.evaluation.infilling import Gap
from tinygen.models.transformer.decoder import Decoder
from tinygen.random import Generator
from tinygen.recipes.text import as_typed, encoded
from tinygen.training.config import Settings, setting


@dataclass(frozen=True)
class Sampling(Settings):
    prompt: str = setting("", "the text to continue")
    prompt_file: str = setting(
        "", "a file that comes before the prompt and is not repeated, such as a few examples"
    )
    suffix: str = setting("", "what follows the gap that is filled; of runs with --data.fim")
    tokens: int = setting(256, "how many tokens to add, at most", least=1)
    temperature: float = setting(0.8, "1 is the model's own distribution, 0 is greedy", least=0.0)
    top_k: int = setting(200, "draw among the k likeliest tokens; 0 is all", least=0)
    top_p: float = setting(1.0, "draw among the likeliest that make up p", above=0.0, most=1.0)
    min_p: float = setting(
        0.0,
        "draw among those with this part of the likeliest's probability",
        least=0.0,
        most=1.0,
    )
    repetition_penalty: float = setting(
        1.0, "divides the scores of tokens that stand in the text, where positive", above=0.0
    )
    frequency_penalty: float = setting(0.0, "off a token's score each time that it was added")
    presence_penalty: float = setting(0.0, "off the score of every token that was added before")
    no_repeat_ngram: int = setting(0, "no sequence of so many tokens comes twice; 0: any", least=0)
    stop: str = setting("", "end before this text, where it comes")
    regex: str = setting("", "the added text matches this regular expression")
    json_schema: str = setting("", "the added text is JSON under this schema: a file, or the JSON")
    must_include: str = setting("", "words, with commas between, that the added line has all of")
    words: str = setting("", "how many words the added line has: 5-12, or 8")
    characters: str = setting("", "how many characters the added line has: 20-60, or 40")
    match_case: bool = setting(False, "letters of --must-include are of the case that they have")
    beams: int = setting(1, "from 2 on the likeliest text, by a beam search as wide", least=1)
    proposals: int = setting(4, "tokens that the --draft model proposes at a time", least=1)
    watermark: str = setting("", "mark the text so that who has this key can detect it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regex and self.json_schema:
            raise UsageError("regex stands beside json_schema; give one of the two")
        if self.words and self.characters:
            raise UsageError("words stands beside characters; give one of the two")
        if self.bounds_line and (self.regex or self.json_schema):
            raise UsageError("must_include and lengths stand beside another constraint; give one")
        for name in ("words", "characters"):
            limits(name, getattr(self, name))

    @property
    def bounds_line(self) -> bool:
        """Whether the added text is one line with words or a length."""
        return bool(self.must_include or self.words or self.characters)


class Writer:
    """A decoder and its tokenizer: what is left of a recipe once it is trained."""

    def __init__(
        self, model: Decoder, tokenizer: Tokenizer, device: str, ends: Sequence[int] = ()
    ) -> None:
        """`ends` are tokens that end a text, and are no part of it."""
        self.model, self.tokenizer, self.device = model.to(device), tokenizer, device
        self.ends = ends
        self.draft: Decoder | None = None
        """A smaller model of the same tokens that proposes what this one writes."""
        self.notation = "as-is"
        """Of what it has learned: lines of "selfies" are given as SMILES."""

    def let_propose(self, other: Any) -> None:
        """Write faster with the help of another writer's model. Raises UsageError where its tokens
        are others."""
        if not isinstance(other, Writer) or other.tokenizer.state != self.tokenizer.state:
            raise UsageError(
                "the draft model has other tokens: train it on the same data, with the same "
                "--data.tokenizer"
            )
        self.draft = other.model

    def sample(self, rng: Generator, options: Sampling) -> Iterator[str]:
        """The prompt, then what the model adds to it, as soon as its characters are complete; then
        the suffix, if it was to fill a gap. Raises UsageError where it has not learned to."""
        before = _text_of(options.prompt_file) if options.prompt_file else ""
        given, ends = before + options.prompt, list(self.ends)
        if options.suffix:
            infilling = Infilling(self.tokenizer)
            prompt: Any = infilling.prompt(as_typed(given), as_typed(options.suffix))
            ends.append(infilling.end)
        else:
            prompt = encoded(self.tokenizer, given) if given else self._start()
        texts = TokenTexts(self.tokenizer, self._hidden(ends), self.model.vocab_size)
        steps = self._steps(prompt[None].astype(np.int64), rng, options, ends)
        written = stream_text(steps, texts, [options.stop] if options.stop else [])
        if self.notation == "selfies":
            yield from _molecules(options.prompt, written)
            return
        yield options.prompt
        yield from written
        yield options.suffix

    def lines(self, rng: Generator, n: int, longest: int = 256) -> list[str]:
        """n lines from the model's own distribution, each begun after a newline and cut after
        `longest` tokens; many at a time."""
        texts = TokenTexts(self.tokenizer, self._hidden(self.ends), self.model.vocab_size)
        found: list[str] = []
        while len(found) < n:
            rows = min(64, n - len(found))
            prompts = np.repeat(self._start()[None].astype(np.int64), rows, 0)  # (rows, T)
            tokens: list[list[int]] = [[] for _ in range(rows)]
            stops = [StopStrings(["\n"], texts)]
            for step in sample(
                self.model, prompts, max_new_tokens=longest, rng=rng, end=self.ends, stops=stops
            ):
                for row, token in zip(tokens, step.tokens, strict=True):
                    if token != NOTHING:
                        row.append(int(token))
            written = [b"".join(texts[token] or b"" for token in row) for row in tokens]
            found += [line.decode("utf-8", "replace").split("\n")[0] for line in written]
        return found

    def bound_line(self, rng: Generator, words: Sequence[str], least: int, most: int) -> str:
        """A line with these words, `least` to `most` in all, from the model's distribution."""
        options = Sampling(
            prompt="\n",
            must_include=",".join(words),
            words=f"{least}-{most}",
            temperature=1.0,
            top_k=0,
        )
        return "".join(self.sample(rng, options)).strip("\n")

    def nats_a_byte(self, lines: Sequence[str]) -> float:
        """-log p of lines, each after a newline and with its own, over their bytes; a line longer
        than the model sees is cut."""
        total, count = 0.0, 0
        for line in lines:
            ids = self.tokenizer.encode(f"\n{line}\n").astype(np.int64)
            ids = ids[: self.model.config.block_size + 1]
            logits = self.model._logits(ids[None, :-1])[0]
            total -= float(np.take_along_axis(log_softmax(logits), ids[1:, None], 1).sum())
            count += len(self.tokenizer.decode_bytes(ids[1:]))
        return total / count

    def fill(self, gaps: Sequence[Gap], order: Order, longest: int = 64) -> list[bytes]:
        """The likeliest token after token between prefix and suffix, `longest` at most."""
        infilling, found = Infilling(self.tokenizer), []
        ends = [*self.ends, infilling.end]
        texts = TokenTexts(self.tokenizer, self._hidden(ends), self.model.vocab_size)
        for first in range(0, len(gaps), 32):
            some = gaps[first : first + 32]
            prompts = [infilling.prompt(gap.prefix, gap.suffix, order) for gap in some]
            filled = [b""] * len(some)
            for step in sample(
                self.model, prompts, max_new_tokens=longest, sampler=Sampler(0.0), end=ends
            ):
                for row, token in enumerate(step.tokens.tolist()):
                    if token != NOTHING:
                        filled[row] += texts[token] or b""
            found += filled
        return found

    def middle_nats(self, gaps: Sequence[Gap], order: Order) -> float:
        """-log p of the middles and of the marks that end them, in nats a token."""
        infilling, total, count = Infilling(self.tokenizer), 0.0, 0
        for gap in gaps:
            known = len(infilling.prompt(gap.prefix, gap.suffix, order))
            ids = infilling.example(*gap, order)
            logits = self.model._logits(ids[None, :-1])[0, known - 1 :]
            total -= float(np.take_along_axis(log_softmax(logits), ids[known:, None], 1).sum())
            count += len(ids) - known
        return total / count

    def detect(self, text: str, key: str) -> Detection:
        """Look for the watermark of `key` in a text. Raises InputError, UsageError."""
        tokens = encoded(self.tokenizer, text).astype(np.int64)
        return Watermark(key, self.model.vocab_size).detect(tokens)

    def _steps(
        self, prompt: Any, rng: Generator, options: Sampling, ends: Sequence[int]
    ) -> Iterator[Step]:
        o = options
        shared: dict[str, Any] = {
            "max_new_tokens": o.tokens,
            "end": ends,
            "processors": self._processors(options, ends),
        }
        if o.beams > 1:
            return beam_search(self.model, prompt, beams=o.beams, **shared)
        sampler = Sampler(o.temperature, o.top_k or None, o.top_p, o.min_p)
        shared |= {"sampler": sampler, "rng": rng}
        if self.draft is None:
            return sample(self.model, prompt, **shared)
        return sample_speculatively(self.model, self.draft, prompt, proposals=o.proposals, **shared)

    def _processors(self, options: Sampling, ends: Sequence[int]) -> list[Processor]:
        """Those that the options ask for; what forbids tokens comes last."""
        found: list[Processor] = []
        texts = TokenTexts(self.tokenizer, self._hidden(ends), self.model.vocab_size)
        if options.repetition_penalty != 1:
            found.append(RepetitionPenalty(options.repetition_penalty))
        if options.frequency_penalty or options.presence_penalty:
            found.append(FrequencyPenalty(options.frequency_penalty, options.presence_penalty))
        if options.watermark:
            found.append(Watermark(options.watermark, self.model.vocab_size))
        if options.no_repeat_ngram:
            found.append(NoRepeatNGram(options.no_repeat_ngram))
        if options.regex:
            found.append(Constraint.regex(options.regex, texts, ends))
        if options.bounds_line:
            found.append(Constraint(_line(options), texts, ends))
        if options.json_schema:
            schema = read_schema(options.json_schema)
            found.append(Constraint.json_schema(schema, texts, ends))
        return found

    def _hidden(self, ends: Sequence[int]) -> list[int]:
        """Tokens that are no text, and of which no rule for texts speaks."""
        special: Mapping[str, int] = getattr(self.tokenizer, "special_tokens", {})
        return [*ends, *special.values()]

    def _start(self) -> Ids:
        """What an empty prompt continues: a new line, where the tokenizer has one."""
        try:
            return self.tokenizer.encode("\n")
        except InputError:
            return np.zeros(1, np.uint8)


def _molecules(prompt: str, written: Iterator[str]) -> Iterator[str]:
    """Lines of SELFIES as SMILES, each as soon as it is complete."""
    line = prompt
    for piece in written:
        *whole, line = (line + piece).split("\n")
        yield from (f"{smiles_of(done)}\n" for done in whole)
    yield smiles_of(line)


def limits(name: str, text: str) -> tuple[int, int | None]:
    """The two numbers of "5-12", or twice the one of "8"; no limits of no text. Raises UsageError
    that begins with `name`."""
    read = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text, re.ASCII)
    if not text:
        return 0, None
    if read is None or int(read[2] or read[1]) < int(read[1]):
        raise UsageError(f"{name} must be a range such as 5-12, or one number, not {text!r}")
    return int(read[1]), int(read[2] or read[1])


def _line(options: Sampling) -> Automaton:
    unit: Unit = "characters" if options.characters else "words"
    least, most = limits(unit, getattr(options, unit))
    words = [word.strip() for word in options.must_include.split(",") if word.strip()]
    return line_with_words(words, least, most, unit=unit, match_case=options.match_case)


def _text_of(path: str) -> str:
    """The text of a file, as an argument of the command line would be. Raises InputError."""
    return read_file(path).decode("utf-8", "surrogateescape")


class TokenTexts(Sequence[bytes | None]):
    """The bytes of each token of a model, looked up when they are asked for; None for the `hidden`
    ones, and for those beyond the tokenizer, by which some models are larger than they need."""

    def __init__(self, tokenizer: Tokenizer, hidden: Sequence[int], vocab_size: int) -> None:
        self.tokenizer, self.hidden, self.vocab_size = tokenizer, frozenset(hidden), vocab_size

    def __len__(self) -> int:
        return self.vocab_size

    def __getitem__(self, token: Any) -> Any:
        if not 0 <= token < self.vocab_size:
            raise IndexError(token)  # which ends an iteration
        known = token < self.tokenizer.vocab_size and token not in self.hidden
        return self.tokenizer.decode_bytes([token]) if known else None


def read_schema(given: str) -> Any:
    """A JSON schema: the text itself, or the file that it names. Raises InputError."""
    name = "the JSON schema"
    if not given.lstrip().startswith("{"):
        name = given
        try:
            given = Path(given).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot read the JSON schema {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{name} is no UTF-8, as JSON is: {error}") from error
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no valid JSON: {error}") from error
