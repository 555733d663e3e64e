"""Run everything that waits for a GPU, correctness first: python -m benchmarks.gpu

    python -m benchmarks.gpu                         every stage that has not succeeded yet
    python -m benchmarks.gpu --stage matmul          one of them, again
    python -m benchmarks.gpu --device sim --quick    the same code without a GPU, on tiny sizes

Each stage is a process of its own with a limit of 8 minutes, and writes DIR/STAGE.json with what
it found, on which machine, at which commit. A stage that has succeeded is not run again, so the
command can be repeated until nothing is left; DIR.tar.gz then holds all of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from benchmarks.gpu.stages import STAGES

LIMIT = 8 * 60


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", choices=STAGES, help="one stage, even if it has succeeded")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few repeats")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"), metavar="DIR")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for stage in [options.stage] if options.stage else STAGES:
        result = options.out / f"{stage}.json"
        if not options.stage and result.exists() and json.loads(result.read_text())["passed"]:
            print(f"{stage}: done before")
            continue
        print(f"{stage}: {STAGES[stage].__doc__}".splitlines()[0], flush=True)
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu.stages",
            stage,
            options.device,
            str(result),
        ]
        began = time.monotonic()
        try:
            done = subprocess.run([*command, *(["quick"] if options.quick else [])], timeout=LIMIT)
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = 124
        outcome = "passed" if code == 0 else f"failed, code {code}"
        print(f"{stage}: {outcome}, {time.monotonic() - began:.0f} s")
        if code:
            failed.append(stage)
            if stage in ("conformance", "tests", "delays") and not options.stage:
                print("nothing is timed before it is right")
                break
    with tarfile.open(f"{options.out}.tar.gz", "w:gz") as archive:
        archive.add(options.out, options.out.name)
    print(f"results in {options.out}, and all of them in {options.out}.tar.gz")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
