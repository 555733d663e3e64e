"""Train the feature network of `tinygen.evaluation.features` on digits, and print its hash.

    TINYGEN_DATA=folder python benchmarks/feature_net.py [--steps 5000] --out FILE

Every batch has MNIST and, a quarter of it, the training part of the embedded 8 x 8 digits; images
are shifted and their contrast changed, and some of MNIST's are shown at 8 x 8 and back. Copy FILE
to tinygen/evaluation/feature_net.safetensors and the printed SHA-256 into features.py.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path

import numpy as np

import tinygen as tg
from tinygen import ops
from tinygen.checkpoints import save_tensors
from tinygen.data.images import ImageBatches, crop, normalise, read_images
from tinygen.evaluation.features import SIDE, FeatureNet
from tinygen.random import Generator


def shown(images: np.ndarray, rng: Generator) -> np.ndarray:
    """uint8 (N, 28, 28, 1) as the network sees them in training: floats."""
    x = normalise(crop(images, SIDE, rng, padding=2))
    x *= rng.uniform((len(x), 1, 1, 1), 0.7, 1.0)
    small = len(x) // 3
    coarse = ops.avg_pool2d(np.pad(x[:small], ((0, 0), (2, 2), (2, 2), (0, 0))), 4)  # (n, 8, 8, 1)
    x[:small] = ops.resize(coarse, (SIDE, SIDE), mode="bilinear")
    return x


def small_shown(images: np.ndarray, rng: Generator) -> np.ndarray:
    """uint8 (N, 8, 8, 1) likewise: resized, then moved by up to a small pixel."""
    x = np.asarray(ops.resize(normalise(images), (SIDE, SIDE), mode="bilinear"))
    return crop(x, SIDE, rng, padding=3) * rng.uniform((len(x), 1, 1, 1), 0.7, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tg.tune_allocator()
    train, test = read_images("mnist").split()
    rng = Generator("feature net")
    net = FeatureNet(rng=rng.spawn("weights"))
    small_train, small_test = read_images("digits").split()
    batches, draws = ImageBatches(train, options.batch, rng.spawn("data")), rng.spawn("shown")
    small_batches = ImageBatches(small_train, options.batch // 3, rng.spawn("small data"))
    optimizer = tg.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = tg.optim.Cosine(options.steps, warmup=100, min_factor=0.01)
    began = time.process_time()
    for step in range(options.steps):
        (images, labels), (small, small_labels) = next(batches), next(small_batches)
        x = np.concatenate([shown(images, draws), small_shown(small, draws)])
        _, logits = net(x)
        targets = np.concatenate([labels, small_labels])
        loss = ops.cross_entropy(logits, targets, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(schedule(step))
        if (step + 1) % 500 == 0:
            of = [net.describe(normalise(s.images))[1] == s.labels for s in (test, small_test)]
            used = time.process_time() - began
            print(
                f"step {step + 1}: loss {loss.item():.4f}, test accuracy {of[0].mean():.4f}, "
                f"of the small digits {of[1].mean():.4f}, "
                f"{used:.0f} s of CPU",
                flush=True,
            )
    save_tensors(options.out, net.state_dict())
    data = options.out.read_bytes()
    print(f"{options.out}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
