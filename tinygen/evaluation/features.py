"""The network in whose features images are compared: a small classifier of digits that tinygen has
trained itself, frozen, with its weights shipped beside this file and checked by their SHA-256.

    (N, H, W, C) in [0, 1] ─▶ grey, 28 x 28 ─▶ three convolutions ─▶ 64 features ─▶ 10 classes
                                               of stride 2, silu      silu

Distances in the features of a network of ImageNet photographs say little of small grey pictures,
and differ with its weights and the software that resizes; distances in this one can be computed
again, bit for bit. `python benchmarks/feature_net.py` trained it, on the training parts of MNIST
and of the embedded 8 x 8 digits; figures compare within one version of the weights only.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen import nn, ops
from tinygen.checkpoints import load_tensors
from tinygen.errors import InputError, ShapeError
from tinygen.function import Value
from tinygen.random import Generator

WEIGHTS = Path(__file__).parent / "feature_net.safetensors"
SHA256 = "43e740c6b48680cfe4765d7699517e1278a3af6f9287bfa2294218a78a5180b9"

SIDE = 28
FEATURES = 64
CLASSES = 10


class FeatureNet(nn.Module):
    """Pictures of digits -> features, and classes from them."""

    def __init__(self, *, rng: Generator) -> None:
        widths = (1, 8, 16, 32)
        self.convolutions = [
            nn.Conv2d(a, b, 3, stride=2, padding=1, rng=rng) for a, b in pairwise(widths)
        ]
        self.features = nn.Linear(4 * 4 * widths[-1], FEATURES, rng=rng)
        self.out = nn.Linear(FEATURES, CLASSES, rng=rng)

    def forward(self, x: Value) -> tuple[Any, Any]:
        """x (N, 28, 28, 1) in [0, 1] -> features (N, 64), logits (N, 10)."""
        for convolution in self.convolutions:
            x = ops.silu(convolution(x))  # 28 -> 14 -> 7 -> 4
        h = ops.silu(self.features(ops.reshape(x, (x.shape[0], -1))))
        return h, self.out(h)

    def describe(
        self, images: NDArray[Any], batch: int = 256
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features (N, 64) and the most likely classes (N,) of images (N, H, W, C) in [0, 1]."""
        pictures = prepared(images)
        features, classes = [], []
        with self.inference():
            for start in range(0, len(pictures), batch):
                h, logits = self(pictures[start : start + batch])
                features.append(h.data if hasattr(h, "data") else h)
                classes.append(np.argmax(np.asarray(logits.numpy()), axis=1))
        return np.concatenate(features), np.concatenate(classes)


def prepared(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images (N, H, W, C) in [0, 1], clipped, as grey (N, 28, 28, 1): the mean of the channels,
    resized bilinearly."""
    if images.ndim != 4 or not images.size:
        raise ShapeError(f"images of shape {images.shape}: (N, H, W, C) in [0, 1] is needed.")
    grey = np.clip(images, 0, 1).mean(axis=3, keepdims=True, dtype=np.float32)
    if grey.shape[1:3] == (SIDE, SIDE):
        return grey
    resized: NDArray[np.float32] = ops.resize(grey, (SIDE, SIDE), mode="bilinear")
    return resized


@lru_cache(maxsize=1)
def feature_net() -> FeatureNet:
    """The frozen network. Raises InputError where its weights are damaged."""
    try:
        found = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot read {WEIGHTS}: {error.strerror}; install tinygen again"
        ) from error
    if found != SHA256:
        raise InputError(
            f"the weights of the feature network are not the published ones: their sha256 is "
            f"{found}, expected {SHA256}; install tinygen again"
        )
    network = FeatureNet(rng=Generator(0))
    network.load_state_dict(load_tensors(WEIGHTS))
    return network.eval()
