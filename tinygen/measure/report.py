"""A result as a page of Markdown: ratios with their intervals, verdicts, counts, and where from."""

from __future__ import annotations

import statistics
from typing import Any

from tinygen.measure.interleave import TWIN
from tinygen.measure.result import rows, same


def page(result: dict[str, Any]) -> str:
    """The A/A ratio opens each benchmark: what differs from 1 by less was not seen."""
    fingerprint = result["fingerprint"]
    lines = [
        f"`{result['command']}`, seed {result['seed']}",
        "",
        f"{fingerprint['cpu']}, {fingerprint['threads']} threads, {fingerprint['blas']}, "
        f"commit {fingerprint['git_commit']}, {result['before']['date']}, load "
        f"{result['before']['load'][0]:.2f} before and {result['after']['load'][0]:.2f} after.",
        "Ratios are ours over theirs, by round: below 1 ours is faster.",
    ]
    for benchmark in result["benchmarks"]:
        lines += ["", f"## {benchmark['name']}", "", *_table(benchmark)]
    return "\n".join(lines) + "\n"


def _table(benchmark: dict[str, Any]) -> list[str]:
    samples, ours = benchmark["samples"], benchmark["ours"]
    floor = same(benchmark)
    lines = [
        f"| contender | ms of {benchmark['clock']} time (quartiles) | ratio | interval | verdict |",
        "| --- | --- | --- | --- | --- |",
        f"| {ours} | {_times(samples[ours])} | | | |",
        f"| {TWIN} | {_times(samples[TWIN])} | {floor.median:.3f} | "
        f"{floor.low:.3f} - {floor.high:.3f} | what this run cannot tell |",
    ]
    for title, ratio, word in rows(benchmark):
        lines.append(
            f"| {title} | {_times(samples[title])} | {ratio.median:.3f} | "
            f"{ratio.low:.3f} - {ratio.high:.3f} | {word} |"
        )
    for title, why in benchmark["absent"].items():
        lines.append(f"| {title} | not installed: {why} | | | |")
    for title, difference in benchmark["wrong"].items():
        lines.append(f"| {title} | computes something else, by {difference:.2g} | | | WRONG |")
    counts = benchmark["counts"].get(ours, {})
    return [*lines, "", ", ".join(f"{name} {count:,}" for name, count in counts.items())]


def _times(samples: list[float]) -> str:
    low, median, high = (1e3 * value for value in statistics.quantiles(samples, n=4))
    return f"{median:.4g} ({low:.4g} - {high:.4g})"
