"""One DCGAN training step, 32x32, batch 64: tinygen against PyTorch eager.

    python benchmarks/dcgan_step.py [--rounds 15] [--seconds 2.0] [--json FILE]

Time is the CPU time of one thread, median over interleaved blocks. The baseline is PyTorch in its
default layout, as its own DCGAN example is written; beside it PyTorch with D frozen while G learns,
and that in the channels-last layout.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from interleaved import compare, print_steps, resident_column

CANDIDATES = str(Path(__file__).parent / "dcgan_step_candidates.py")
BUILDERS = {
    "tinygen": "tinygen_step",
    "PyTorch": "torch_step",
    "PyTorch, D frozen": "torch_frozen_step",
    "and channels last": "torch_channels_last_step",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in BUILDERS.items()}
    times = compare(candidates, options.rounds, options.seconds)
    # Adam begins with lr sign(g), and rounding decides the sign of the smallest gradients.
    print_steps(times, "PyTorch", tolerance=5e-3, columns=resident_column(times))
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
