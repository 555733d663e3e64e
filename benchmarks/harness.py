"""Is the harness to be trusted? Identical code and a planted slowdown, beside a second process.

    python benchmarks/harness.py [--runs 100] [--rounds 31] [--seconds 0.05]

While another process keeps a core busy in bursts, each run times three contenders: ours, the same
code, and the same code with a tenth more work. The harness may never call the second FASTER or
SLOWER, and should call the first FASTER than the third; what stays UNDECIDED is counted.
"""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
from pathlib import Path

import numpy as np

from tinygen.measure import Benchmark
from tinygen.measure.interleave import interleave
from tinygen.measure.result import rows

BURSTS = """
import random, time
while True:
    end = time.time() + random.random()
    while time.time() < end:
        sum(range(999))
    time.sleep(random.random())
"""


def _work(times: int):
    x = np.linspace(-1, 1, 20_000, dtype="float32")
    out = np.empty_like(x)

    def work():
        for _ in range(times):
            np.tanh(x, out=out)
        return out

    return work


BENCHMARKS = [
    Benchmark(
        "planted",
        {"ours": lambda: _work(20), "identical": lambda: _work(20), "slower": lambda: _work(22)},
    )
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=0.05)
    options = parser.parse_args()
    said = {"identical": collections.Counter(), "slower": collections.Counter()}
    load = subprocess.Popen([sys.executable, "-c", BURSTS])
    try:
        for seed in range(options.runs):
            result = interleave(
                Path(__file__),
                BENCHMARKS[0],
                rounds=options.rounds,
                seconds=options.seconds,
                seed=seed,
            )
            for title, _, word in rows(result):
                said[title][word] += 1
            print(f"{seed + 1}/{options.runs}: {said}", file=sys.stderr)
    finally:
        load.kill()
        load.wait()
    for title, words in said.items():
        print(title, dict(words))


if __name__ == "__main__":
    main()
