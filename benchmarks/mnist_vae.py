"""A VAE of dynamically binarised MNIST with 50 latents: its test log-likelihood in nats.

    TINYGEN_DATA=folder python benchmarks/mnist_vae.py [--epochs 60] [--test 10000] [--json FILE]

The folder holds mnist/*.gz, the four IDX files. Every epoch draws each pixel anew from its grey
value. The last 5,000 training images are held out: the weights kept are those of the best ELBO on
them, and the test images are looked at once, at the end, binarised by a fixed draw. The figure is
the importance-sampled log-likelihood with 5,000 samples (Burda et al. 2016, section 5).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen.models.vae import VAE, VAEConfig, kl_warmup, log_likelihood

HELD_OUT = 5000


def read_images(name: str) -> np.ndarray:
    """(N, 784), grey values in [0, 1]."""
    raw = gzip.decompress((Path(os.environ["TINYGEN_DATA"]) / "mnist" / name).read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255


def binarised(images: np.ndarray, rng: tg.random.Generator) -> np.ndarray:
    return (rng.uniform(images.shape) < images).astype(np.float32)


def train(options: argparse.Namespace, images: np.ndarray) -> tuple[VAE, dict[str, Any]]:
    rng = tg.random.Generator(options.seed)
    config = VAEConfig((784,), options.latent, tuple(options.hidden), activation=options.activation)
    model = VAE(config, rng=rng.spawn("model"))
    training, held_out = images[:-HELD_OUT], images[-HELD_OUT:]
    held_out = binarised(held_out, rng.spawn("held out"))
    steps_an_epoch = len(training) // options.batch
    steps = steps_an_epoch * options.epochs
    optimizer = tg.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=options.weight_decay)
    schedule = tg.optim.Cosine(steps, warmup=steps_an_epoch, min_factor=0.01)
    draws = rng.spawn("training")
    best, best_state, history = np.inf, model.state_dict(), []
    start, cpu, step, evaluation = time.monotonic(), time.process_time(), 0, 0.0
    for epoch in range(options.epochs):
        order = draws.permutation(len(training))
        for i in range(steps_an_epoch):
            x = training[order[i * options.batch : (i + 1) * options.batch]]
            x = binarised(x, draws)
            if epoch >= options.epochs - options.iwae_epochs:
                loss = -model.iwae(x, options.iwae, rng=draws).mean()
            else:
                beta = kl_warmup(step, options.kl_warmup * steps_an_epoch)
                loss = model.loss(x, rng=draws, beta=beta)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(schedule(step))
            step += 1
        if (epoch + 1) % options.every == 0 or epoch == options.epochs - 1:
            checking = time.process_time()
            with model.inference():
                bound = -model.iwae(held_out, 8, rng=rng.spawn("bound"), chunk=1).mean().item()
            evaluation += time.process_time() - checking
            used = time.process_time() - cpu - evaluation
            history.append({"epoch": epoch + 1, "held_out": bound, "cpu_s": used})
            print(
                f"epoch {epoch + 1:4d}  train {loss.item():7.2f}  held out {bound:7.2f} (IWAE-8)"
                f"  {used:6.1f} s of CPU, {time.monotonic() - start:6.1f} s",
                flush=True,
            )
            if bound < best:
                best, best_state = bound, model.state_dict()
    model.load_state_dict(best_state)
    return model, {
        "history": history,
        "train_cpu_s": history[-1]["cpu_s"],
        "train_wall_s": time.monotonic() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 512])
    parser.add_argument("--latent", type=int, default=50)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--kl-warmup", type=int, default=5, help="epochs")
    parser.add_argument("--iwae", type=int, default=5, help="samples of the last epochs' bound")
    parser.add_argument("--iwae-epochs", type=int, default=0)
    parser.add_argument("--every", type=int, default=5, help="epochs between checks")
    parser.add_argument("--test", type=int, default=10000, help="test images, the first of 10,000")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--save", type=Path, help="where the weights go, as .npz")
    options = parser.parse_args()

    tg.tune_allocator()
    model, record = train(options, read_images("train-images-idx3-ubyte.gz"))
    if options.save:
        np.savez(options.save, **model.state_dict())
    test = read_images("t10k-images-idx3-ubyte.gz")
    test = binarised(test, tg.random.Generator("test images"))[: options.test]
    start = time.monotonic()
    rng = tg.random.Generator("importance samples")
    with model.inference():
        elbo = np.mean([model.elbo(test, rng=rng).numpy() for _ in range(4)])
    nll = log_likelihood(model, test, samples=options.samples, rng=rng)
    record |= {
        "test_nll": -nll.mean,
        "standard_error": nll.standard_error,
        "test_elbo": float(elbo),
        "test_images": len(test),
        "evaluation_wall_s": time.monotonic() - start,
        "options": {name: str(value) for name, value in vars(options).items()},
    }
    print(
        f"test NLL {-nll.mean:.2f} +- {nll.standard_error:.2f} nats ({options.samples} samples, "
        f"{len(test)} images); -ELBO {-elbo:.2f}; training {record['train_cpu_s']:.0f} s of CPU, "
        f"{record['train_wall_s']:.0f} s; evaluation {record['evaluation_wall_s']:.0f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
