"""The longest run of bytes that two texts have in common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.errors import DtypeError
from tinygen.evaluation import Overlap, longest_overlap

few = st.binary(max_size=40).map(lambda data: bytes(byte % 3 for byte in data))


def slowly(text: bytes, other: bytes) -> Overlap:
    places = ((i, j) for j in range(len(text) + 1) for i in range(j))
    runs = [(i, j - i) for i, j in places if text[i:j] in other]
    return Overlap(*max(runs, key=lambda run: (run[1], -run[0]), default=(0, 0)))


@given(few, few)
def test_it_is_what_looking_at_every_run_finds(text: bytes, other: bytes) -> None:
    assert longest_overlap(text, other) == slowly(text, other)


def test_a_planted_run_is_found_in_a_large_text() -> None:
    rng = np.random.default_rng(0)
    other = rng.integers(0, 26, 300_000, np.uint8).tobytes()
    text = rng.integers(0, 26, 5_000, np.uint8).tobytes() + other[200_000:200_100]
    found = longest_overlap(text + b"\xff" * 50, other)
    assert found == Overlap(5_000, 100) or found.length > 100
    assert longest_overlap(b"", other) == longest_overlap(other, b"") == Overlap(0, 0)
    assert longest_overlap(other, other) == Overlap(0, len(other))


def test_a_string_is_no_bytes() -> None:
    with pytest.raises(DtypeError, match="encode a text first"):
        longest_overlap("text", b"text")  # type: ignore[arg-type]
