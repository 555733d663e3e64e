"""One VAE training step (784-512-20, batch 128): tinygen against PyTorch eager.

    python benchmarks/vae_step.py [--rounds 15] [--seconds 0.5] [--json FILE]

Time is the CPU time of one thread, median over interleaved blocks. The ratio is to the better of
PyTorch's fused and default AdamW.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from interleaved import compare  # noqa: E402  # a script beside this one

CANDIDATES = str(HERE / "vae_step_candidates.py")
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
    options = parser.parse_args()

    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in BUILDERS.items()}
    times = compare(candidates, options.rounds, options.seconds)
    ours = times["tinygen"]["first_losses"]
    best = min(t["median_ms"] for name, t in times.items() if name != "tinygen")
    print("candidate         median ms (quartiles)    ratio  losses of the first steps")
    for name, t in times.items():
        losses = t["first_losses"]
        off = max(abs(a - b) for a, b in zip(ours, losses, strict=True))
        if not off < 1e-4 * abs(ours[0]):
            raise SystemExit(f"{name} computes something else: losses {losses}, ours {ours}")
        print(
            f"{name:16}  {t['median_ms']:6.2f} ({t['low_ms']:.2f} - {t['high_ms']:.2f})".ljust(42),
            f"{t['median_ms'] / best:5.2f} ",
            " ".join(f"{loss:.3f}" for loss in losses),
        )
    if options.json:
        options.json.write_text(json.dumps(times, indent=2) + "\n")


if __name__ == "__main__":
    main()
