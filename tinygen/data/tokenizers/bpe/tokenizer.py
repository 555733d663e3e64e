"""The byte-level BPE tokenizer (Radford et al. 2019, section 2.2): any bytes have ids."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from tinygen.arguments import integer
from tinygen.data.tokenizers.base import Ids, State, Tokenizer, require_text
from tinygen.data.tokenizers.bpe import files, huggingface
from tinygen.data.tokenizers.bpe.alphabet import BYTES
from tinygen.data.tokenizers.bpe.merging import Pair, merged
from tinygen.data.tokenizers.bpe.patterns import compiled, pattern_named
from tinygen.data.tokenizers.bpe.training import Progress, learned
from tinygen.errors import InputError, UsageError
from tinygen.files import StrPath

Specials = Collection[str] | Literal["all"]

SURROGATES = "surrogateescape"
"""How bytes that are no UTF-8 pass through a pattern of characters, as none of its letters."""
LARGE = 1 << 24
"""Characters from which on the pieces of a text are made one after another, to save memory."""
KEPT = 1 << 20
"""Pieces whose ids are kept; from then on everything is forgotten and begun again."""


class BPETokenizer(Tokenizer):
    """`tokens` are the bytes of each id (None for one that no text has), and `merges` the pairs of
    ids that are joined, the first ones first; `products` are the ids of what they make.

    A text is cut into pieces by `pattern` (see `patterns.py`), a name or a regular expression, and
    each piece is merged by itself. With `whole_first` a piece that is a token is that token,
    whatever the merges say. `special_tokens`, text to id, are no text unless a caller allows them,
    so that nobody can write one into a prompt; `added_tokens` are found in every text. With `nfc` a
    text is first brought to Unicode's normal form C, and `decode(encode(x))` gives that; with
    `prefix_space` it is given a space in front.
    """

    kind = "bpe"

    def __init__(
        self,
        tokens: Sequence[bytes | None],
        merges: Sequence[Pair],
        *,
        products: Sequence[int] | None = None,
        pattern: str = "cl100k",
        special_tokens: Mapping[str, int] | None = None,
        added_tokens: Mapping[str, int] | None = None,
        ranks: Sequence[int] | None = None,
        whole_first: bool = False,
        nfc: bool = False,
        prefix_space: bool = False,
    ) -> None:
        self.tokens, self.merges = list(tokens), [(a, b) for a, b in merges]
        self.pattern = pattern_named(pattern)
        self.special_tokens, self.added_tokens = (
            dict(special_tokens or {}),
            dict(added_tokens or {}),
        )
        self.whole_first, self.nfc, self.prefix_space = whole_first, nfc, prefix_space
        id_of = self._ids()
        made = self.products = self._products(id_of) if products is None else list(products)
        places = range(len(self.merges)) if ranks is None else ranks
        self._merges: dict[Pair, tuple[int, int]] = {}
        for pair, rank, product in zip(self.merges, places, made, strict=True):
            self._merges.setdefault(pair, (rank, product))
        self._whole = id_of if whole_first else {}
        self._id_of_byte = [id_of.get(bytes([byte]), -1) for byte in range(256)]
        if -1 in self._id_of_byte:
            raise InputError(
                f"the byte {self._id_of_byte.index(-1)} has no token: this is no byte-level "
                "vocabulary"
            )
        for text in (*self.special_tokens, *self.added_tokens):
            if not text:
                raise InputError("a special token is the empty text, which is everywhere")
        self._pieces = PieceIds(self._piece)

    @classmethod
    def train(
        cls,
        text: str | bytes | Iterable[str | bytes],
        vocab_size: int = 1024,
        *,
        pattern: str = "cl100k",
        special_tokens: Sequence[str] = (),
        min_frequency: int = 1,
        progress: Progress | None = None,
    ) -> Self:
        """Learn merges from a text, or from several, until there are `vocab_size` ids: 256 bytes,
        the merges, then the special tokens. Fewer where no pair occurs `min_frequency` times."""
        specials = list(dict.fromkeys(special_tokens))
        size = integer("vocab_size", vocab_size, least=256 + len(specials))
        cut = compiled(pattern_named(pattern)).findall
        counts: Counter[str] = Counter()
        for part in [text] if isinstance(text, (str, bytes)) else text:
            counts.update(cut(_as_str(part)))
        pieces = {piece.encode("utf-8", SURROGATES): count for piece, count in counts.items()}
        least = integer("min_frequency", min_frequency, least=1)
        merges = learned(pieces, size - 256 - len(specials), least, progress)
        tokens: list[bytes | None] = list(BYTES)
        for left, right in merges:
            tokens.append((tokens[left] or b"") + (tokens[right] or b""))
        special = {name: len(tokens) + i for i, name in enumerate(specials)}
        made = range(256, 256 + len(merges))
        return cls(
            [*tokens, *(None for _ in special)],
            merges,
            products=made,
            pattern=pattern,
            special_tokens=special,
        )

    # ---- ids

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str | bytes, *, allowed_special: Specials = ()) -> Ids:
        """Bytes may be any; a string must have UTF-8 bytes. Special tokens that stand in the text
        are ids of their own only if they are allowed, by name or "all"."""
        text = _as_str(text)
        known = {**self.added_tokens, **self._allowed(allowed_special)}
        if not known:
            found = self._text_ids(text)
        else:
            longest_first = sorted(known, key=len, reverse=True)
            cut = re.compile("|".join(map(re.escape, longest_first)))
            found, place = iter(()), 0
            for special in cut.finditer(text):
                before = self._text_ids(text[place : special.start()])
                found = chain(found, before, (known[special.group()],))
                place = special.end()
            found = chain(found, self._text_ids(text[place:]))
        return np.fromiter(found, np.min_scalar_type(self.vocab_size - 1))

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        held = self._bytes_of
        return b"".join([held[i] for i in self.checked(ids).tolist()])

    def _allowed(self, allowed: Specials) -> dict[str, int]:
        if allowed == "all":
            return self.special_tokens
        unknown = [name for name in allowed if name not in self.special_tokens]
        if unknown:
            raise UsageError(
                f"{unknown[0]!r} is none of the special tokens "
                f"{', '.join(self.special_tokens) or '(there are none)'}"
            )
        return {name: self.special_tokens[name] for name in allowed}

    def _text_ids(self, text: str) -> Iterator[int]:
        """The ids of a text without special tokens."""
        if self.nfc:
            text = unicodedata.normalize("NFC", text)
        if self.prefix_space and text and not text.startswith(" "):
            text = " " + text
        cut = compiled(self.pattern)
        pieces: Iterable[str] = (
            cut.findall(text)
            if len(text) < LARGE
            else (piece.group() for piece in cut.finditer(text))
        )
        if len(self._pieces) > KEPT:
            self._pieces.clear()
        return chain.from_iterable(map(self._pieces.__getitem__, pieces))

    def _piece(self, piece: bytes) -> list[int]:
        whole = self._whole.get(piece)
        if whole is not None:
            return [whole]
        return merged([self._id_of_byte[byte] for byte in piece], self._merges)

    @cached_property
    def _bytes_of(self) -> list[bytes]:
        names = {i: name for name, i in (self.special_tokens | self.added_tokens).items()}
        return [
            names.get(i, "").encode() if token is None else token
            for i, token in enumerate(self.tokens)
        ]

    def _ids(self) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for i, token in enumerate(self.tokens):
            if token is not None and found.setdefault(token, i) != i:
                raise InputError(f"the token {token!r} has two ids, {found[token]} and {i}")
        return found

    def _products(self, id_of: Mapping[bytes, int]) -> list[int]:
        made = []
        for left, right in self.merges:
            ends = [self.tokens[i] if 0 <= i < len(self.tokens) else None for i in (left, right)]
            whole = b"".join(end for end in ends if end is not None)
            if None in ends or whole not in id_of:
                raise InputError(f"the merge of ids {left} and {right} makes no token")
            made.append(id_of[whole])
        return made

    # ---- files

    @property
    def state(self) -> State:
        """Its tokenizer.json as one string: tokens are no names, and may hold any character."""
        return {"kind": self.kind, "tokenizer": json.dumps(huggingface.as_json(self))}

    @classmethod
    def from_state(cls, state: State) -> Self:
        try:
            data = json.loads(state.get("tokenizer", ""))
        except (TypeError, ValueError) as error:
            raise InputError(f"the state of a bpe tokenizer holds no JSON ({error})") from error
        return huggingface.from_json(cls, data)

    def save(self, path: StrPath) -> None:
        """By its name: `X.tiktoken`, `X.json` (as the tokenizers package has it), or a folder for
        vocab.json and merges.txt."""
        files.save(self, path)

    @classmethod
    def load(cls, path: StrPath, **options: Any) -> Self:
        """Read a tokenizer.json, a folder that holds one or vocab.json and merges.txt, or a
        .tiktoken file, for which `pattern` and `special_tokens` may be given. Raises InputError."""
        return files.load(cls, path, **options)


class PieceIds(dict[str, tuple[int, ...]]):
    """The ids of each piece that was met, made when it is first asked for."""

    def __init__(self, ids_of: Callable[[bytes], list[int]]) -> None:
        self.ids_of = ids_of

    def __missing__(self, piece: str) -> tuple[int, ...]:
        self[piece] = ids = tuple(self.ids_of(piece.encode("utf-8", SURROGATES)))
        return ids


def _as_str(text: Any) -> str:
    """Characters, and one lone surrogate for each byte that is no UTF-8."""
    require_text(text)
    if isinstance(text, bytes):
        return text.decode("utf-8", SURROGATES)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"half a surrogate pair (U+{ord(text[error.start]):04X}) at position {error.start} "
            "has no UTF-8 bytes; remove it, or read the text as bytes"
        ) from error
    return str(text)
