"""How a text is cut into pieces, within which merges stay: the patterns of well-known models.

They are written in the Unicode classes of the `regex` package (version 2026.11 has Unicode 17.0). A
code point that is younger than another library's tables is no letter there, and may be cut another
way.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tinygen.errors import InputError, UnavailableError

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Radford et al. 2019; also r50k and p50k."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

CL100K = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
"""GPT-4, and Llama 3: numbers are cut every three digits, a word takes one sign before it along."""

QWEN2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"
"""Qwen2 and Qwen3: every digit is a piece of its own."""

_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""GPT-4o: a capital inside a word begins a piece."""

PATTERNS = {"gpt2": GPT2, "cl100k": CL100K, "qwen2": QWEN2, "o200k": O200K}


def pattern_named(name: str) -> str:
    """The pattern of a name, or `name` itself, which InputError says is no pattern."""
    text = PATTERNS.get(name, name)
    compiled(text)
    return text


@cache
def compiled(pattern: str) -> Any:
    """Raises UnavailableError without the package, InputError where it is no pattern."""
    try:
        import regex
    except ImportError as error:
        raise UnavailableError(
            "byte-pair encoding needs the package regex, for the Unicode classes of its patterns: "
            'pip install "tinygen[bpe]".'
        ) from error
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise InputError(
            f"{pattern!r} is no split pattern ({error}); name one of {', '.join(PATTERNS)}, or "
            "give a regular expression"
        ) from error
