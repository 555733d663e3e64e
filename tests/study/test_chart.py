"""Charts are well-formed SVG, and every point stands where its numbers say."""

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygen.study.chart import Cloud, Rule, Series, line_chart, scatter_chart, ticks

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBERS, st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_few_round_numbers_inside(low: float, span: float, most: int) -> None:
    high = low + span
    assume(high > low)
    found = ticks(low, high, most)
    assert len(found) <= most + 1
    rounding = 4 * math.ulp(max(abs(low), abs(high))) / span  # of ticks far from 0
    slack = (1e-6 + rounding) * span
    assert all(low - slack <= t <= high + slack for t in found)
    steps = {round((b - a) / span, 9) for a, b in itertools.pairwise(found)}
    assert len(steps) <= 1 or max(steps) - min(steps) < 1e-6 + rounding


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20))
def test_a_line_chart_is_svg_and_inside_its_frame(points: list[tuple[float, float]]) -> None:
    text = line_chart([Series("loss <1>", points)], x_name="step", y_name="nats")
    root = ET.fromstring(text)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for x, y in (p.split(",") for p in re.search(r'points="([^"]*)"', text)[1].split()):  # type: ignore[index]
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height
    assert "loss &lt;1&gt;" in text


def test_larger_values_stand_higher_and_later_steps_farther_right() -> None:
    text = line_chart([Series("a", [(0, 1.0), (10, 3.0)])], x_name="", y_name="")
    (x0, y0), (x1, y1) = (
        tuple(map(float, p.split(",")))
        for p in re.search(r'points="([^"]*)"', text)[1].split()  # type: ignore[index]
    )
    assert x0 < x1
    assert y0 > y1


def test_rules_are_drawn_and_named_and_what_is_not_finite_is_left_out() -> None:
    series = Series("loss", [(0, 9.0), (1, math.nan), (2, 1.0), (3, math.inf)])
    text = line_chart([series], x_name="s", y_name="l", rules=[Rule("bigram", 2.0)], y_most=5.0)
    assert "bigram" in text
    assert 'class="rule"' in text
    assert len(re.search(r'points="([^"]*)"', text)[1].split()) == 1  # type: ignore[index]
    assert "nan" not in text.replace("role", "")


def test_names_of_lines_that_end_together_do_not_overlap() -> None:
    lines = [Series(f"line {i}", [(0, 0.0), (1, 1.0)], i) for i in (1, 2, 3)]
    text = line_chart(lines, x_name="", y_name="")
    heights = sorted(float(y) for y in re.findall(r'class="name[^"]*" x="[^"]*" y="([^"]*)"', text))
    assert all(b - a >= 12.9 for a, b in itertools.pairwise(heights))


@pytest.mark.parametrize("hollow", [False, True])
def test_a_cloud_keeps_its_shape(hollow: bool) -> None:
    text = scatter_chart([Cloud("ring", [(0, 0), (1, 0), (0, 1)], hollow=hollow)], name="ring")
    ET.fromstring(text)
    at = [tuple(map(float, p)) for p in re.findall(r'cx="([^"]*)" cy="([^"]*)"', text)]
    right = at[1][0] - at[0][0]
    up = at[0][1] - at[2][1]
    assert right == pytest.approx(up, abs=0.2)
    assert right > 0
