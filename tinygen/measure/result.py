"""The file of a run: one JSON with its format's version, provenance and every raw sample.

Nothing that follows from the samples is stored: ratios and verdicts are computed when it is read.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tinygen.errors import InputError
from tinygen.files import write_atomically
from tinygen.measure.interleave import TWIN
from tinygen.measure.verdict import Ratio, ratio, verdict

FORMAT = 1
LEAST = 5  # rounds, below which nothing has an interval


def save(result: dict[str, Any], path: Path) -> None:
    write_atomically(path, (json.dumps(result, indent=1) + "\n").encode())


def load(path: Path) -> dict[str, Any]:
    """The result in `path`. Raises InputError with everything that is wrong with it."""
    try:
        result = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; name a result file") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); write it with tinygen bench run") from error
    found = faults(result)
    if found:
        raise InputError(f"{path} is no result of tinygen bench: " + "; ".join(found))
    return dict(result)


def faults(result: Any) -> list[str]:
    """What keeps `result` from being one; empty where nothing does."""
    if not isinstance(result, dict):
        return ["it is no object"]
    if result.get("format") != FORMAT:
        return [f"its format is {result.get('format')!r}, not {FORMAT}"]
    found = [
        f"{name} is missing"
        for name in ("command", "seed", "fingerprint", "before", "after")
        if name not in result
    ]
    benchmarks = result.get("benchmarks")
    if not isinstance(benchmarks, list) or not benchmarks:
        return [*found, "it has no benchmarks"]
    for number, benchmark in enumerate(benchmarks):
        found += [f"benchmark {number}: {fault}" for fault in _benchmark_faults(benchmark)]
    return found


def _benchmark_faults(benchmark: Any) -> list[str]:
    if not isinstance(benchmark, dict):
        return ["it is no object"]
    names = ("name", "ours", "clock", "absent", "wrong", "samples", "counts")
    missing = [f"{name} is missing" for name in names if name not in benchmark]
    if missing:
        return missing
    samples = benchmark["samples"]
    if not isinstance(samples, dict) or not {benchmark["ours"], TWIN} <= samples.keys():
        return [f"samples of {benchmark['ours']} and its twin {TWIN} are missing"]
    found = []
    rounds = len(samples[TWIN]) if isinstance(samples[TWIN], list) else 0
    if rounds < LEAST:
        found.append(f"it has fewer than {LEAST} rounds")
    for title, times in samples.items():
        if not isinstance(times, list) or len(times) != rounds:
            found.append(f"{title} has not {rounds} samples")
        elif not all(_positive(time) for time in times):
            found.append(f"{title} has a sample that is no positive number")
    return found


def _positive(time: Any) -> bool:
    return isinstance(time, int | float) and math.isfinite(time) and time > 0


def same(benchmark: dict[str, Any]) -> Ratio:
    """The A/A ratio: of two runs of our contender, which differ by nothing."""
    samples = benchmark["samples"]
    return ratio(samples[benchmark["ours"]], samples[TWIN])


def rows(benchmark: dict[str, Any]) -> list[tuple[str, Ratio, str]]:
    """Each rival with the ratio of ours to it and the verdict. Ours ran twice a round, and their
    geometric mean is steadier than either."""
    samples, ours = benchmark["samples"], benchmark["ours"]
    both = [math.sqrt(a * b) for a, b in zip(samples[ours], samples[TWIN], strict=True)]
    floor = same(benchmark)
    rivals = [title for title in samples if title not in (ours, TWIN)]
    ratios = {title: ratio(both, samples[title]) for title in rivals}
    return [(title, ratios[title], verdict(ratios[title], floor)) for title in rivals]
