"""A writer from a folder of the transformers package, and into one.

Beside the model stands its tokenizer: `tokenizer.json`, or `vocab.json` and `merges.txt` in older
folders; one of characters or bytes, which others cannot read, has a name of its own.
"""

import json
from contextlib import suppress
from pathlib import Path

from tinygen.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer, load_tokenizer
from tinygen.errors import InputError
from tinygen.files import StrPath, atomic_folder
from tinygen.models.transformer import GPT, Llama, from_pretrained, save_pretrained
from tinygen.recipes.devices import usable_device
from tinygen.recipes.writing import Writer

TOKENIZER = "tinygen-tokenizer.json"


def holds_model(folder: StrPath) -> bool:
    """Whether `folder` is one of the transformers package, which names its `model_type`."""
    with suppress(OSError, ValueError):
        settings = json.loads(Path(folder, "config.json").read_bytes())
        return isinstance(settings, dict) and "model_type" in settings
    return False


def pretrained(folder: StrPath, device: str | None = None) -> Writer:
    """The model in a folder, with its tokenizer, on `device` ("cpu" if left out).

    A text ends with the folder's `eos_token_id`, if it has one. Raises CheckpointError, InputError
    where there is no tokenizer, UnavailableError.
    """
    device = usable_device(device or "cpu")
    model = from_pretrained(folder)
    ends = model.special_tokens.get("eos_token_id")
    return Writer(
        model,
        _tokenizer(Path(folder), model.config.vocab_size),
        device,
        ends=[end for end in (ends if isinstance(ends, list) else [ends]) if end is not None],
    )


def export(writer: Writer, folder: StrPath) -> None:
    """Write a writer's model and tokenizer as the new folder `folder`. Raises OutputError."""
    assert isinstance(writer.model, (GPT, Llama))
    with atomic_folder(folder) as unfinished:
        save_pretrained(writer.model, unfinished)
        shared = isinstance(writer.tokenizer, BPETokenizer)
        writer.tokenizer.save(unfinished / ("tokenizer.json" if shared else TOKENIZER))


def _tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    for name in (TOKENIZER, "tokenizer.json"):
        if (folder / name).exists():
            return load_tokenizer(folder / name)
    if (folder / "vocab.json").exists():
        return load_tokenizer(folder)
    if vocab_size == ByteTokenizer().vocab_size:
        return ByteTokenizer()
    raise InputError(
        f"{folder} has no tokenizer.json, and a vocabulary of {vocab_size} is not that of bytes; "
        "put the model's tokenizer.json beside it"
    )
