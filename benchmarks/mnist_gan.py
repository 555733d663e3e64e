"""A conditional DCGAN on MNIST: are its samples what they were asked to be?

    TINYGEN_DATA=... python benchmarks/mnist_gan.py [--steps 3000] [--threads 2] [--picture FILE]

A convolutional classifier is trained on the real training images first; the share of generated
images that it gives the class which was asked for is the *class accuracy* of the samples. One that
always draws the same perfect 3 would score as well, so the variety within a class is printed beside
it: mean distance of two images of a class, samples over test images (1 is as varied as the data).
Class accuracy of the test images themselves is the classifier's own.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import nn, ops, optim
from tinygen.data.images.batches import ImageBatches
from tinygen.data.images.idx import read_mnist_folder
from tinygen.data.images.transforms import denormalise, normalise
from tinygen.models.gan import LOSSES, Discriminator, Duel, GANConfig, Generator, Objective

CLASSES = 10


class Classifier(nn.Module):
    """(N, 28, 28, 1) -> logits (N, 10)."""

    def __init__(self, *, rng: tg.random.Generator) -> None:
        self.convs = [
            nn.Conv2d(1, 16, 5, stride=2, padding=2, rng=rng),
            nn.Conv2d(16, 32, 5, stride=2, padding=2, rng=rng),
        ]
        self.hidden = nn.Linear(7 * 7 * 32, 128, activation="relu", rng=rng)
        self.out = nn.Linear(128, CLASSES, rng=rng)

    def forward(self, x: Any) -> Any:
        for conv in self.convs:
            x = ops.relu(conv(x))
        return self.out(self.hidden(ops.reshape(x, (x.shape[0], -1))))

    def classes(self, images: np.ndarray) -> np.ndarray:
        with self.inference():
            parts = [self(images[i : i + 500]).numpy() for i in range(0, len(images), 500)]
        return np.concatenate(parts).argmax(1)


def train_classifier(model: Classifier, data: Any, epochs: int, rng: tg.random.Generator) -> None:
    batch = 128
    optimizer = optim.AdamW(model.parameters(), lr=2e-3)
    steps = epochs * len(data) // batch
    schedule, batches = optim.Cosine(steps, warmup=50), ImageBatches(data, batch, rng.spawn("data"))
    for i in range(steps):
        images, labels = next(batches)
        loss = ops.cross_entropy(model(normalise(images, signed=True)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(schedule(i))


def new_duel(options: argparse.Namespace, rng: tg.random.Generator) -> Duel:
    config = GANConfig(
        (28, 28, 1),
        latent=options.latent,
        architecture="dcgan",
        base=options.base,
        classes=CLASSES,
        conditioning=options.conditioning,
        discriminator_norm=options.norm,
    )
    generator = Generator(config, rng=rng.spawn("generator"))
    discriminator = Discriminator(config, rng=rng.spawn("discriminator"))
    return Duel(
        generator,
        discriminator,
        optim.Adam(generator.parameters(), options.lr, options.betas),
        optim.Adam(discriminator.parameters(), options.d_lr, options.betas),
        Objective(LOSSES[options.loss], r1=options.r1, r2=options.r2),
        ema=optim.EMA(generator, options.decay),
    )


def draw(duel: Duel, labels: np.ndarray, seed: int) -> np.ndarray:
    """Images of the classes asked for, from the average weights."""
    rng = tg.random.Generator(seed)
    assert duel.ema is not None
    with duel.ema.swap():
        parts = [
            duel.generator.sample(len(y), y, rng=rng)
            for y in np.array_split(labels, max(1, len(labels) // 500))
        ]
    return np.concatenate(parts)


def variety(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Root mean square distance of two different images of a class, by class."""
    flat, found = images.reshape(len(images), -1).astype(np.float64), []
    for k in range(CLASSES):
        members = flat[labels == k]
        found.append(np.sqrt(2 * members.var(axis=0, ddof=1).sum()))
    return np.array(found)


