"""What every tokenizer can do, and what they share."""

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.data.corpus import decode_utf8
from tinygen.data.reading import read_file
from tinygen.errors import DtypeError, InputError, OutOfRangeError, ShapeError
from tinygen.files import StrPath, write_atomically

Ids = NDArray[np.unsignedinteger[Any]]
State = dict[str, Any]


class Tokenizer(ABC):
    """Ids are 0 ... vocab_size - 1, in the smallest unsigned dtype that holds them.

    So an encoded corpus takes no more memory than its text did; batches widen what they hand out.
    """

    kind: ClassVar[str]  # names the class in a saved state

    @property
    @abstractmethod
    def vocab_size(self) -> int: ...

    @abstractmethod
    def encode(self, text: str | bytes) -> Ids:
        """Ids (T,) of a text. InputError where it has no encoding."""

    @abstractmethod
    def decode_bytes(self, ids: ArrayLike) -> bytes:
        """The exact bytes that the ids (T,) stand for."""

    @property
    @abstractmethod
    def state(self) -> State:
        """All that is needed to make it again, as JSON values."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: State) -> Self:
        """The tokenizer of a `state`. InputError where the state is damaged."""

    def decode(self, ids: ArrayLike) -> str:
        """The text of the ids (T,); bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, path: StrPath) -> None:
        """Write the state as JSON, atomically."""
        write_atomically(path, (json.dumps(self.state, indent=1) + "\n").encode("ascii"))

    @classmethod
    def load(cls, path: StrPath) -> Self:
        """Read what `save` of this class wrote; `load_tokenizer` reads any class."""
        state = read_state(path)
        if state.get("kind") != cls.kind:
            raise InputError(
                f"{path} holds a tokenizer of kind {state.get('kind')!r}, "
                f"{cls.__name__} reads {cls.kind!r}; use load_tokenizer"
            )
        return cls.from_state(state)

    def checked(self, ids: ArrayLike) -> NDArray[np.integer[Any]]:
        """The ids as an array (T,), each known to be 0 ... vocab_size - 1."""
        array = np.asarray(ids)
        if array.ndim != 1:
            raise ShapeError(f"ids of shape {array.shape}: decode takes one sequence, shape (T,)")
        if array.size == 0:
            return np.empty(0, np.uint8)
        if not np.issubdtype(array.dtype, np.integer):
            raise DtypeError(f"ids of dtype {array.dtype}: decode takes integers")
        wrong = np.flatnonzero((array < 0) | (array >= self.vocab_size))
        if wrong.size:
            position = int(wrong[0])
            raise OutOfRangeError(
                f"id {array[position]} at position {position} is outside the vocabulary "
                f"0 ... {self.vocab_size - 1}"
            )
        return array


def require_text(text: Any) -> None:
    """Raise DtypeError unless `text` is a string or bytes."""
    if not isinstance(text, (str, bytes)):
        raise DtypeError(f"a text is a string or bytes, not {type(text).__name__}")


def as_str(text: str | bytes) -> str:
    """The characters of a text; InputError where bytes are no UTF-8."""
    require_text(text)
    return text if isinstance(text, str) else decode_utf8(text, "the text")


def read_state(path: StrPath) -> State:
    """The JSON object in the file `path`, of whichever kind. Raises InputError."""
    try:
        state = json.loads(read_file(path))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} holds no tokenizer: not JSON ({error})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no tokenizer: its JSON is no object")
    return state
