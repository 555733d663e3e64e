"""Each of the 256 bytes is a token: nothing to train, nothing unknown, any file is text."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tinygen.data.tokenizers.base import Ids, State, Tokenizer, require_text
from tinygen.errors import InputError


class ByteTokenizer(Tokenizer):
    """ids = the UTF-8 bytes of the text, uint8."""

    kind = "byte"

    @property
    def vocab_size(self) -> int:
        return 256

    def encode(self, text: str | bytes) -> Ids:
        """Bytes are taken as they are. InputError where a string has half a surrogate pair."""
        return np.frombuffer(_as_bytes(text), np.uint8).copy()

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        return self.checked(ids).astype(np.uint8).tobytes()

    @property
    def state(self) -> State:
        return {"kind": self.kind}

    @classmethod
    def from_state(cls, state: State) -> Self:
        return cls()


def _as_bytes(text: str | bytes) -> bytes:
    require_text(text)
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"half a surrogate pair (U+{ord(text[error.start]):04X}) at position {error.start} "
            "has no UTF-8 bytes; remove it, or read the text as bytes"
        ) from error
