"""One training step of a Llama: tinygen against PyTorch eager, CPU time of one thread.

    python benchmarks/llama_step.py [--large] [--rounds 15] [--seconds 1.0] [--json FILE]

The sizes and the conditions are those of `llama_step_candidates.py`; time is the median over
interleaved blocks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from interleaved import compare, print_steps, resident_column

CANDIDATES = str(Path(__file__).parent / "llama_step_candidates.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--large", action="store_true", help="6 layers of width 384, block 256")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    size = "large" if options.large else "small"
    builders = {"tinygen": f"tinygen_{size}", "PyTorch": f"torch_{size}"}
    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in builders.items()}
    times = compare(candidates, options.rounds, options.seconds)
    print_steps(times, "PyTorch", tolerance=1e-4, columns=resident_column(times))
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
