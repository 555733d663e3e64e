"""Byte-level BPE: ids of any bytes and back, merges as defined, training, files, special tokens."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.data.tokenizers import BPETokenizer, load_tokenizer, tokenizer_from_state
from tinygen.data.tokenizers.bpe import merging
from tinygen.data.tokenizers.bpe.alphabet import BYTE_OF, BYTES, as_bytes, as_characters
from tinygen.data.tokenizers.bpe.patterns import PATTERNS, compiled
from tinygen.data.tokenizers.bpe.training import ID_OF_BYTE, learned
from tinygen.errors import InputError, OutOfRangeError, UsageError

TEXT = (
    "the cat sat on the mat; the cat's hat. Über 1234 naïve cafés — 東京、東京 \U0001f600\n\n  end"
)
TRAINED = BPETokenizer.train(TEXT * 3, 300, special_tokens=["<|end|>", "<|pad|>"])
ends = st.sampled_from(sorted(PATTERNS))


# ---- merges --------------------------------------------------------------------------------------


def one_by_one(ids: list[int], merges: Any) -> list[int]:
    """The definition: of all pairs that have a rank the lowest, then the leftmost, is joined."""
    while True:
        ranked = [
            (merges[pair][0], i) for i, pair in enumerate(itertools.pairwise(ids)) if pair in merges
        ]
        if not ranked:
            return ids
        _, i = min(ranked)
        ids = [*ids[:i], merges[ids[i], ids[i + 1]][1], *ids[i + 2 :]]


@given(
    st.lists(st.integers(0, 5), max_size=40),
    st.dictionaries(
        st.tuples(st.integers(0, 9), st.integers(0, 9)), st.integers(0, 9), max_size=30
    ),
    st.randoms(),
)
def test_both_ways_to_merge_are_the_definition(ids: list[int], made: Any, random: Any) -> None:
    ranks = list(range(len(made)))
    random.shuffle(ranks)
    merges = {pair: (rank, new) for rank, (pair, new) in zip(ranks, made.items(), strict=True)}
    wanted = one_by_one(list(ids), merges)
    assert merging._by_looking(list(ids), merges) == wanted
    assert merging._by_heap(list(ids), merges) == wanted


def test_a_long_piece_takes_no_quadratic_time() -> None:
    tokenizer = BPETokenizer.train("a" * 64, 262)
    ids = tokenizer.encode("a" * 200_000)
    assert len(ids) == 200_000 // 64
    assert tokenizer.decode(ids) == "a" * 200_000


# ---- training ------------------------------------------------------------------------------------


def learned_slowly(pieces: dict[bytes, int], wanted: int, least: int) -> list[tuple[int, int]]:
    words = {piece: [ID_OF_BYTE[byte] for byte in piece] for piece in pieces}
    merges: list[tuple[int, int]] = []
    while len(merges) < wanted:
        counts: Counter[tuple[int, int]] = Counter()
        for piece, word in words.items():
            for pair in itertools.pairwise(word):
                counts[pair] += pieces[piece]
        if not counts or max(counts.values()) < least:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        table = {best: (0, 256 + len(merges))}
        merges.append(best)
        words = {piece: one_by_one(word, table) for piece, word in words.items()}
    return merges


@given(
    st.dictionaries(st.text("abc", max_size=8).map(str.encode), st.integers(1, 5), max_size=8),
    st.integers(0, 12),
    st.integers(1, 4),
)
def test_training_counts_as_if_anew_after_every_merge(
    pieces: dict[bytes, int], wanted: int, least: int
) -> None:
    assert learned(pieces, wanted, least) == learned_slowly(pieces, wanted, least)


def test_the_size_of_a_vocabulary() -> None:
    assert TRAINED.vocab_size == 300
    assert TRAINED.special_tokens == {"<|end|>": 298, "<|pad|>": 299}
    assert list(TRAINED.tokens[:256]) == BYTES
    assert BPETokenizer.train("", 300).vocab_size == 256  # nothing to learn from
    assert BPETokenizer.train(["ab", b"ab"], 257).tokens[256] == b"ab"
    told: list[tuple[int, int]] = []
    BPETokenizer.train("abab", 258, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(UsageError, match="vocab_size"):
        BPETokenizer.train("text", 255)


# ---- both ways -----------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
def test_any_bytes_come_back(data: bytes) -> None:
    ids = TRAINED.encode(data)
    assert TRAINED.decode_bytes(ids) == data
    assert ids.dtype == np.uint16
    assert all(int(i) < 298 for i in ids)


@given(st.text(max_size=50), ends)
def test_a_text_is_its_bytes_and_is_cut_into_all_of_it(text: str, name: str) -> None:
    assert np.array_equal(TRAINED.encode(text), TRAINED.encode(text.encode()))
    assert TRAINED.decode(TRAINED.encode(text)) == text
    assert "".join(compiled(PATTERNS[name]).findall(text)) == text


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("gpt2", "I'll go 12345  now", ["I", "'ll", " go", " 12345", " ", " now"]),
        ("gpt2", "I'LL", ["I", "'", "LL"]),
        ("cl100k", "I'LL go 12345\n\n x", ["I", "'LL", " go", " ", "123", "45", "\n\n", " x"]),
        ("qwen2", "a 12", ["a", " ", "1", "2"]),
        ("o200k", "HelloWorld's a/b/", ["Hello", "World's", " a", "/b", "/"]),
    ],
)
def test_patterns_cut(name: str, text: str, pieces: list[str]) -> None:
    assert compiled(PATTERNS[name]).findall(text) == pieces


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="half a surrogate pair"):
        TRAINED.encode("a\ud800")
    with pytest.raises(OutOfRangeError, match="id 300"):
        TRAINED.decode([300])
    with pytest.raises(InputError, match="no split pattern"):
        BPETokenizer.train("a", 256, pattern="(")
    with pytest.raises(InputError, match="the byte 0 has no token"):
        BPETokenizer([b"a"], [])
    with pytest.raises(InputError, match="two ids, 0 and 256"):
        BPETokenizer([*BYTES, BYTES[0]], [])
    with pytest.raises(InputError, match="merge of ids 0 and 1 makes no token"):
        BPETokenizer(BYTES, [(0, 1)])


# ---- special tokens ------------------------------------------------------------------------------


def test_a_special_token_is_text_unless_it_is_allowed() -> None:
    text = "the<|end|>cat<|pad|>"
    plain = TRAINED.encode(text)
    assert 298 not in plain
    assert TRAINED.decode(plain) == text
    both = TRAINED.encode(text, allowed_special="all").tolist()
    assert (both.count(298), both.count(299), both[-1]) == (1, 1, 299)
    assert TRAINED.decode(both) == text
    one = TRAINED.encode(text, allowed_special={"<|end|>"}).tolist()
    assert (one.count(298), one.count(299)) == (1, 0)
    with pytest.raises(UsageError, match=r"'<\|x\|>' is none of the special tokens <\|end\|>"):
        TRAINED.encode(text, allowed_special=["<|x|>"])


def test_the_longer_of_two_special_tokens_is_found() -> None:
    names = ["<a>", "<a><b>"]
    tokenizer = BPETokenizer.train("x", 258, special_tokens=names)
    assert tokenizer.encode("<a><b><a>", allowed_special="all").tolist() == [257, 256]


# ---- files ---------------------------------------------------------------------------------------


def same(a: BPETokenizer, b: BPETokenizer, text: str = TEXT) -> bool:
    return a.tokens == b.tokens and np.array_equal(a.encode(text), b.encode(text))


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_every_file_gives_the_same_ids(tmp_path: Path, pattern: str) -> None:
    trained = BPETokenizer.train(TEXT * 3, 300, pattern=pattern, special_tokens=["<|end|>"])
    trained.save(tmp_path / "tokenizer.json")
    loaded = [BPETokenizer.load(tmp_path / "tokenizer.json"), BPETokenizer.load(tmp_path)]
    loaded += [tokenizer_from_state(json.loads(json.dumps(trained.state)))]
    trained.save(tmp_path / "gpt2-x.tiktoken")
    found = BPETokenizer.load(
        tmp_path / "gpt2-x.tiktoken", pattern=pattern, special_tokens=trained.special_tokens
    )
    if pattern == "gpt2":
        trained.save(tmp_path / "folder")
        assert {path.name for path in (tmp_path / "folder").iterdir()} == {
            "vocab.json",
            "merges.txt",
        }
        loaded += [BPETokenizer.load(tmp_path / "folder"), load_tokenizer(tmp_path / "folder")]
    else:
        with pytest.raises(UsageError, match="other than GPT-2's"):
            trained.save(tmp_path / "folder")
    for other in (*loaded, found):
        assert same(trained, other)
        assert other.special_tokens == trained.special_tokens
        assert other.pattern == trained.pattern


def test_merges_as_strings_and_what_a_model_says_beside_them(tmp_path: Path) -> None:
    data = json.loads(TRAINED.state["tokenizer"])
    data["model"]["merges"] = [" ".join(merge) for merge in data["model"]["merges"]]
    data["normalizer"] = {"type": "NFC"}
    data["added_tokens"][0]["special"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    loaded = BPETokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.nfc
    assert loaded.decode(loaded.encode("e\u0301")) == "\u00e9"
    assert 298 in loaded.encode("a<|end|>b")
    assert loaded.encode("the cat").tolist() == TRAINED.encode("the cat").tolist()


def test_a_whole_piece_first_and_a_space_in_front() -> None:
    tokens: list[bytes | None] = [*BYTES, b"abc"]
    assert BPETokenizer(tokens, []).encode("abc").tolist() != [256]
    assert BPETokenizer(tokens, [], whole_first=True).encode("abc").tolist() == [256]
    spaced = BPETokenizer(BYTES, [], prefix_space=True)
    assert spaced.decode(spaced.encode("a")) == " a" == spaced.decode(spaced.encode(" a"))


def broken(change: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(TRAINED.state["tokenizer"])
    change(data)
    return data


def put(path: str, value: Any) -> Any:
    def change(data: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for name in outer:
            data = data[name]
        data[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("model", None), "an object with a 'model'"),
        (put("model.type", "Unigram"), "its model is 'Unigram'"),
        (put("model.byte_fallback", True), "byte_fallback=True"),
        (put("model.vocab", {}), "no 'vocab'"),
        (put("model.vocab.a", 2**40), "the id of the token 'a' is"),
        (put("model.vocab.a", 0), "has two tokens"),
        (put("model.vocab.a", "0"), "ids are 0, 1, 2"),
        (put("model.merges", [["a"]]), "no pair of tokens"),
        (put("model.merges", ["a \u4e00"]), "which is no token"),
        (put("model.merges", ["a ~"]), "makes 'a~', which is no token"),
        (put("normalizer", {"type": "Lowercase"}), "its normalizer is Lowercase"),
        (put("pre_tokenizer", {"type": "Whitespace"}), "its pre_tokenizer is Whitespace"),
        (put("pre_tokenizer", None), "its pre_tokenizer is"),
        (put("added_tokens", [{"id": 3}]), "has no 'content'"),
        (put("added_tokens", [{"id": 3, "content": "<x>", "lstrip": True}]), "has lstrip"),
        (put("added_tokens", [{"id": 3, "content": "<x>"}]), "has two tokens"),
        (put("added_tokens", [{"content": "<x>"}]), "the id of the token '<x>' is -1"),
    ],
)
def test_a_damaged_tokenizer_json_is_one_sentence(
    tmp_path: Path, change: Any, sentence: str
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(broken(change)))
    with pytest.raises(InputError, match=sentence) as caught:
        BPETokenizer.load(path)
    assert str(path) in str(caught.value)


@given(st.binary(max_size=200))
def test_bytes_are_no_tokenizer(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("tokenizer.json", "x.tiktoken"):
        (folder / name).write_bytes(data)
        with pytest.raises(InputError):
            BPETokenizer.load(folder / name)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([b"!!! 0"], "line 1 is no token in base64"),
        ([b"YQ=="], "line 1 is no token in base64"),
        ([b"YQ== 0", b"YQ== 1"], "line 2 repeats a token"),
        ([b"YQ== 0", b"Yg== 0"], "a rank stands twice"),
        ([b"YQ== 99999999999"], "rank 99999999999"),
        ([b"YQ== 0"], "the byte 0 has no token"),
    ],
)
def test_a_damaged_file_of_ranks(tmp_path: Path, lines: list[bytes], sentence: str) -> None:
    (tmp_path / "x.tiktoken").write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match=sentence):
        BPETokenizer.load(tmp_path / "x.tiktoken")


def test_options_where_a_file_says_it_itself_and_ids_that_are_taken(tmp_path: Path) -> None:
    TRAINED.save(tmp_path / "tokenizer.json")
    with pytest.raises(UsageError, match="says itself what pattern"):
        BPETokenizer.load(tmp_path / "tokenizer.json", pattern="gpt2")
    lines = [base64.b64encode(token) + b" %d" % i for i, token in enumerate(BYTES)]
    (tmp_path / "x.tiktoken").write_bytes(b"\n".join(lines))
    with pytest.raises(InputError, match="has the id of another token"):
        BPETokenizer.load(tmp_path / "x.tiktoken", special_tokens={"<x>": 3})
    with pytest.raises(InputError, match="there is no such file"):
        BPETokenizer.load(tmp_path / "absent")


def test_an_order_of_merges_that_ranks_cannot_tell(tmp_path: Path) -> None:
    tokens: list[bytes | None] = [*BYTES, b"ab", b"cd"]
    a, b, c, d = (ID_OF_BYTE[byte] for byte in b"abcd")
    with pytest.raises(UsageError, match="merges are in another order"):
        BPETokenizer(tokens, [(c, d), (a, b)]).save(tmp_path / "x.tiktoken")
    assert not list(tmp_path.iterdir())


@given(st.binary(max_size=20))
def test_characters_stand_for_bytes(token: bytes) -> None:
    assert as_bytes(as_characters(token)) == token
    assert len(BYTE_OF) == 256
    assert not any(character.isspace() for character in as_characters(token))
