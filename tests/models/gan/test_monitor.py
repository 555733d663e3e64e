"""The monitor names planted failures, and nothing else, and leaves healthy streams alone."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.data import synthetic
from tinygen.errors import ShapeError, UsageError
from tinygen.models.gan.monitor import (
    CollapseMonitor,
    Limits,
    distances,
    diversity,
    dominant_frequency,
)
from tinygen.random import Generator

WINDOW = 64


def stream(steps, rng, *, accuracy=0.6, gradient=1.0, swing=0.0, period=12, drift=0.0):
    """Metrics of a training whose numbers wander by noise, with one thing planted."""
    for i in range(steps):
        wave = swing * math.sin(2 * math.pi * i / period)
        yield {
            "accuracy": min(1.0, accuracy + 0.05 * rng.normal()),
            "real_score": 0.3 + 0.3 * rng.normal(),
            "fake_score": -0.3 + 0.3 * rng.normal() + wave + drift * i,
            "g_grad_norm": gradient * math.exp(0.5 * rng.normal()),
        }


def names(monitor):
    return [finding.name for finding in monitor.findings()]


def watched(*streams):
    monitor = CollapseMonitor(WINDOW)
    for metrics in streams:
        for told in metrics:
            monitor.observe(told)
    return monitor


seeds = st.integers(0, 10**6).map(np.random.default_rng)


@given(rng=seeds, drift=st.floats(-0.02, 0.02), level=st.floats(0.3, 0.85))
def test_healthy_streams(rng, drift, level):
    monitor = watched(stream(3 * WINDOW, rng, drift=drift, accuracy=level, gradient=1e-4))
    assert names(monitor) == ["healthy"]


@given(rng=seeds)
def test_a_random_walk_is_no_oscillation(rng):
    monitor = CollapseMonitor(WINDOW)
    for score in rng.normal(size=2 * WINDOW).cumsum():
        monitor.observe({"fake_score": score})
    assert names(monitor) == ["healthy"]


@given(rng=seeds)
def test_a_discriminator_that_overpowers(rng):
    monitor = watched(stream(WINDOW, rng), stream(WINDOW, rng, accuracy=1.08))
    assert names(monitor) == ["discriminator overpowers"]
    assert "pairs rightly" in str(monitor.findings()[0])
    assert monitor.findings()[0].numbers["accuracy"] > 0.97


@given(rng=seeds, level=st.floats(1e-6, 1e3))
def test_a_vanishing_gradient(rng, level):
    """Far below what it was, whatever the scale; a slow fall to a tenth is none."""
    gone = watched(stream(WINDOW, rng, gradient=level), stream(WINDOW, rng, gradient=1e-5 * level))
    assert names(gone) == ["vanishing generator gradient"]
    smaller = watched(
        stream(WINDOW, rng, gradient=level), stream(WINDOW, rng, gradient=0.1 * level)
    )
    assert names(smaller) == ["healthy"]


@given(rng=seeds, period=st.floats(5, 12))
def test_an_oscillation_and_its_period(rng, period):
    monitor = watched(stream(2 * WINDOW, rng, swing=3.0, period=period))
    (finding,) = monitor.findings()
    assert finding.name == "oscillation"
    assert abs(WINDOW / finding.numbers["period"] - WINDOW / period) <= 1  # one bin


def test_a_pure_tone_is_all_of_the_power_and_a_drift_is_none():
    t = np.arange(64)
    share, period, swing = dominant_frequency(5 + 0.1 * t + np.sin(2 * np.pi * t / 8))
    assert share > 0.97
    assert period == 8
    assert abs(swing - math.sqrt(0.5)) < 0.1
    assert dominant_frequency(3.0 + 0 * t) == (0.0, math.inf, 0.0)
    assert dominant_frequency(0.5 * t)[2] < 1e-12


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_comes_first(value):
    monitor = watched(stream(WINDOW, np.random.default_rng(0)))
    monitor.observe({"accuracy": 1.0, "real_score": value})
    (finding,) = monitor.findings()
    assert finding.name == "diverged"
    assert "real_score" in finding.says
    monitor = CollapseMonitor()
    monitor.inspect(np.full((8, 2), value), np.arange(16.0).reshape(8, 2))
    assert "samples" in monitor.findings()[0].says


# ---- samples -------------------------------------------------------------------------------------

SETS = {
    "ring": synthetic.ring(),
    "grid": synthetic.grid(),
    "moons": synthetic.moons(),
    "wide": synthetic.GaussianMixture.isotropic(np.zeros((1, 30)), 1.0),
}


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_the_data_themselves_are_healthy_samples(name, seed):
    samples, data = (SETS[name].sample(120, Generator(f"{seed}{part}")) for part in "ab")
    monitor = CollapseMonitor()
    told = monitor.inspect(samples, data)
    assert names(monitor) == ["healthy"]
    assert abs(told["diversity"] - 1) < 0.2


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), width=st.floats(0, 1e-3))
def test_all_samples_in_one_place(name, seed, width):
    rng = Generator(seed)
    data = SETS[name].sample(120, rng)
    samples = data[0] + width * rng.normal(data.shape)
    monitor = CollapseMonitor()
    monitor.inspect(samples, data)
    (finding,) = monitor.findings()
    assert finding.name == "mode collapse"
    assert "times as far apart" in finding.says


@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), copies=st.integers(2, 5))
def test_repeated_samples(seed, copies):
    """Far apart, but each of them several times."""
    rng = Generator(seed)
    data = SETS["wide"].sample(120, rng)
    samples = np.tile(SETS["wide"].sample(120 // copies + 1, rng), (copies, 1))[:120]
    monitor = CollapseMonitor()
    monitor.inspect(samples, data)
    (finding,) = monitor.findings()
    assert finding.name == "mode collapse"
    assert "repeat another sample" in finding.says


@pytest.mark.parametrize(
    ("name", "kept"),
    [("ring", [0, 4]), ("ring", [0, 3, 5]), ("grid", [0, 2, 4, 10, 14, 20, 22, 24])],
)
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_some_modes_only(name, kept, seed):
    """Samples as far apart as the data, no two alike, and yet most modes are missing."""
    rng = Generator(seed)
    monitor = CollapseMonitor()
    monitor.inspect(SETS[name].components(kept).sample(250, rng), SETS[name].sample(250, rng))
    (finding,) = monitor.findings()
    assert finding.name == "mode collapse"
    assert "have one near" in finding.says
    assert abs(finding.numbers["coverage"] - len(kept) / len(SETS[name].means)) < 0.15


@given(seed=st.integers(0, 10**6))
def test_samples_far_from_the_data_are_bad_but_not_collapsed(seed):
    """An untrained generator's noise covers nothing; it has not dropped modes."""
    rng = Generator(seed)
    monitor = CollapseMonitor()
    told = monitor.inspect(2 * rng.normal((120, 2)) + 0.01, SETS["ring"].sample(120, rng))
    assert told["precision"] < 0.5
    assert names(monitor) == ["healthy"]


