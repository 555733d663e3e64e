"""A tokenizer from a file or a state, of whichever class it is."""

from pathlib import Path

from tinygen.data.tokenizers.atoms import AtomTokenizer
from tinygen.data.tokenizers.base import State, Tokenizer, read_state
from tinygen.data.tokenizers.bpe import BPETokenizer
from tinygen.data.tokenizers.byte import ByteTokenizer
from tinygen.data.tokenizers.char import CharTokenizer
from tinygen.data.tokenizers.music import MusicTokenizer
from tinygen.errors import InputError
from tinygen.files import StrPath

_CLASSES: dict[str, type[Tokenizer]] = {
    cls.kind: cls
    for cls in (ByteTokenizer, CharTokenizer, AtomTokenizer, BPETokenizer, MusicTokenizer)
}


def load_tokenizer(path: StrPath) -> Tokenizer:
    """Read what any tokenizer's `save` wrote, or other files that `BPETokenizer.load` reads. Raises
    InputError."""
    if Path(path).is_dir() or Path(path).suffix == ".tiktoken":
        return BPETokenizer.load(path)
    state = read_state(path)
    if "model" in state:
        return BPETokenizer.load(path)
    try:
        return tokenizer_from_state(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def tokenizer_from_state(state: State) -> Tokenizer:
    """The tokenizer that a run's config embeds. Raises InputError."""
    kind = state.get("kind")
    if not isinstance(kind, str) or kind not in _CLASSES:
        known = ", ".join(map(repr, _CLASSES))
        raise InputError(f"no tokenizer is of kind {kind!r}; there are {known}")
    return _CLASSES[kind].from_state(state)
