"""Examples to learn from, one JSON object a line: what is given, and what is to be written.

    {"prompt": "2 + 2 =", "completion": " 4"}
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    {"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"}

A conversation is written as ChatML, in which every turn says whose it is and where it ends; what is
learned of it are the assistant's turns, with the end of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.data.corpus import decode_utf8
from tinygen.data.reading import read_file
from tinygen.data.tokenizers import Tokenizer
from tinygen.errors import InputError
from tinygen.files import StrPath

IGNORED = -1
"""The target of a token that is given and not learned."""

ROLES = ("system", "user", "assistant")
Segment = tuple[str, bool]
"""A piece of text, and whether it is learned."""


@dataclass(frozen=True)
class Example:
    """One way to write it, or, where the better of two is learned, `rejected` too."""

    segments: tuple[Segment, ...]
    rejected: tuple[Segment, ...] | None = None


def chat(messages: Sequence[Mapping[str, str]]) -> tuple[Segment, ...]:
    """A conversation as ChatML; a prompt ends where the assistant's turn begins."""
    found: list[Segment] = []
    for message in messages:
        found.append((f"<|im_start|>{message['role']}\n", False))
        found.append((f"{message['content']}<|im_end|>\n", message["role"] == "assistant"))
    return tuple(found)


def read_examples(path: StrPath) -> list[Example]:
    """Raises InputError, with the line's number, for what is no example; where there is none; and
    where some lines have a rejected answer and others not."""
    lines = decode_utf8(read_file(path), Path(path)).removeprefix("\ufeff").split("\n")
    found = [
        _example(line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise InputError(f"no examples in {path}: each line is a JSON object with a prompt")
    if len({example.rejected is None for example in found}) > 1:
        raise InputError(f"{path}: some lines have a 'rejected' answer and some have none")
    return found


def _example(line: str, place: str) -> Example:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error}); each line must be an object") from error
    if not isinstance(value, dict):
        raise InputError(f"{place}: a JSON {type(value).__name__}, where an object is needed")
    if "messages" in value:
        return Example(chat(_messages(value["messages"], place)))
    names = ("prompt", "chosen", "rejected") if "chosen" in value else ("prompt", "completion")
    texts = [_text(value, name, place) for name in names]
    ways = [((texts[0], False), (answer, True)) for answer in texts[1:]]
    return Example(*ways)


def _messages(given: Any, place: str) -> list[dict[str, str]]:
    if not isinstance(given, list) or not given:
        raise InputError(f"{place}: 'messages' is a list of objects with a role and a content")
    for message in given:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise InputError(f"{place}: a message's role is one of {', '.join(ROLES)}")
        _text(message, "content", place)
    if not any(message["role"] == "assistant" for message in given):
        raise InputError(f"{place}: no message is the assistant's, so there is nothing to learn")
    return given


def _text(value: Mapping[str, Any], name: str, place: str) -> str:
    if not isinstance(value.get(name), str):
        there = ", ".join(map(repr, value)) or "none"
        raise InputError(f"{place}: no text {name!r} (it has {there})")
    return str(value[name])


def encoded(
    segments: Sequence[Segment], tokenizer: Tokenizer, longest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens (T,) and their targets (T,), the tokens one place later or, if given, IGNORED.

    Each segment is encoded by itself, so that the answer's tokens do not depend on where the
    prompt was cut. Of an example of more than `longest` + 1 tokens the first are left out: the
    answer is at the end.
    """
    pieces = [tokenizer.encode(text).astype(np.int64) for text, _ in segments]
    learned = [np.full(len(p), own) for p, (_, own) in zip(pieces, segments, strict=True)]
    tokens, own = np.concatenate(pieces)[-longest - 1 :], np.concatenate(learned)[-longest - 1 :]
    return tokens[:-1], np.where(own[1:], tokens[1:], IGNORED)


def padded(
    rows: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of different lengths as (B, T) each, filled up behind with targets that are IGNORED: to
    a causal model what follows a row is nothing."""
    length = max(len(tokens) for tokens, _ in rows)
    tokens = np.zeros((len(rows), length), np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    for i, (row, wanted) in enumerate(rows):
        tokens[i, : len(row)], targets[i, : len(row)] = row, wanted
    return tokens, targets
