"""Charts as SVG text: lines over steps, and points in the plane.

A chart is a plain string, to be put into a page. Colours are CSS variables of the page, so that a
chart follows its light or dark mode; series are named at their ends, not in a legend apart.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 590, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 122, 14, 38  # room for tick labels, series names and axis names


@dataclass(frozen=True)
class Series:
    """A named line through points (x, y); `colour` is 1 ... 4, of the page's palette."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 1


@dataclass(frozen=True)
class Rule:
    """A named horizontal line to compare with: a baseline."""

    name: str
    y: float


@dataclass(frozen=True)
class Cloud:
    """Points of the plane under one name; `radius` in pixels, `hollow` for circles."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 1
    radius: float = 1.6
    hollow: bool = False


@dataclass(frozen=True)
class _Frame:
    """The map from data to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int
    height: int
    right: int

    def across(self, x: float) -> float:
        low, high = self.x
        return _LEFT + (x - low) / (high - low) * (self.width - _LEFT - self.right)

    def down(self, y: float) -> float:
        low, high = self.y
        return self.height - _BOTTOM - (y - low) / (high - low) * (self.height - _TOP - _BOTTOM)


def line_chart(
    series: Sequence[Series],
    *,
    x_name: str,
    y_name: str,
    rules: Sequence[Rule] = (),
    y_most: float | None = None,
) -> str:
    """Lines over a common x axis. Points above `y_most` (a first loss, say) are cut off."""
    kept = [
        [(x, y) for x, y in line.points if math.isfinite(y) and (y_most is None or y <= y_most)]
        for line in series
    ]
    xs = [x for line in kept for x, _ in line]
    ys = [y for line in kept for _, y in line] + [rule.y for rule in rules]
    frame = _Frame(_range(xs), _range(ys, 0.06), WIDTH, HEIGHT, _RIGHT)
    parts = [*_axes(frame, x_name, y_name)]
    names: list[tuple[float, str, str]] = []
    for rule in rules:
        y = frame.down(rule.y)
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        names.append((y, rule.name, "muted"))
    for line, points in zip(series, kept, strict=True):
        if not points:
            continue
        path = " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line c{line.colour}" points="{path}"/>')
        if len(points) < 40:  # few enough to be looked at one by one
            parts += [
                f'<circle class="dot c{line.colour}" r="2.2" cx="{frame.across(x):.1f}" '
                f'cy="{frame.down(y):.1f}"><title>{x:g}: {y:.4g}</title></circle>'
                for x, y in points
            ]
        names.append((frame.down(points[-1][1]), line.name, f"c{line.colour}"))
    parts += _names(names)
    return _svg(parts, WIDTH, HEIGHT, f"{y_name} over {x_name}")


def scatter_chart(clouds: Sequence[Cloud], *, name: str, size: int = 300) -> str:
    """Clouds of points, x and y to the same scale, later ones on top."""
    points = [p for cloud in clouds for p in cloud.points]
    low = min(min(p) for p in points)
    high = max(max(p) for p in points)
    margin = 0.06 * (high - low or 1.0)
    both = (low - margin, high + margin)
    side = size - _TOP - _BOTTOM
    width = _LEFT + side + _TOP
    frame = _Frame(both, both, width, size, _TOP)
    parts = [*_axes(frame, "", "")]
    for cloud in clouds:
        kind = "ring" if cloud.hollow else "point"
        parts += [
            f'<circle class="{kind} c{cloud.colour}" r="{cloud.radius:g}" '
            f'cx="{frame.across(x):.1f}" cy="{frame.down(y):.1f}"/>'
            for x, y in cloud.points
        ]
    return _svg(parts, width, size, name)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers in [low, high]: multiples of 1, 2 or 5 times a power of ten, at most `most`."""
    span = high - low
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * k for k in (1, 2, 5, 10, 20) if span / (step * k) <= most)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(frame: _Frame, x_name: str, y_name: str) -> Iterable[str]:
    left, right = frame.across(frame.x[0]), frame.across(frame.x[1])
    bottom = frame.down(frame.y[0])
    for y in ticks(*frame.y):
        at = frame.down(y)
        yield f'<line class="grid" x1="{left}" x2="{right:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield (
            f'<text class="muted" x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{y:.6g}</text>'
        )
    for x in ticks(*frame.x):
        at = frame.across(x)
        yield (
            f'<text class="muted" x="{at:.1f}" y="{bottom + 15:.1f}" text-anchor="middle">'
            f"{x:.6g}</text>"
        )
    if x_name:
        middle = (left + right) / 2
        yield (
            f'<text class="muted" x="{middle:.1f}" y="{bottom + 31:.1f}" text-anchor="middle">'
            f"{escape(x_name)}</text>"
        )
    if y_name:
        yield f'<text class="muted" x="{left + 6}" y="{_TOP + 4}">{escape(y_name)}</text>'


def _names(names: list[tuple[float, str, str]]) -> list[str]:
    """Each name at the end of its line, pushed down where two would overlap."""
    parts, free = [], -math.inf
    for y, name, style in sorted(names):
        at = max(y + 4, free + 13)
        free = at
        parts.append(
            f'<text class="name {style}" x="{WIDTH - _RIGHT + 6}" y="{at:.1f}">'
            f"{escape(name)}</text>"
        )
    return parts


def _range(values: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or abs(high) or 1.0
    if low == high:
        margin = max(margin, 0.5)
    return low - margin * span, high + margin * span


def _svg(parts: Iterable[str], width: int, height: int, title: str) -> str:
    body = "\n".join(parts)
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n{body}\n</svg>'
    )