def judge(duel: Duel, classifier: Classifier, test: Any) -> dict[str, Any]:
    labels = np.repeat(np.arange(CLASSES), 500)
    images = draw(duel, labels, seed=1234)
    right = classifier.classes(images) == labels
    ratio = variety(images, labels) / variety(normalise(test.images, signed=True), test.labels)
    return {
        "class_accuracy": float(right.mean()),
        "worst_class": float(right.reshape(CLASSES, -1).mean(1).min()),
        "variety": float(ratio.mean()),
        "least_variety": float(ratio.min()),
    }


def save_picture(duel: Duel, path: Path) -> None:
    """Ten samples of each class, a class a row."""
    from PIL import Image

    images = denormalise(draw(duel, np.repeat(np.arange(CLASSES), 10), seed=7), signed=True)
    grid = images.reshape(CLASSES, 10, 28, 28).transpose(0, 2, 1, 3).reshape(CLASSES * 28, 280)
    Image.fromarray(grid).resize((560, 560), Image.Resampling.NEAREST).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--d-lr", type=float, default=5e-4)
    parser.add_argument("--betas", type=float, nargs=2, default=(0.0, 0.99))
    parser.add_argument("--loss", choices=list(LOSSES), default="non-saturating")
    parser.add_argument("--norm", choices=["none", "spectral", "batch"], default="none")
    parser.add_argument("--conditioning", choices=["embedding", "batch_norm"], default="batch_norm")
    parser.add_argument("--r1", type=float, default=0.2)
    parser.add_argument("--r2", type=float, default=0.0)
    parser.add_argument("--decay", type=float, default=0.995)
    parser.add_argument("--classifier-epochs", type=int, default=3)
    parser.add_argument("--classifier", type=Path, help=".npz to keep the classifier in")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=500, help="steps between figures")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = options.data or Path(os.environ.get("TINYGEN_DATA", ".")) / "mnist"

    from threadpoolctl import threadpool_limits

    tg.tune_allocator()
    with threadpool_limits(options.threads):
        run(options, folder)


def run(options: argparse.Namespace, folder: Path) -> None:
    data = read_mnist_folder(folder)
    train, test = data.split()
    rng = tg.random.Generator(options.seed)
    wall = time.perf_counter()
    classifier = Classifier(rng=rng.spawn("classifier"))
    if options.classifier and options.classifier.exists():
        classifier.load_state_dict(dict(np.load(options.classifier)))
    else:
        train_classifier(classifier, train, options.classifier_epochs, rng.spawn("classifier"))
        if options.classifier:
            np.savez(options.classifier, **classifier.state_dict())
    accuracy = float(
        (classifier.classes(normalise(test.images, signed=True)) == test.labels).mean()
    )
    print(f"classifier: {accuracy:.2%} of the test images, {time.perf_counter() - wall:.0f} s")
    if accuracy < 0.985:
        raise SystemExit("the classifier is too weak to judge: 98.5 % of the test images or more")

    duel, noise = new_duel(options, rng), rng.spawn("noise")
    batches = ImageBatches(train, options.batch, rng.spawn("data"))
    schedule = optim.Linear(options.steps, min_factor=0.1)
    record: dict[str, Any] = {
        "classifier": accuracy,
        "options": {k: str(v) for k, v in vars(options).items()},
    }
    wall, cpu = time.perf_counter(), time.process_time()
    for i in range(options.steps):
        images, labels = next(batches)
        z = duel.generator.noise(len(images), rng=noise)
        told = duel.step(normalise(images, signed=True), z, labels, lr_factor=schedule(i))
        if (i + 1) % options.every == 0 or i + 1 == options.steps:
            record |= judge(duel, classifier, test)
            record |= {
                "steps": i + 1,
                "wall_s": time.perf_counter() - wall,
                "cpu_s": time.process_time() - cpu,
            }
            print(
                f"step {i + 1:6}  class accuracy {record['class_accuracy']:.2%} "
                f"(worst class {record['worst_class']:.2%})  variety {record['variety']:.2f} "
                f"(least {record['least_variety']:.2f})  D right {told['accuracy']:.2f}  "
                f"{record['wall_s']:.0f} s, {record['cpu_s']:.0f} s of CPU",
                flush=True,
            )
            if options.picture:
                save_picture(duel, options.picture)
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