@given(rng=seeds, n=st.integers(8, 12), d=st.integers(1, 4))
def test_measures_against_loops(rng, n, d):
    x, y = rng.normal(size=(n, d)), 1.5 * rng.normal(size=(n, d))
    exact = np.array([[math.dist(a, b) for b in y] for a in x])
    assert np.abs(distances(x, y) - exact).max() <= 1e-14 * exact.max()
    told = diversity(x, y)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    ratio = sum(math.dist(x[i], x[j]) for i, j in pairs) / sum(
        math.dist(y[i], y[j]) for i, j in pairs
    )
    assert abs(told["diversity"] - ratio) <= 1e-12
    covered = sum(
        any(math.dist(a, b) <= sorted(math.dist(a, c) for c in y)[5] for b in x) for a in y
    )
    assert told["coverage"] == covered / n


def test_data_of_one_point_and_refusals():
    monitor = CollapseMonitor()
    assert names(monitor) == ["healthy"]
    assert "nothing has been seen" in str(monitor.findings()[0])
    with pytest.raises(ShapeError, match="as many of each"):
        monitor.inspect(np.zeros((9, 2)), np.zeros((8, 2)))
    with pytest.raises(ShapeError, match="8 or more"):
        monitor.inspect(np.zeros((7, 2)), np.zeros((7, 2)))
    with pytest.raises(UsageError, match="peak is nan"):
        Limits(peak=math.nan)
    with pytest.raises(UsageError, match="at least 32"):
        CollapseMonitor(8)
    assert math.isnan(monitor.inspect(np.zeros((8, 2)), np.zeros((8, 2)))["diversity"])


def test_a_monitor_goes_on_from_its_state():
    rng = np.random.default_rng(0)
    straight, first, second = (CollapseMonitor(WINDOW) for _ in range(3))
    told = list(stream(3 * WINDOW, rng, accuracy=0.99, gradient=1e-4))
    samples, data = 0.01 * rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    for monitor, part in ((straight, told), (first, told[:WINDOW])):
        for numbers in part:
            monitor.observe(numbers)
        monitor.inspect(samples, data)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for numbers in told[WINDOW:]:
        second.observe(numbers)
    assert second.findings() == straight.findings()
    assert {"mode collapse", "discriminator overpowers"} <= set(names(second))
