"""Text as it comes: characters when they are complete, stop strings, wherever tokens are cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.decoding import Recomputed, Sampler, Step, StopStrings, sample, stream_text
from tinygen.decoding.processors import Context
from tinygen.errors import UsageError

TEXT = st.text("ab\n€𝄞", max_size=12)


def cut(text, places):
    """The text's bytes as tokens, cut at these places: a vocabulary and its tokens."""
    data = text.encode()
    cuts = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def steps_of(pieces):
    return [Step(np.array([i]), lambda: np.zeros(1)) for i in range(len(pieces))]


@given(TEXT, st.lists(st.integers(0, 60)), st.lists(st.text("ab€", min_size=1, max_size=3)))
def test_the_stream_is_the_text_up_to_the_first_stop_string(text, places, stops):
    pieces = cut(text, places)
    given_out = list(stream_text(steps_of(pieces), pieces, stops))
    ends = [text.find(stop) for stop in stops if stop in text]
    # Two stops that are complete with different tokens: the earlier complete one ends the text.
    whole = "".join(given_out)
    if not ends:
        assert whole == text
    else:
        assert text.startswith(whole)
        assert any(text[len(whole) :].startswith(stop) for stop in stops)
        assert not any(stop in whole for stop in stops)


@given(TEXT, st.lists(st.integers(0, 60)), st.lists(st.text("ab€", min_size=1, max_size=3)))
def test_a_row_is_finished_by_the_token_that_completes_a_stop_string(text, places, stops):
    pieces = cut(text, places)
    stop = StopStrings(stops, [b"ab", *pieces])  # a prompt that holds what counts for nothing
    first = None
    for n in range(len(pieces) + 1):
        tokens = np.array([0, *range(1, n + 1)])
        if first is None and stop.finished(Context(tokens, 1, 9)):
            first = n
    encoded = [s.encode() for s in stops]
    expected = [
        n for n in range(len(pieces) + 1) if any(s in b"".join(pieces[:n]) for s in encoded)
    ]
    assert first == (expected[0] if expected else None)


def test_pieces_come_as_soon_as_they_are_decided():
    pieces = [b"x", b"\xe2\x82", b"\xac", b"a", b"b", b"\xff"]
    found = list(stream_text(steps_of(pieces), pieces, ["ac"]))
    assert found == ["x", "", "€", "", "ab", "\ufffd", ""]


def test_a_stop_string_ends_the_rows_in_which_it_comes():
    letters = [bytes([c]) for c in b"abcd"]
    follow = {0: 1, 1: 2, 2: 0, 3: 3}  # abcabc..., ddd...

    def logits(tokens):
        found = np.zeros((*tokens.shape, 4))
        for i, token in enumerate(tokens[0]):
            found[0, i, follow[int(token)]] = 9.0
        return found

    steps = sample(
        Recomputed(logits, 4),
        np.array([[0], [3]]),
        max_new_tokens=6,
        sampler=Sampler(0),
        stops=[StopStrings(["ca"], letters)],
    )
    columns = np.stack([s.tokens for s in steps], axis=1)
    assert columns.tolist() == [[1, 2, 0, -1, -1, -1], [3, 3, 3, 3, 3, 3]]


@pytest.mark.parametrize("stops", ["ab", [""], [b"x"], [1]])
def test_bad_stop_strings_are_explained(stops):
    with pytest.raises(UsageError, match="stop strings are a list of texts"):
        StopStrings(stops, [b"a"])
    with pytest.raises(UsageError, match="stop strings are a list of texts"):
        next(stream_text([], [b"a"], stops))


def test_bad_input_is_explained():
    model = Recomputed(lambda tokens: np.zeros((*tokens.shape, 3)), 3)
    rng = tg.random.Generator(0)

    def call(prompts, **options):
        return sample(model, prompts, **{"max_new_tokens": 2, "rng": rng, **options})

    for prompts, options, message in [
        ([np.array([1]), np.array([], int)], {}, "prompt 1 is empty"),
        (np.zeros((1, 0), int), {}, "one token or more"),
        (np.array([[0, 3]]), {}, "token 3, and the model knows 0 ... 2"),
        (np.array([[-1]]), {}, "token -1"),
        (np.array([[0.0]]), {}, "integers, not float64"),
        ([np.array([[0]])], {}, r"shape \(1, 1\)"),
        (np.array([0]), {}, r"\(B, T\)"),
        (np.array([[0]]), {"end": 3}, "end: token 3 is beyond"),
        (np.array([[0]]), {"end": -1}, "end: a token is -1"),
        (np.array([[0]]), {"rng": None}, "rng"),
        (np.array([[0]]), {"max_new_tokens": -1}, "max_new_tokens is -1"),
        (np.array([[0]]), {"rng": [rng, rng]}, "2 random generators for 1 rows"),
        (np.array([[0]]), {"processors": [lambda c, x: x[:, :1]]}, "for logits"),
        (np.array([[0]]), {"processors": [lambda c, x: x - np.inf]}, "no token to choose"),
    ]:
        with pytest.raises(tg.errors.TinygenError, match=message):
            list(call(prompts, **options))
