"""One token of a GPT with a cache, batch 1: tinygen against PyTorch eager.

    python benchmarks/decoding.py [--rounds 15] [--seconds 1.0] [--json FILE]

Time is the CPU time of one thread, median over interleaved blocks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from interleaved import compare, print_steps

CANDIDATES = str(Path(__file__).parent / "decoding_candidates.py")
BUILDERS = {"tinygen": "tinygen_step", "PyTorch": "torch_step"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in BUILDERS.items()}
    times = compare(candidates, options.rounds, options.seconds)
    print_steps(times, "PyTorch", tolerance=0.5)  # "losses" are the first tokens
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
