"""One VAE training step (784-512-20, batch 128): tinygen against PyTorch eager.

    python benchmarks/vae_step.py [--rounds 15] [--seconds 0.5] [--mkl] [--json FILE]

Time is the CPU time of one thread, median over interleaved blocks. The ratio is to the better of
PyTorch's fused and default AdamW.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from interleaved import compare, print_steps, resident_column

CANDIDATES = str(Path(__file__).parent / "vae_step_candidates.py")
BUILDERS = {
    "tinygen": "tinygen_step",
    "PyTorch, fused": "torch_fused_step",
    "PyTorch, default": "torch_default_step",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--mkl", action="store_true", help="tinygen with TINYGEN_BLAS=mkl as well")
    options = parser.parse_args()

    builders = BUILDERS | ({"tinygen, MKL": "tinygen_mkl_step"} if options.mkl else {})
    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in builders.items()}
    times = compare(candidates, options.rounds, options.seconds)
    best = min((name for name in times if "PyTorch" in name), key=lambda n: times[n]["median_ms"])
    print_steps(
        times,
        best,
        tolerance=1e-4 * abs(times["tinygen"]["first_losses"][0]),
        columns=resident_column(times),
    )
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
