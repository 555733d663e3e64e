"""The prior over codes: a distribution that sums to one, and samples drawn from it."""

from itertools import product

import numpy as np
import pytest

from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.models.vae import CodePrior
from tinygen.random import Generator

EVERY = np.array(list(product(range(3), repeat=4))).reshape(-1, 2, 2)  # 81 grids of 3 codes


def prior(classes=None):
    made = CodePrior(
        3, (2, 2), n_layer=1, n_head=2, width=8, classes=classes, rng=Generator("prior")
    )
    for parameter in made.parameters():
        parameter.data *= 8  # far from uniform
    return made


@pytest.mark.parametrize("classes", [None, 2])
def test_the_probabilities_of_all_codes_sum_to_one(classes):
    y = None if classes is None else np.full(len(EVERY), 1)
    p = np.exp(-prior(classes).nats(EVERY, y))
    assert p.sum() == pytest.approx(1, rel=1e-5)
    assert p.max() > 2 / 81  # and are not uniform
    loss = prior(classes).loss(EVERY, y).item()
    assert loss == pytest.approx(-np.log(p).mean(), rel=1e-5)


def test_samples_are_as_frequent_as_they_are_likely():
    model, n = prior(), 20_000
    uniform = Generator("draws").uniform((n, 4), dtype="float64")
    drawn = model.sample(uniform).reshape(n, 4) @ np.array([27, 9, 3, 1])
    p = np.exp(-model.nats(EVERY))
    counts = np.bincount(drawn, minlength=81)
    assert (abs(counts - n * p) < 5 * np.sqrt(n * p) + 5).all()


def test_an_example_depends_on_its_own_numbers_and_class():
    model = prior(2)
    uniform = Generator("draws").uniform((9, 4), dtype="float64")
    y = np.arange(9) % 2
    together = model.sample(uniform, y)
    for i in range(9):
        assert np.array_equal(model.sample(uniform[i : i + 1], y[i : i + 1])[0], together[i])
    assert not np.array_equal(model.sample(uniform, 1 - y), together)
    greedy = model.sample(uniform, np.zeros(9, int), temperature=0)
    assert (greedy == greedy[0]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: prior().loss(EVERY[:, :1]), ShapeError, r"takes \(N, \*\(2, 2\)\)"),
        (lambda: prior().loss(EVERY + 1), OutOfRangeError, "3 codes"),
        (lambda: prior().loss(EVERY, np.zeros(81, int)), UsageError, "leave y out"),
        (lambda: prior(2).loss(EVERY), UsageError, "knows 2 classes"),
        (lambda: prior(2).loss(EVERY, np.full(81, 2)), OutOfRangeError, r"0 \.\.\. 1"),
        (lambda: prior().sample(np.zeros((1, 3))), ShapeError, "one for each code"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
