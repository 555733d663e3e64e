"""Each character (Unicode code point) of a training text is a token.

Both ways are one table look-up over the whole text: code point -> id and id -> code point.
"""

from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.data.tokenizers.base import Ids, State, Tokenizer, as_str
from tinygen.errors import InputError

_CODE_POINTS = "utf-32-le"  # a text's code points as an array, astral ones included


class CharTokenizer(Tokenizer):
    """Id i stands for `characters[i]`; `train` sorts them by code point."""

    kind = "char"

    def __init__(self, characters: str):
        if not characters:
            raise InputError("a character tokenizer needs at least one character")
        if len(set(characters)) != len(characters):
            twice = next(c for c in characters if characters.count(c) > 1)
            raise InputError(f"the character {_named(twice)} stands twice in the vocabulary")
        surrogate = next((c for c in characters if "\ud800" <= c <= "\udfff"), None)
        if surrogate is not None:
            raise InputError(
                f"the vocabulary holds half a surrogate pair ({_named(surrogate)}), which is no "
                "character; read the text as UTF-8"
            )
        self.characters = characters

    @classmethod
    def train(cls, text: str | bytes) -> Self:
        """The tokenizer of all characters in the text; bytes are read as UTF-8."""
        characters = set(as_str(text))
        if not characters:
            raise InputError("the text is empty: there are no characters to make tokens of")
        return cls("".join(sorted(characters)))

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def encode(self, text: str | bytes) -> Ids:
        """InputError names a character that is not in the vocabulary, and where it stands."""
        text = as_str(text)
        # "surrogatepass": half a pair is found below, as an unknown character.
        codes = np.frombuffer(text.encode(_CODE_POINTS, "surrogatepass"), "<u4")
        ids = self._id_of_code.take(codes, mode="clip")
        unknown = np.flatnonzero(ids == self.vocab_size)
        if unknown.size:
            position = int(unknown[0])
            raise InputError(
                f"unknown character {_named(text[position])} at position {position}: "
                f"it is not among the {self.vocab_size} characters of this tokenizer; "
                "leave it out, or train with the byte tokenizer"
            )
        return ids.astype(np.min_scalar_type(self.vocab_size - 1), copy=False)

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        codes: bytes = self._code_of_id[self.checked(ids)].tobytes()
        return codes.decode(_CODE_POINTS).encode("utf-8")

    @property
    def state(self) -> State:
        return {"kind": self.kind, "characters": self.characters}

    @classmethod
    def from_state(cls, state: State) -> Self:
        characters = state.get("characters")
        if not isinstance(characters, str):
            raise InputError("the state of a character tokenizer needs a string 'characters'")
        return cls(characters)

    @cached_property
    def _code_of_id(self) -> NDArray[np.uint32]:
        return np.frombuffer(self.characters.encode(_CODE_POINTS), "<u4")

    @cached_property
    def _id_of_code(self) -> NDArray[np.unsignedinteger[Any]]:
        """(largest code point + 2,) ids; vocab_size says "unknown".

        The last entry is always unknown, and larger code points are clipped to it.
        """
        codes = self._code_of_id
        table = np.full(int(codes.max()) + 2, self.vocab_size, np.min_scalar_type(self.vocab_size))
        table[codes] = np.arange(self.vocab_size)
        return table


def _named(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X})"
