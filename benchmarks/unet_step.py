"""One training step of a diffusion U-Net: tinygen against PyTorch eager, CPU time of one thread.

    python benchmarks/unet_step.py [--rounds 9] [--seconds 2.0] [--json FILE]

The architecture and the conditions are those of `unet_step_candidates.py`; time is the median over
interleaved blocks. PyTorch runs in its default layout, (N, C, H, W).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from interleaved import compare, print_steps, resident_column

CANDIDATES = str(Path(__file__).parent / "unet_step_candidates.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    builders = {"tinygen": "tinygen_step", "PyTorch": "torch_step"}
    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in builders.items()}
    times = compare(candidates, options.rounds, options.seconds)
    print_steps(times, "PyTorch", tolerance=1e-4, columns=resident_column(times))
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
