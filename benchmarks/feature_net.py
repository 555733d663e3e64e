"""Train the feature network of `tinygen.evaluation.features` on MNIST, and print its hash.

    TINYGEN_DATA=folder python benchmarks/feature_net.py [--steps 5000] --out FILE

Images are shifted by up to two pixels and their contrast changed, and a third are shown at 8 x 8
and back, so that small pictures are not strangers to it. Copy FILE to
tinygen/evaluation/feature_net.safetensors and the printed SHA-256 into features.py.
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
    batches, draws = ImageBatches(train, options.batch, rng.spawn("data")), rng.spawn("shown")
    optimizer = tg.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = tg.optim.Cosine(options.steps, warmup=100, min_factor=0.01)
    began = time.process_time()
    for step in range(options.steps):
        images, labels = next(batches)
        _, logits = net(shown(images, draws))
        loss = ops.cross_entropy(logits, labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(schedule(step))
        if (step + 1) % 500 == 0:
            _, classes = net.describe(normalise(test.images))
            accuracy = (classes == test.labels).mean()
            used = time.process_time() - began
            print(
                f"step {step + 1}: loss {loss.item():.4f}, test accuracy {accuracy:.4f}, "
                f"{used:.0f} s of CPU",
                flush=True,
            )
    save_tensors(options.out, net.state_dict())
    data = options.out.read_bytes()
    print(f"{options.out}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
