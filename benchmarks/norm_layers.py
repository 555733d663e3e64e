"""Norms, pooling and resizing of images: tinygen against PyTorch eager, CPU time of one thread.

    python benchmarks/norm_layers.py [CASE ...] [--rounds 7] [--seconds 0.3] [--json FILE]

Each case is one layer, forward and backward; time is the median over interleaved blocks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from interleaved import compare
from norm_layers_candidates import CASES

CANDIDATES = str(Path(__file__).parent / "norm_layers_candidates.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    record: dict[str, Any] = {}
    print("case                 shape                tinygen ms  PyTorch ms  ratio")
    for case in options.cases:
        candidates = {who: f"{CANDIDATES}:{who}_{case}" for who in ("tinygen", "torch")}
        times = record[case] = compare(candidates, options.rounds, options.seconds)
        ours, theirs = (times[who] for who in candidates)
        off = max(
            abs(a - b) / max(1.0, abs(b))
            for a, b in zip(ours["first_losses"], theirs["first_losses"], strict=True)
        )
        if not off < 1e-2:
            raise SystemExit(f"{case}: the two compute different things: {times}")
        print(
            f"{case:20} {'x'.join(map(str, CASES[case][0])):20}",
            f"{ours['median_ms']:10.2f}  {theirs['median_ms']:10.2f}",
            f" {ours['median_ms'] / theirs['median_ms']:5.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
