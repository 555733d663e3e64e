"""The watermark: its bits, its detector, and how often that raises a false alarm."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import TableModel

import tinygen as tg
from tinygen.decoding import Watermark, sample
from tinygen.decoding.processors import Context
from tinygen.decoding.watermark import binomial_tail
from tinygen.errors import DtypeError, UsageError


@given(st.integers(1, 60), st.integers(0, 60), st.sampled_from([0.1, 0.25, 0.5]))
def test_the_p_value_is_the_binomial_tail(n, k, p):
    exact = sum(
        math.comb(n, i) * Fraction(p) ** i * (1 - Fraction(p)) ** (n - i) for i in range(k, n + 1)
    )
    assert binomial_tail(k, n, p) == pytest.approx(float(exact), rel=1e-12)


@pytest.mark.parametrize("green", [0.25, 0.5])
def test_false_alarms_are_as_rare_as_the_p_value_says(green, record_property):
    """One text, 800 keys that it does not know. P(p <= a) <= a, and not far below it."""
    text = tg.random.Generator("text").integers(0, 30, 120)
    p_values = np.array(
        [Watermark(f"{k}", 30, green=green).detect(text).p_value for k in range(800)]
    )
    for level in (0.2, 0.05, 0.01):
        rate, error = (p_values <= level).mean(), math.sqrt(level * (1 - level) / 800)
        record_property(
            "false alarms of the watermark", f"{rate:.4f} at p <= {level}, green {green}"
        )
        assert rate <= level + 4 * error
        assert rate >= level / 2 - 4 * error  # a binomial has steps: the test is a little strict


def test_a_repeated_text_is_no_more_evidence():
    mark, text = Watermark(1, 30), tg.random.Generator(2).integers(0, 30, 40)
    once, often = mark.detect(text), mark.detect(np.tile(text, 9))
    assert often.scored <= once.scored + 1


def test_marked_text_is_found_and_by_its_key_alone():
    model = TableModel(50, spread=0.5)
    mark = Watermark("secret", 50, strength=2.0)
    rng = tg.random.Generator(0)
    prompt = np.array([[0]])
    steps = list(sample(model, prompt, max_new_tokens=80, rng=rng, processors=[mark]))
    text = np.array([int(s.tokens[0]) for s in steps])
    assert mark.detect(text).p_value < 1e-6
    assert Watermark("guess", 50).detect(text).p_value > 1e-3
    assert mark.detect(tg.tensor(text)) == mark.detect(text)


def test_it_adds_its_strength_to_the_green_part():
    mark = Watermark("k", 10_000, green=0.3, strength=1.5)
    contexts = [Context(np.array([4, token]), 1, 5) for token in (7, 8)]
    found = mark(contexts, np.zeros((2, 10_000)))
    assert set(np.unique(found)) == {0.0, 1.5}
    assert abs((found > 0).mean() - 0.3) < 0.02
    assert 0.03 < ((found > 0).all(axis=0)).mean() < 0.15  # the two lists are independent
    assert np.array_equal(found, mark(contexts, np.zeros((2, 10_000))))


def test_bad_input_is_explained():
    mark = Watermark(0, 10)
    for call, error, message in [
        (lambda: Watermark(0, 10, green=1.0), UsageError, "green"),
        (lambda: Watermark(0, 10, strength=-1.0), UsageError, "strength"),
        (lambda: mark.detect(np.array([1])), UsageError, "two or more"),
        (lambda: mark.detect(np.array([1, 10])), UsageError, "tokens 1 ... 10"),
        (lambda: mark.detect(np.array([0.5, 1])), DtypeError, "integers"),
        (lambda: mark([Context(np.array([0]), 1, 1)], np.zeros((1, 11))), UsageError, "11"),
    ]:
        with pytest.raises(error, match=message):
            call()
