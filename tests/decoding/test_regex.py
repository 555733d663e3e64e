"""Regular expressions: the automaton accepts exactly what Python's `re` matches."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygen.decoding.constraints import automaton, automaton_of, parse
from tinygen.decoding.constraints.language import LAST, Chain, Choice, characters
from tinygen.errors import UsageError

ALPHABET = "ab0_- \n\\é€𝄞"
ATOMS = st.sampled_from(
    [
        r"a",
        r"b",
        r"0",
        r"é",
        r"€",
        r"𝄞",
        r".",
        r"\d",
        r"\w",
        r"\s",
        r"\D",
        r"\W",
        r"\S",
        r"\.",
        r"\-",
        r"[ab]",
        r"[^a]",
        r"[a-z€]",
        r"[\d_-]",
        r"[^\w\s]",
        r"[]a]",
        r"[-a]",
        r"[b-]",
        r"\x61",
        r"\u20ac",
        r"{",
        r"}",
        r"a{,",
        r"-",
        r"\\",
        r"\n",
        r"[é-€]",
        r"[\\\]]",
        r"\U0001d11e",
        r"[^é-𝄞]",
    ]
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(
            inner.map("(?:{})".format),
            st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "*?", "+?", "??"]),
        ).map("".join),
    ),
    max_leaves=6,
)
TEXTS = st.text(ALPHABET, max_size=6)


@given(PATTERNS, st.data())
@example("|", None)
@example("", None)
def test_it_accepts_what_python_matches(pattern, data):
    accepted = automaton_of(parse(pattern))
    expression = re.compile(pattern, re.ASCII)
    texts = ["", "a", "ab"]
    if data is not None:
        texts += data.draw(st.lists(TEXTS, max_size=5))
        texts += [data.draw(st.from_regex(expression, fullmatch=True))]
    for text in texts:
        if not any("\ud800" <= c <= "\udfff" for c in text):
            expected = expression.fullmatch(text) is not None
            assert accepted.matches(text.encode()) == expected, text


@given(PATTERNS, st.sampled_from(["", "^"]), st.sampled_from(["", "$"]), TEXTS)
def test_anywhere_it_accepts_what_python_finds(pattern, begin, end, text):
    pattern = f"{begin}({pattern}){end}"
    accepted = automaton_of(parse(pattern, anywhere=True))
    # Python's $ also matches before a newline at the end, JSON Schema's does not.
    expression = re.compile(pattern.replace("$", r"\Z") if end else pattern, re.ASCII)
    assert accepted.matches(text.encode()) == (expression.search(text) is not None)


def test_ends_may_stand_at_each_option():
    accepted = automaton_of(parse("^a$|^b|c$"))
    assert [accepted.matches(t) for t in (b"a", b"b", b"c", b"ab")] == [True, True, True, False]
    found = automaton_of(parse("^a$|^b|c$", anywhere=True))
    assert [found.matches(t) for t in (b"a", b"bz", b"zc", b"za")] == [True, True, True, False]


@given(st.lists(st.tuples(st.integers(0, LAST), st.integers(0, LAST)), min_size=1, max_size=3))
def test_sets_of_characters_are_their_utf8(ranges):
    ranges = [(min(r), max(r)) for r in ranges]
    if all(first >= 0xD800 and last <= 0xDFFF for first, last in ranges):
        return  # surrogates alone
    accepted = automaton_of(characters(ranges))
    ends = {c + d for r in ranges for c in r for d in (-1, 0, 1)} | {0x7F, 0x80, 0xD7FF, 0xE000}
    for code in ends:
        if 0 <= code <= LAST and not 0xD800 <= code <= 0xDFFF:
            expected = any(first <= code <= last for first, last in ranges)
            assert accepted.matches(chr(code).encode()) == expected


@given(PATTERNS, st.binary(max_size=8))
def test_what_is_no_utf8_is_never_accepted(pattern, text):
    try:
        text.decode()
    except UnicodeDecodeError:
        assert not automaton_of(parse(pattern)).matches(text)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not closed"),
        ("(a", "not closed"),
        ("a)", "position 1: there is no group to close"),
        ("[a", "ends too early"),
        ("a\\", "ends too early"),
        ("*a", "position 0: there is nothing to repeat"),
        ("a|{2}", "nothing to repeat"),
        ("a**", "repetition of a repetition"),
        ("a{2}{3}", "repetition of a repetition"),
        ("a*+", "possessive"),
        ("a{3,2}", "at least 3 and at most 2"),
        ("a{100000}", "more than 10000"),
        (r"\b", r"\\b is not supported"),
        (r"(a)\1", r"\\1 is not supported"),
        ("(?=a)", "only"),
        ("(?i)a", "only"),
        ("a^b", "beginning only"),
        ("a$b", "stands at the end"),
        ("(a$)", "end only"),
        ("[b-a]", "a range goes"),
        (r"[a-\d]", "a range goes"),
        (r"\xZZ", "2 hexadecimal digits"),
        (r"\ud800", "surrogate"),
        ("\ud800", "surrogate"),
    ],
)
def test_what_cannot_be_read_is_explained(pattern, message):
    with pytest.raises(UsageError, match=message):
        parse(pattern)


def test_what_no_text_matches_or_is_too_large_is_explained(monkeypatch):
    with pytest.raises(UsageError, match="no text at all matches"):
        automaton_of(Chain((parse("a"), Choice(()))))
    monkeypatch.setattr(automaton, "LARGEST", 500)
    for pattern in ("(a|b)*a(a|b){10}", "(.{100}){3}"):  # too many, of the two kinds of states
        with pytest.raises(UsageError, match="more than 500 states"):
            automaton_of(parse(pattern))
