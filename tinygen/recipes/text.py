"""What the recipes of text learn from: a corpus, its tokenizer, its two parts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tinygen.data.batches import TokenBatches, Tokens
from tinygen.data.corpus import Corpus
from tinygen.data.infilling import MARKS, Infilling, infilled
from tinygen.data.molecules import corpus_in_selfies
from tinygen.data.music import Chorales, as_text, is_music, read_music
from tinygen.data.music.transposing import transposed
from tinygen.data.sources import read_corpus
from tinygen.data.splits import HELD_OUT, split
from tinygen.data.tokenizers import (
    AtomTokenizer,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    MusicTokenizer,
    Tokenizer,
    load_tokenizer,
)
from tinygen.data.tokenizers.base import Ids
from tinygen.errors import InputError, UsageError
from tinygen.random import Generator
from tinygen.training.config import Settings, nearest, setting

TOKENIZERS = ("auto", "byte", "char", "atoms", "bpe", "music")
"""Names of tokenizers that a run makes itself; everything else is a path."""


@dataclass(frozen=True)
class DataSettings(Settings):
    source: str = setting(
        "docs", "docs, stdlib, packages, tinyshakespeare, or the path of a file or folder"
    )
    tokenizer: str = setting(
        "auto",
        "byte, char, atoms (of molecules), music (MIDI, JSON of chorales), bpe (learned of the "
        "training part), the path of a tokenizer's file or folder, or auto: char for "
        "tinyshakespeare, atoms for selfies, music where the files are, else byte",
    )
    vocab_size: int = setting(
        1024, "ids that bpe learns, 256 of them bytes", least=256, most=1 << 20
    )
    fim: float = setting(
        0.0, "part of the pieces that teach fill-in-the-middle, with bpe", least=0.0, most=1.0
    )
    notation: Literal["as-is", "selfies"] = setting(
        "as-is", "as-is, or selfies: lines of SMILES are learned and written as SELFIES"
    )
    windows: Literal["anywhere", "lines"] = setting(
        "anywhere", "where a window of training begins: anywhere, or with a line"
    )
    transpose: int = setting(
        5, "semitones by which windows of music are moved at random, at most", least=0, most=11
    )
    field: str = setting("text", "where JSON lines keep their text")
    held_out: float = setting(HELD_OUT, "part that is kept for validation", above=0.0, below=1.0)
    eval_tokens: int = setting(
        131072, "validation tokens of an evaluation, the first of the held-out part", least=2
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source:
            raise UsageError("source must name the data, and it is empty")
        if self.tokenizer not in TOKENIZERS and not set(self.tokenizer) & set("/\\."):
            told = nearest(self.tokenizer, TOKENIZERS)
            raise UsageError(f"tokenizer cannot be {self.tokenizer!r}; {told}")


FIM_PIECE = 512
"""Bytes of a piece with a gap: a model has to see the whole of it."""

_LARGEST = 2**20
"""Of a size: what is larger fits no memory, and its products no address."""


@dataclass(frozen=True)
class TransformerSettings(Settings):
    n_layer: int = setting(4, "transformer blocks", least=1, most=_LARGEST)
    n_head: int = setting(4, "attention heads, a divisor of the width", least=1, most=_LARGEST)
    width: int = setting(128, "features of a token", least=1, most=_LARGEST)
    block_size: int = setting(64, "tokens that the model sees at once", least=1, most=_LARGEST)
    dropout: float = setting(0.0, "probability of dropping a feature", least=0.0, below=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.n_head:
            raise UsageError(f"n_head must divide the width {self.width}, not {self.n_head}")


@dataclass(frozen=True)
class Text:
    """A corpus as tokens."""

    settings: DataSettings

    corpus: Corpus
    tokenizer: Tokenizer
    train: Ids
    validation: Ids
    """The first tokens of the held-out part, those of an evaluation."""

    music: Chorales | None = None
    """The pieces, where the text is music."""

    def batches(self, block: int, batch: int, rng: Generator) -> TokenBatches:
        """Random windows of the training part. Raises InputError where there are too few tokens."""
        if len(self.validation) < 2:
            raise InputError(
                f"{self.corpus.name}: its held-out part has fewer than the two tokens that an "
                "evaluation needs; give a longer text or a larger --data.held-out"
            )
        starts = self._line_starts() if self.settings.windows == "lines" else None
        try:
            change = transposed(self.settings.transpose) if self.music else None
            return TokenBatches(self.train, block, batch, rng, starts, change)
        except InputError as error:
            raise InputError(f"{self.corpus.name}: {error}") from error

    def _line_starts(self) -> Tokens:
        """Where the newlines before lines stand: what an empty prompt begins with too."""
        newline = self.tokenizer.encode("\n")
        if len(newline) != 1:
            raise UsageError("windows of lines need a tokenizer with a token for a newline")
        return np.flatnonzero(self.train == newline[0])


def read_text(data: DataSettings) -> Text:
    """The text that `--data` names. Raises InputError, UnavailableError."""
    kind = data.tokenizer
    if kind == "music" or (kind == "auto" and is_music(data.source)):
        return _music(data)
    if kind == "auto":
        kind = "char" if data.source == "tinyshakespeare" else "byte"
        kind = "atoms" if data.notation == "selfies" else kind
    given = None if kind in TOKENIZERS else load_tokenizer(kind)
    raw = data.tokenizer in ("byte", "bpe") or isinstance(given, (ByteTokenizer, BPETokenizer))
    corpus = read_corpus(data.source, field=data.field, raw=raw)
    if data.notation == "selfies":
        corpus = corpus_in_selfies(corpus)
    train, validation = split(corpus, data.held_out)
    tokenizer = given or _made(kind, data, corpus, train)
    if data.fim:
        rng = Generator(0)  # the text is one text, whatever the seed of a run
        ids = infilled(list(train.documents), Infilling(tokenizer), data.fim, FIM_PIECE, rng)
        learned: Ids = ids.astype(np.min_scalar_type(tokenizer.vocab_size - 1))
    else:
        learned = tokenizer.encode(train.stream)
    return Text(
        data,
        corpus,
        tokenizer,
        learned,
        tokenizer.encode(validation.stream)[: data.eval_tokens],
    )


def _music(data: DataSettings) -> Text:
    music, tokenizer = read_music(data.source, data.held_out), MusicTokenizer()
    train, validation = (
        tokenizer.encode("\n" + "\n".join(map(as_text, part)) + "\n")
        for part in (music.train, music.validation)
    )
    validation = validation[: data.eval_tokens]
    return Text(data, music.corpus, tokenizer, train, validation, music)


def _made(kind: str, data: DataSettings, corpus: Corpus, train: Corpus) -> Tokenizer:
    """A tokenizer of this corpus. What is held out teaches it its characters alone."""
    if kind == "byte":
        return ByteTokenizer()
    if kind == "bpe":
        marks = MARKS if data.fim else ()
        return BPETokenizer.train(train.documents, data.vocab_size, special_tokens=marks)
    made = AtomTokenizer if kind == "atoms" else CharTokenizer
    return made.train(corpus.text)


def encoded(tokenizer: Tokenizer, text: str) -> Ids:
    """A text from the command line; a tokenizer of bytes takes its very bytes."""
    exact = isinstance(tokenizer, (ByteTokenizer, BPETokenizer))
    return tokenizer.encode(as_typed(text) if exact else text)


def as_typed(text: str) -> bytes:
    """The bytes of an argument of the command line."""
    return text.encode(errors="surrogateescape")


def require_corpus(corpus: Corpus, data: DataSettings, sha256: str) -> None:
    """Raise InputError unless a corpus is the one that a run was trained on."""
    if sha256 != corpus.sha256:
        raise InputError(
            f"the data {data.source!r} are not what the run was trained on: their sha256 is "
            f"{corpus.sha256}, it was {sha256}; restore the data"
        )
