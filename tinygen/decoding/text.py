"""Tokens as text while they come: characters as soon as they are complete, and stop strings.

A `vocabulary` is the bytes of every token, None for one that is no text, such as the token that
ends one.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from tinygen.decoding.processors import Context
from tinygen.decoding.rows import Step
from tinygen.errors import UsageError

Vocabulary: TypeAlias = Sequence[bytes | None]


class StopStrings:
    """Ends a row whose added text holds one of the `stops`; one that never comes ends nothing."""

    def __init__(self, stops: Iterable[str], vocabulary: Vocabulary) -> None:
        self.stops = as_stops(stops)
        self.vocabulary = vocabulary
        self.longest = max(map(len, self.stops), default=0)

    def finished(self, context: Context) -> bool:
        # A stop string that the last token completes begins less than `longest` bytes before it.
        tail, last = b"", 0
        for place, token in enumerate(context.added[::-1]):
            if place == 1:
                last = len(tail)
            if place and len(tail) - last >= self.longest - 1:
                break
            tail = (self.vocabulary[token] or b"") + tail
        return any(stop in tail for stop in self.stops)


def stream_text(
    steps: Iterable[Step], vocabulary: Vocabulary, stops: Iterable[str] = ()
) -> Iterator[str]:
    """The text of the first row of the `steps`, in pieces, up to the first of the `stops`.

    What may be the beginning of a stop string, or of a character, is held back until that is
    decided. Bytes that are no UTF-8 become U+FFFD.
    """
    wanted, held = as_stops(stops), b""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for step in steps:
        held += vocabulary[step.tokens[0]] or b""
        found = min((held.find(stop) for stop in wanted if stop in held), default=None)
        if found is not None:
            yield decoder.decode(held[:found], final=True)
            return
        safe = len(held) - max((_overlap(held, stop) for stop in wanted), default=0)
        yield decoder.decode(held[:safe])
        held = held[safe:]
    yield decoder.decode(held, final=True)


def as_stops(stops: Iterable[str]) -> list[bytes]:
    """Stop strings as bytes. Raises UsageError for an empty one, and for a string in place of a
    list."""
    given = list(stops)
    if isinstance(stops, (str, bytes)) or not all(isinstance(s, str) and s for s in given):
        raise UsageError(
            "stop strings are a list of texts that are not empty, such as ['\\n\\n'], not "
            f"{stops!r}."
        )
    return [stop.encode(errors="surrogateescape") for stop in given]


def _overlap(text: bytes, stop: bytes) -> int:
    """The length of the longest end of `text` that `stop`, which is not in it, begins with."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
