"""Speculative sampling against plain sampling, with two trained runs of one tokenizer.

    python benchmarks/speculation.py LARGE SMALL [--proposals 2 4 6] [--rounds 9]

CPU time of one thread a token, texts of 96 tokens after a prompt of 24, median over rounds in which
the ways take turns; beside it how many tokens a pass of the large model gives.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np

import tinygen as tg
from tinygen.backend.threads import blas_threads
from tinygen.cli.saved import saved_config, saved_family, trained_state
from tinygen.decoding import Sampler, Step, sample, sample_speculatively
from tinygen.training.run import Run

PROMPT, TOKENS = 24, 96
TEXT = (
    "The module provides a function that returns a list of the names in the current directory, and "
    "an iterator over the values of a mapping. If the argument is not given, the default is used."
)


def writer_of(folder: str):
    run = Run(folder)
    family = saved_family(run)
    return family.restore(saved_config(run, family), trained_state(run, None))


class Counted:
    """A model whose passes are counted."""

    def __init__(self, model) -> None:
        self.model, self.vocab_size, self.passes = model, model.vocab_size, 0

    def session(self):
        session = self.model.session()
        read = session.read

        def counted(*arguments, **options):
            self.passes += 1
            return read(*arguments, **options)

        session.read = counted
        return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("large")
    parser.add_argument("small")
    parser.add_argument("--proposals", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.0, 0.8, 1.0])
    options = parser.parse_args()

    tg.tune_allocator()
    large, small = writer_of(options.large), writer_of(options.small)
    text = large.tokenizer.encode(TEXT).astype(np.int64)
    print("temperature  way            ms a token  ratio  tokens a pass")
    for temperature in options.temperature:
        ways = {"plain": 0} | {f"{n} proposals": n for n in options.proposals}
        times: dict[str, list[float]] = {way: [] for way in ways}
        passes = dict.fromkeys(ways, 0)
        for turn in range(options.rounds):
            prompt = text[None, turn * 8 : turn * 8 + PROMPT]
            for way, n in ways.items():
                model = Counted(large.model)
                start = time.process_time()
                for _ in steps(model, small.model, prompt, n, temperature, turn):
                    pass
                times[way].append((time.process_time() - start) / TOKENS * 1e3)
                passes[way] += model.passes
        plain = statistics.median(times["plain"])
        for way, values in times.items():
            ms = statistics.median(values)
            rate = TOKENS * options.rounds / passes[way]
            print(f"{temperature:11}  {way:12}  {ms:11.2f}  {ms / plain:5.2f}  {rate:13.2f}")
        sys.stdout.flush()


def steps(model, draft, prompt, proposals: int, temperature: float, seed: int) -> Iterator[Step]:
    shared = {
        "max_new_tokens": TOKENS,
        "sampler": Sampler(temperature),
        "rng": tg.random.Generator(seed),
    }
    if not proposals:
        return sample(model, prompt, **shared)
    return sample_speculatively(model, draft, prompt, proposals=proposals, **shared)


if __name__ == "__main__":
    with blas_threads(1):
        main()
