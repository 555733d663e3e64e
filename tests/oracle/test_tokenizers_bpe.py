"""Byte-level BPE against the packages tokenizers and tiktoken: merges, ids, files both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

tokenizers = pytest.importorskip("tokenizers")
tiktoken = pytest.importorskip("tiktoken")

from tinygen.data.tokenizers import BPETokenizer  # noqa: E402
from tinygen.data.tokenizers.bpe.patterns import PATTERNS  # noqa: E402

SCRIPTS = (
    (0x20, 0x7E), (0x9, 0xD), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
    (0x5D0, 0x5EA), (0x620, 0x6FF), (0x900, 0x97F), (0xE01, 0xE5B), (0x2000, 0x206F),
    (0x3040, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0x1D400, 0x1D4FF), (0x1F300, 0x1F64F),
)  # fmt: skip
"""Blocks in which no code point is younger than the packages' tables."""
characters = st.one_of(*[st.characters(min_codepoint=a, max_codepoint=b) for a, b in SCRIPTS])
common = st.sampled_from(["'s", "'LL", " the", "  ", "\r\n", "\n\n", "1234", "...", "def f(x):"])
texts = st.lists(st.one_of(common, st.text(characters, max_size=6)), max_size=20).map("".join)

CORPUS = [(Path(__file__).parents[2] / name).read_text() for name in ("README.md", "CHANGELOG.md")]
CORPUS += ["".join(chr(c) for c in range(a, b + 1)) for a, b in SCRIPTS]
SIZE = 700


def of_the_package(name: str) -> Any:
    """Trained by `tokenizers`."""
    pre = tokenizers.pre_tokenizers
    byte_level = pre.ByteLevel(add_prefix_space=False, use_regex=name == "gpt2")
    split = pre.Split(tokenizers.Regex(PATTERNS[name]), "isolated")
    found = tokenizers.Tokenizer(tokenizers.models.BPE())
    found.pre_tokenizer = byte_level if name == "gpt2" else pre.Sequence([split, byte_level])
    found.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=SIZE, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    found.train_from_iterator(CORPUS, trainer)
    return found


@pytest.fixture(scope="module", params=sorted(PATTERNS))
def trio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Theirs, ours read from their file, theirs read from our file, and tiktoken of our ranks."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    theirs = of_the_package(name)
    theirs.save(str(folder / "theirs.json"))
    ours = BPETokenizer.train(CORPUS, SIZE, pattern=name)
    ours.save(folder / "ours.json")
    files = (folder / f"{who}.json" for who in ("theirs", "ours"))
    their_model, our_model = (json.loads(file.read_text())["model"] for file in files)
    assert their_model["merges"] == our_model["merges"], "they learned other merges"
    assert their_model["vocab"] == our_model["vocab"]
    ranks = {token: i for i, token in enumerate(ours.tokens)}
    encoding = tiktoken.Encoding(
        name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={"<|end|>": SIZE}
    )
    ours.save(folder / "x.tiktoken")
    special = {"<|end|>": SIZE}
    ranked = BPETokenizer.load(folder / "x.tiktoken", pattern=name, special_tokens=special)
    back = tokenizers.Tokenizer.from_file(str(folder / "ours.json"))
    return theirs, BPETokenizer.load(folder / "theirs.json"), back, encoding, ranked


@settings(max_examples=150)
@given(texts)
def test_ids_are_equal(trio: Any, text: str) -> None:
    theirs, ours, back, encoding, ranked = trio
    ids = theirs.encode(text).ids
    assert ours.encode(text).tolist() == ids == back.encode(text).ids
    assert ours.decode(ids) == text
    assert ranked.encode(text).tolist() == encoding.encode(text, disallowed_special=())
    marked = f"{text}<|end|>{text}"
    allowed = encoding.encode(marked, allowed_special="all")
    assert ranked.encode(marked, allowed_special="all").tolist() == allowed


@pytest.mark.deep
@settings(max_examples=3000)
@given(texts)
def test_ids_are_equal_on_many_texts(trio: Any, text: str) -> None:
    theirs, ours, _, encoding, ranked = trio
    assert ours.encode(text).tolist() == theirs.encode(text).ids
    assert ranked.encode(text).tolist() == encoding.encode(text, disallowed_special=())
