"""Text to ids and back, exactly, over all of Unicode."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    load_tokenizer,
    tokenizer_from_state,
)
from tinygen.errors import DtypeError, InputError, OutOfRangeError, ShapeError

# Every code point but half surrogate pairs; the default alphabet leaves those out too.
texts = st.text(max_size=60)
some_text = st.text(min_size=1, max_size=60)
tokenizers = st.one_of(
    st.just(ByteTokenizer()),
    some_text.map(CharTokenizer.train),
    st.just(CharTokenizer("ba\U0001f600")),
)


@given(texts)
def test_bytes_round_trip(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint8
    assert ids.tolist() == list(text.encode("utf-8"))
    assert tokenizer.decode(ids) == text
    assert np.array_equal(tokenizer.encode(text.encode("utf-8")), ids)


@given(st.binary(max_size=60))
def test_any_bytes_come_back_exactly(data):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(data)
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == data.decode("utf-8", errors="replace")


def test_bytes_that_are_no_utf8_become_the_replacement_character():
    assert ByteTokenizer().decode([0x61, 0xFF, 0xC3]) == "a\ufffd\ufffd"


@given(some_text)
def test_characters_round_trip(text):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert tokenizer.characters == "".join(sorted(set(text)))
    assert tokenizer.vocab_size == len(set(text))
    assert ids.tolist() == [sorted(set(text)).index(character) for character in text]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode("utf-8")
    assert np.array_equal(tokenizer.encode(text.encode("utf-8")), ids)


@given(some_text, texts)
def test_an_unknown_character_is_named_with_its_place(known, text):
    tokenizer = CharTokenizer.train(known)
    places = [place for place, character in enumerate(text) if character not in known]
    if not places:
        assert tokenizer.decode(tokenizer.encode(text)) == text
        return
    with pytest.raises(InputError) as raised:
        tokenizer.encode(text)
    character = text[places[0]]
    assert f"{character!r} (U+{ord(character):04X}) at position {places[0]}:" in str(raised.value)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65537, "uint32")]
)
def test_ids_have_the_smallest_dtype_that_holds_them(size, dtype):
    characters = "".join(map(chr, range(0xE000, 0xE000 + size)))  # past the surrogates
    ids = CharTokenizer(characters).encode(characters)
    assert ids.dtype == dtype
    assert np.array_equal(ids, np.arange(size))


def test_ids_may_be_written_to():
    for tokenizer in (ByteTokenizer(), CharTokenizer("a")):
        tokenizer.encode("a")[0] = 0


@given(tokenizers)
def test_no_ids_are_no_text(tokenizer):
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode_bytes(tokenizer.encode("")) == b""


@given(tokenizers, st.sampled_from([1, -1]))
def test_ids_outside_the_vocabulary(tokenizer, beyond):
    wrong = tokenizer.vocab_size if beyond > 0 else -1
    with pytest.raises(OutOfRangeError, match=f"id {wrong} at position 1"):
        tokenizer.decode([0, wrong])


def test_ids_of_a_wrong_kind():
    with pytest.raises(DtypeError, match="float64"):
        ByteTokenizer().decode([0.5])
    with pytest.raises(ShapeError, match=r"\(1, 2\)"):
        ByteTokenizer().decode([[1, 2]])


def test_half_a_surrogate_pair_has_no_ids():
    with pytest.raises(InputError, match=r"U\+D83D.*position 1"):
        ByteTokenizer().encode("a\ud83d")
    with pytest.raises(InputError, match=r"U\+D83D.*position 1"):
        CharTokenizer("a\U0001f600").encode("a\ud83d")
    with pytest.raises(InputError, match=r"half a surrogate pair.*U\+D83D"):
        CharTokenizer.train("a\ud83d")


def test_vocabularies_that_cannot_be():
    with pytest.raises(InputError, match="empty"):
        CharTokenizer.train("")
    with pytest.raises(InputError, match="at least one"):
        CharTokenizer("")
    with pytest.raises(InputError, match=r"'a'.*twice"):
        CharTokenizer("aba")
    with pytest.raises(InputError, match=r"not UTF-8.*0xff at offset 2"):
        CharTokenizer.train(b"ab\xff")


@given(tokenizers, texts)
def test_a_state_survives_json(tokenizer, text):
    again = tokenizer_from_state(json.loads(json.dumps(tokenizer.state)))
    assert type(again) is type(tokenizer)
    assert again.state == tokenizer.state
    assert again.vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), CharTokenizer.train("né\n\0\U0001f600")])
def test_save_and_load(tmp_path, tokenizer):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    assert load_tokenizer(path).state == tokenizer.state
    assert type(tokenizer).load(path).state == tokenizer.state
    path.read_bytes().decode("ascii")


def test_loading_the_wrong_class_says_so(tmp_path):
    ByteTokenizer().save(tmp_path / "t")
    with pytest.raises(InputError, match="kind 'byte', CharTokenizer reads 'char'"):
        CharTokenizer.load(tmp_path / "t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no object"),
        (b"{}", "kind None"),
        (b'{"kind": ["byte"]}', "kind"),
        (b'{"kind": "bpe2"}', "'byte', 'char'"),
        (b'{"kind": "char"}', "'characters'"),
        (b'{"kind": "char", "characters": "aa"}', "twice"),
        (b'{"kind": "char", "characters": "\\ud800"}', "surrogate"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        load_tokenizer(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_only_text_is_encoded(text):
    for call in (ByteTokenizer().encode, CharTokenizer.train("abc").encode, CharTokenizer.train):
        with pytest.raises(DtypeError, match=f"not {type(text).__name__}"):
            call(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_tokenizer(tmp_path / "missing.json")


def test_tinyshakespeare_has_65_characters(real_data):
    text = real_data("tinyshakespeare.txt").read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.vocab_size == 65
    assert tokenizer.decode(tokenizer.encode(text)) == text
