"""A trained image model of MNIST judged with guidance: are its samples of the class asked for?

    TINYGEN_DATA=... tinygen train diffusion --preset mnist --out RUN
    TINYGEN_DATA=... python benchmarks/mnist_diffusion.py RUN [--guidance 3] [--json FILE]

`tinygen eval RUN` judges the model's own distribution; guidance (Ho and Salimans 2021) sharpens
each class beyond it, at the price of variety, so the Fréchet distance is printed beside the
accuracy. The held-out part is the first 5,000 of MNIST's test images.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from tinygen.cli.saved import saved_config, saved_family, trained_state
from tinygen.data.images import normalise, read_images
from tinygen.random import Generator
from tinygen.recipes.assessment import assess_images, last
from tinygen.training.run import Run

AT_ONCE = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=18, help="evaluations of the sampler")
    parser.add_argument("--samples", type=int, default=1000, help="a multiple of 200")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    run = Run(options.run)
    family = saved_family(run)
    painter = family.restore(saved_config(run, family), trained_state(run, None))
    sampling = family.sampling.overridden(
        [("steps", str(options.steps)), ("guidance", str(options.guidance))]
    )
    train, test = read_images("mnist").split()
    start = time.process_time()
    samples = np.concatenate(
        [
            last(painter.paint(AT_ONCE, Generator(k), sampling))  # classes 0, 1, ... 9, 0, ...
            for k in range(options.samples // AT_ONCE)
        ]
    )
    held_out = normalise(test.images[:5000])
    found = dict(assess_images(samples, train, held_out, test.labels[:5000], told=True))
    found |= {
        "guidance": options.guidance,
        "samples": len(samples),
        "cpu_s": time.process_time() - start,
    }
    for name, value in found.items():
        print(f"{name:28} {value:.4g}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
