"""The files of a BPE tokenizer: tokenizer.json, vocab.json with merges.txt, and .tiktoken."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygen.data.reading import read_file
from tinygen.data.tokenizers.base import read_state
from tinygen.data.tokenizers.bpe import huggingface
from tinygen.data.tokenizers.bpe.merging import Pair
from tinygen.data.tokenizers.bpe.patterns import GPT2
from tinygen.errors import InputError, UsageError
from tinygen.files import StrPath, write_atomically

NAMES = {"gpt2": "gpt2", "r50k": "gpt2", "p50k": "gpt2", "cl100k": "cl100k", "o200k": "o200k"}
"""Patterns by what the name of a .tiktoken file begins with; it holds no pattern itself."""


def load(make: Any, path: StrPath, **options: Any) -> Any:
    place = Path(path)
    try:
        if place.is_dir():
            if (place / "tokenizer.json").exists():
                place = place / "tokenizer.json"
            else:
                return _of_folder(make, place, **options)
        if place.suffix == ".tiktoken":
            return _of_ranks(make, place, **options)
        if options:
            raise UsageError(
                f"{place} says itself what {', '.join(options)} are; only a .tiktoken file does not"
            )
        return huggingface.from_json(make, read_state(place))
    except InputError as error:
        told = str(error)
        raise error if str(place) in told else InputError(f"{place}: {told}") from error


def save(tokenizer: Any, path: StrPath) -> None:
    place = Path(path)
    if place.suffix == ".tiktoken":
        write_atomically(place, _as_ranks(tokenizer))
    elif place.suffix == ".json":
        write_atomically(place, _json(huggingface.as_json(tokenizer)))
    else:
        _require_gpt2(tokenizer)
        model = huggingface.as_json(tokenizer)["model"]
        lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
        vocab = model["vocab"] | tokenizer.special_tokens
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / "merges.txt", ("\n".join(lines) + "\n").encode())
        write_atomically(place / "vocab.json", _json(vocab))


def _json(data: Any) -> bytes:
    return (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode()


# ---- vocab.json and merges.txt: GPT-2's ----------------------------------------------------------


def _of_folder(make: Any, folder: Path) -> Any:
    vocab = read_state(folder / "vocab.json")
    try:
        text = read_file(folder / "merges.txt").decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{folder / 'merges.txt'} is no UTF-8: {error}") from error
    lines = [line for line in text.split("\n") if line.strip()]
    merges = lines[1:] if lines and lines[0].startswith("#version") else lines
    made = {"".join(line.split(" ")) for line in merges}
    plain = {name for name in vocab if len(name) == 1 or name in made}
    special = [
        {"content": name, "id": i, "special": True}
        for name, i in vocab.items()
        if name not in plain
    ]
    whole = {name: i for name, i in vocab.items() if name in plain}
    return huggingface.from_json(
        make,
        {
            "added_tokens": special,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "model": {"vocab": whole, "merges": merges},
        },
    )


def _require_gpt2(tokenizer: Any) -> None:
    if tokenizer.pattern != GPT2 or tokenizer.added_tokens or tokenizer.nfc:
        raise UsageError(
            "vocab.json and merges.txt have no place for a pattern other than GPT-2's, a normal "
            "form or added tokens; save it as tokenizer.json"
        )


# ---- .tiktoken: a token in base64 and its rank, a line each --------------------------------------


def _of_ranks(
    make: Any,
    path: Path,
    pattern: str | None = None,
    special_tokens: Mapping[str, int] | None = None,
) -> Any:
    named = (known for start, known in NAMES.items() if path.name.startswith(start))
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_file(path).splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            token, rank = base64.b64decode(parts[0], validate=True), int(parts[1])
        except (IndexError, ValueError, binascii.Error) as error:
            raise InputError(
                f"{path}: line {number} is no token in base64 and its rank ({error})"
            ) from error
        if not token or token in ranks or not 0 <= rank < huggingface.MOST_IDS:
            raise InputError(
                f"{path}: line {number} repeats a token, or gives none, or rank {rank}"
            )
        ranks[token] = rank
    if len(set(ranks.values())) != len(ranks) or not ranks:
        raise InputError(f"{path}: a rank stands twice, or there is none")
    specials = dict(special_tokens or {})
    tokens: list[bytes | None] = [None] * (1 + max([*ranks.values(), *specials.values()]))
    for token, rank in ranks.items():
        tokens[rank] = token
    taken = [name for name, i in specials.items() if i < 0 or tokens[i] is not None]
    if taken:
        raise InputError(f"the special token {taken[0]!r} has the id of another token")
    merges, products = pairs_of(ranks)
    return make(
        tokens,
        merges,
        products=products,
        ranks=products,
        pattern=pattern or next(named, "cl100k"),
        special_tokens=specials,
        whole_first=True,
    )


def pairs_of(ranks: Mapping[bytes, int]) -> tuple[list[Pair], list[int]]:
    """Every pair of tokens whose bytes together are a token, in the order of what they make: a file
    of ranks lets any two neighbours join that make a token, the lowest rank first."""
    merges, products = [], []
    for token, rank in sorted(ranks.items(), key=lambda entry: entry[1]):
        for cut in range(1, len(token)):
            left, right = ranks.get(token[:cut]), ranks.get(token[cut:])
            if left is not None and right is not None:
                merges.append((left, right))
                products.append(rank)
    return merges, products


def _as_ranks(tokenizer: Any) -> bytes:
    """Ids as ranks, where those order merges alike: ids in the order in which merges make them."""
    products = tokenizer.products
    if any(a > b for a, b in itertools.pairwise(products)):
        raise UsageError(
            "a .tiktoken file has ids for ranks, and this tokenizer's merges are in another order; "
            "save it as tokenizer.json"
        )
    lines = [
        base64.b64encode(token) + b" %d\n" % i
        for i, token in enumerate(tokenizer.tokens)
        if token is not None
    ]
    return b"".join(lines)
