"""Nothing is on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.corpus import Corpus
from tinygen.data.splits import cut_point, split
from tinygen.errors import InputError, UsageError

fractions = st.floats(0.01, 0.99)
documents = st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=30)


def corpus_of(*contents: bytes) -> Corpus:
    return Corpus("c", contents, "test", skipped=("x: y",))


@given(st.text(min_size=10, max_size=50), fractions)
def test_one_document_is_cut_once_between_characters(text, fraction):
    data = text.encode()
    cut = cut_point(data, fraction)
    assert data[:cut].decode() + data[cut:].decode() == text
    assert 0 <= int((1 - fraction) * len(data)) - cut < 4


@given(st.binary(min_size=1, max_size=50), fractions)
def test_bytes_that_are_no_text_are_cut_too(data, fraction):
    assert 0 <= int((1 - fraction) * len(data)) - cut_point(data, fraction) < 4


@pytest.mark.parametrize("fraction", [1e-300, 1e-17, 5e-324])
def test_less_than_a_byte_cannot_be_held_out(fraction):
    with pytest.raises(InputError, match="too few to hold out"):
        split(corpus_of(b"a text"), fraction)


@given(st.text(alphabet="abc", min_size=2, max_size=200))
def test_the_usual_tenth(text):
    train, validation = split(corpus_of(text.encode()))
    place = int(0.9 * len(text))
    assert (train.text, validation.text) == (text[:place], text[place:])
    assert (train.name, validation.name) == ("c (train)", "c (validation)")
    assert train.skipped == ()


@given(documents, fractions)
def test_no_document_is_on_both_sides_and_none_is_lost(contents, fraction):
    if len(set(contents)) == 1:
        return  # cut, as one document is
    train, validation = split(corpus_of(*contents), fraction)
    assert set(train.documents).isdisjoint(validation.documents)
    in_validation = set(validation.documents)
    assert train.documents == tuple(d for d in contents if d not in in_validation)
    assert validation.documents == tuple(d for d in contents if d in in_validation)


@given(documents, st.randoms())
def test_the_order_of_documents_changes_no_side(contents, random):
    if len(set(contents)) == 1:
        return
    shuffled = random.sample(contents, len(contents))
    first, second = split(corpus_of(*contents))[1], split(corpus_of(*shuffled))[1]
    assert set(first.documents) == set(second.documents)


def test_the_share_of_many_documents_is_close_to_what_was_asked():
    contents = [bytes([i % 256, i // 256]) * (1 + i % 7) for i in range(1000)]
    corpus = corpus_of(*contents)
    assert split(corpus)[1].size == pytest.approx(0.1 * corpus.size, rel=0.01)


def test_where_every_document_is_too_large_the_smallest_is_held_out():
    assert split(corpus_of(b"aaaa", b"bb", b"cccc"))[1].documents == (b"bb",)


def test_copies_of_one_document_are_cut_as_that_document():
    train, validation = split(corpus_of(b"0123456789", b"0123456789"))
    assert (train.documents, validation.documents) == ((b"012345678",), (b"9",))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan"), "a"])
def test_an_impossible_fraction(fraction):
    with pytest.raises(UsageError, match="above 0 and below 1"):
        split(corpus_of(b"abc"), fraction)


@pytest.mark.parametrize("text", ["a", "\U0001f600"])
def test_too_little_for_two_sides(text):
    with pytest.raises(InputError, match="too few"):
        split(corpus_of(text.encode()))


def test_tinyshakespeare_has_its_usual_split(real_data):
    text = real_data("tinyshakespeare.txt").read_text(encoding="utf-8")
    train, validation = split(corpus_of(text.encode()))
    assert len(train.text) == int(0.9 * len(text)) == 1_003_854
    assert train.text + validation.text == text
