"""Fill-in-the-middle: every text is recoverable from its pieces, in both orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.infilling import MARKS, Infilling, infilled
from tinygen.data.tokenizers import BPETokenizer, ByteTokenizer
from tinygen.errors import UsageError
from tinygen.random import Generator

TOKENIZER = BPETokenizer.train("def f(x):\n    return x + 1\n" * 9, 290, special_tokens=MARKS)
INFILLING = Infilling(TOKENIZER)
texts = st.binary(max_size=30) | st.text(max_size=30).map(str.encode)


@given(texts, texts, texts, st.sampled_from(["psm", "spm"]))
def test_pieces_come_back(prefix: bytes, middle: bytes, suffix: bytes, order: str) -> None:
    ids = INFILLING.example(prefix, middle, suffix, order)  # type: ignore[arg-type]
    found = INFILLING.pieces(ids)
    assert found == ((prefix, middle, suffix) if order == "psm" else (b"", prefix + middle, suffix))
    prompt = INFILLING.prompt(prefix, suffix, order)  # type: ignore[arg-type]
    assert np.array_equal(ids[: len(prompt)], prompt)
    assert ids[-1] == INFILLING.end
    assert [int((ids == mark).sum()) for mark in INFILLING._marks] == [1, 1, 1, 1]


@given(texts, st.integers(0, 99))
def test_a_drawn_text_is_whole(text: bytes, seed: int) -> None:
    prefix, middle, suffix = INFILLING.pieces(INFILLING.drawn(text, Generator(seed)))
    assert prefix + middle + suffix == text


def test_both_orders_and_every_place_are_drawn() -> None:
    rng = Generator(0)
    drawn = [INFILLING.pieces(INFILLING.drawn(b"abc", rng)) for _ in range(300)]
    assert {middle for _, middle, _ in drawn} >= {b"", b"a", b"b", b"c", b"ab", b"bc", b"abc"}
    spm = sum(prefix == b"" and suffix != b"abc" for prefix, _, suffix in drawn)
    assert 100 < spm < 250  # half of them, and of PSM those whose prefix is empty


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (1.0, 20, 20), (0.5, 3, 17)])
def test_about_so_many_pieces_are_rearranged(rate: float, least: int, most: int) -> None:
    documents = [bytes(range(97, 117)) * 5] * 2
    ids = infilled(documents, INFILLING, rate, 10, Generator(1))
    assert least <= int((ids == INFILLING.end).sum()) <= most
    if rate == 0:
        assert TOKENIZER.decode_bytes(ids) == b"".join(document + b"\n" for document in documents)
    assert np.array_equal(ids, infilled(documents, INFILLING, rate, 10, Generator(1)))


def test_a_tokenizer_without_the_marks() -> None:
    for tokenizer in (ByteTokenizer(), BPETokenizer.train("x", 256)):
        with pytest.raises(UsageError, match=r"special token <\|fim_prefix\|>"):
            Infilling(tokenizer)
