"""How many modes does each GAN loss find? The ring of 8 Gaussians and the grid of 25.

    python benchmarks/gan_modes.py [ring] [grid] [--losses NAME ...] [--json FILE]

On each set every loss trains the same two perceptrons from the same start on the same budget of
steps, and 10,000 samples of the average generator are counted:

    modes     with at least a tenth of their fair share of samples, within 3 standard deviations
    on mode   share of samples within 3 (and 4) standard deviations of some mode; the data 98.9 %
              (and 99.97 %)
    KL        of the modes' shares from uniform, in nats; 0 is even

The networks see the points divided by their standard deviation over the whole set, as one would
normalise any data. Times are CPU seconds of one thread, so that a busy machine does not count.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import tinygen as tg
from tinygen import optim
from tinygen.data import synthetic
from tinygen.models.gan import LOSSES, Discriminator, Duel, GANConfig, Generator, Objective


@dataclass(frozen=True)
class Run:
    """Everything that decides a training."""

    loss: str = "non-saturating"
    r1: float = 0.0
    r2: float = 0.0
    gradient_penalty: float = 0.0
    clip: float | None = None
    d_steps: int = 1
    """Steps of D to one of G."""
    penalty_end: float = 1.0
    """The penalties shrink geometrically to this part of themselves in the first 80 % of the run:
    as the samples gather on the modes, D has to be steep over a mode's width."""
    steps: int = 3000
    batch: int = 128
    latent: int = 2
    hidden: tuple[int, ...] = (128, 128, 128)
    lr: float = 2e-3
    betas: tuple[float, float] = (0.0, 0.99)
    decay: float = 0.99
    """Of the average of the generator's weights."""


RING = Run(steps=3000)
GRID = Run(steps=5000, batch=256)

RUNS: dict[str, dict[str, Run]] = {
    "ring": {
        "non-saturating": RING,
        "least-squares": replace(RING, loss="least-squares"),
        "hinge": replace(RING, loss="hinge"),
        "WGAN": replace(RING, loss="wasserstein", clip=0.3, d_steps=3, steps=1500),
        "WGAN-GP": replace(RING, loss="wasserstein", gradient_penalty=0.1, d_steps=3, steps=1500),
        "non-saturating + R1": replace(RING, r1=0.01, penalty_end=0.1),
        "R3GAN": replace(RING, loss="relativistic", r1=0.01, r2=0.01, penalty_end=0.1),
    },
    "grid": {
        "non-saturating": GRID,
        "relativistic alone": replace(GRID, loss="relativistic"),
        "non-saturating + R1": replace(GRID, r1=0.1, penalty_end=0.02),
        "R3GAN": replace(GRID, loss="relativistic", r1=0.1, r2=0.1, penalty_end=0.02),
    },
}


def train(data: synthetic.Modes | Any, run: Run, seed: int = 0) -> tuple[np.ndarray, float]:
    """(10,000 samples, CPU seconds of training)."""
    rng = tg.random.Generator(seed)
    config = GANConfig((2,), latent=run.latent, hidden=run.hidden)
    generator = Generator(config, rng=rng.spawn("generator"))
    discriminator = Discriminator(config, rng=rng.spawn("discriminator"))
    weights = {"r1": run.r1, "r2": run.r2, "gradient_penalty": run.gradient_penalty}
    objective = Objective(LOSSES[run.loss], clip=run.clip, **weights)
    ema = optim.EMA(generator, run.decay)
    players = (optim.Adam(m.parameters(), run.lr, run.betas) for m in (generator, discriminator))
    duel = Duel(generator, discriminator, *players, objective, ema=ema)
    schedule, draws = optim.Cosine(run.steps), rng.spawn("draws")
    scale = np.sqrt(np.trace(data.covariance) / 2).astype(np.float32)
    start = time.process_time()
    for i in range(run.steps):
        shrunk = run.penalty_end ** min(1.0, i / (0.8 * run.steps))
        duel.objective = replace(objective, **{k: w * shrunk for k, w in weights.items()})
        for turn in reversed(range(run.d_steps)):
            real = data.sample(run.batch, draws) / scale
            z = generator.noise(run.batch, rng=draws)
            if turn:
                fake = duel.fakes(z)
                duel.discriminator_step(real, fake, rng=draws, lr_factor=schedule(i))
            else:
                duel.step(real, z, rng=draws, lr_factor=schedule(i))
    seconds = time.process_time() - start
    with ema.swap():
        return scale * generator.sample(10_000, rng=rng.spawn("samples")), seconds


def count(samples: np.ndarray, data: Any) -> dict[str, Any]:
    """Modes found, shares of samples on a mode, and the unevenness of the modes."""
    distance = np.sqrt(((samples[:, None] - data.centres) ** 2).sum(-1))  # (n, K)
    k, nearest = len(data.centres), distance.argmin(1)
    on = distance.min(1) <= 3 * data.std
    counts = np.bincount(nearest[on], minlength=k)
    share = counts[counts > 0] / max(1, counts.sum())
    return {
        "modes": int((counts >= 0.1 * len(samples) / k).sum()),
        "of": k,
        "on_mode": float(on.mean()),
        "within_4_std": float((distance.min(1) <= 4 * data.std).mean()),
        "kl": float((share * np.log(share * k)).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", choices=[[], *RUNS], default=[])
    parser.add_argument("--losses", nargs="+", help="names of rows; all if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    tg.tune_allocator()
    record: dict[str, Any] = {}
    with threadpool_limits(1):
        for name in options.sets or RUNS:
            data = getattr(synthetic, name)()
            truth = count(data.sample(10_000, tg.random.Generator("truth")), data)
            print(f"{name}: {truth['of']} modes of standard deviation {data.std:.3g}")
            print(
                "loss                  modes  on mode (3, 4 std)      KL    steps   CPU s  ms/step"
            )
            print_row("the data", truth)
            for label, run in RUNS[name].items():
                if options.losses and label not in options.losses:
                    continue
                samples, seconds = train(data, run, options.seed)
                found = count(samples, data)
                print_row(label, found, run.steps, seconds)
                row = {"run": asdict(run), **found, "cpu_s": seconds}
                record.setdefault(name, {})[label] = row
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def print_row(label: str, found: dict[str, Any], steps: int = 0, seconds: float = 0.0) -> None:
    timing = f"{steps:7}  {seconds:6.1f}  {1e3 * seconds / steps:7.1f}" if steps else ""
    print(
        f"{label:20}  {found['modes']:2}/{found['of']:2}  {found['on_mode']:7.1%} "
        f"{found['within_4_std']:7.1%}  {found['kl']:9.3f}  {timing}",
        flush=True,
    )


if __name__ == "__main__":
    main()
