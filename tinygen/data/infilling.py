"""Fill-in-the-middle (Bavarian et al. 2022, arXiv:2207.14255): a piece of text whose middle comes
last, so that a model that only goes on with a text learns to fill a gap.

    PSM   <|fim_prefix|> prefix <|fim_suffix|> suffix <|fim_middle|> middle <|fim_end|>
    SPM   <|fim_prefix|> <|fim_suffix|> suffix <|fim_middle|> prefix middle <|fim_end|>

SPM has the prefix and the middle in one, as section 3 of the paper has it, so that the model goes
on where the cursor stands.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinygen.data.tokenizers import BPETokenizer, Tokenizer
from tinygen.errors import UsageError
from tinygen.random import Generator

PREFIX, SUFFIX, MIDDLE, END = MARKS = (
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_end|>",
)
"""Special tokens of a tokenizer that is to infill."""

Order = Literal["psm", "spm"]
ORDERS: tuple[Order, Order] = ("psm", "spm")
Ids = NDArray[np.int64]


class Infilling:
    """Texts of a tokenizer with `MARKS` among its special tokens. Raises UsageError without."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        specials = tokenizer.special_tokens if isinstance(tokenizer, BPETokenizer) else {}
        missing = [mark for mark in MARKS if mark not in specials]
        if missing:
            raise UsageError(
                f"fill-in-the-middle needs a tokenizer with the special token {missing[0]}; learn "
                "one with --tokenizer bpe, or by tinygen tokenizer train with --special"
            )
        self.tokenizer = tokenizer
        self.prefix, self.suffix, self.middle, self.end = (specials[mark] for mark in MARKS)

    def prompt(self, prefix: str | bytes, suffix: str | bytes, order: Order = "psm") -> Ids:
        """What a model is to go on with, up to `end`: the middle follows."""
        before, after = self._ids(prefix), self._ids(suffix)
        if order == "psm":
            return self._joined([self.prefix], before, [self.suffix], after, [self.middle])
        return self._joined([self.prefix, self.suffix], after, [self.middle], before)

    def example(
        self, prefix: str | bytes, middle: str | bytes, suffix: str | bytes, order: Order = "psm"
    ) -> Ids:
        """A whole text to learn from."""
        return self._joined(self.prompt(prefix, suffix, order), self._ids(middle), [self.end])

    def drawn(self, text: bytes, rng: Generator) -> Ids:
        """`text`, cut at two places that are drawn with equal chance, in an order that is drawn
        too. Cuts are between characters; bytes that are no UTF-8 count as one each."""
        characters = text.decode("utf-8", "surrogateescape")
        first, second = sorted(int(i) for i in rng.integers(0, len(characters) + 1, (2,)))
        prefix, middle, suffix = (
            part.encode("utf-8", "surrogateescape")
            for part in (characters[:first], characters[first:second], characters[second:])
        )
        order: Order = "psm" if int(rng.integers(0, 2, ())) else "spm"
        return self.example(prefix, middle, suffix, order)

    def pieces(self, ids: Ids) -> tuple[bytes, bytes, bytes]:
        """(prefix, middle, suffix) of an `example` in either order. Of SPM, where one ends and the
        other begins is not told: what both have stands in the middle."""
        place = {mark: int(np.flatnonzero(ids == mark)[0]) for mark in self._marks}
        after = ids[place[self.suffix] + 1 : place[self.middle]]
        before = ids[place[self.prefix] + 1 : place[self.suffix]]
        inside = ids[place[self.middle] + 1 : place[self.end]]
        prefix, middle, suffix = (
            self.tokenizer.decode_bytes(part) for part in (before, inside, after)
        )
        return prefix, middle, suffix

    @property
    def _marks(self) -> tuple[int, ...]:
        return self.prefix, self.suffix, self.middle, self.end

    def _ids(self, text: str | bytes) -> Ids:
        return self.tokenizer.encode(text).astype(np.int64)

    @staticmethod
    def _joined(*parts: Any) -> Ids:
        return np.concatenate([np.asarray(part, np.int64) for part in parts])


def infilled(
    documents: list[bytes], infilling: Infilling, rate: float, length: int, rng: Generator
) -> Ids:
    """The documents one after the other as ids, in pieces of `length` bytes of which about `rate`
    are rearranged: a model sees little more than a piece at once, and a gap must be within it."""
    parts: list[Ids] = []
    for document in documents:
        for start in range(0, len(document), length):
            piece = document[start : start + length]
            if float(rng.uniform(())) < rate:
                parts.append(infilling.drawn(piece, rng))
            else:
                parts.append(infilling.tokenizer.encode(piece).astype(np.int64))
        parts.append(infilling.tokenizer.encode(b"\n").astype(np.int64))
    return np.concatenate(parts)
