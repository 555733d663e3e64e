"""A tour of the four families: what each learned in a few seconds, measured and shown.

A `Chapter` is one family's part of the page: its figures, each beside the baseline that it has to
beat, and its pictures. `tinygen demo` trains the runs and puts the chapters into one file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.data.synthetic import PLANAR
from tinygen.evaluation.modes import modes_found
from tinygen.models.vae import log_likelihood
from tinygen.random import Generator
from tinygen.recipes import family
from tinygen.recipes.assessment import last
from tinygen.recipes.examples import starting_noise
from tinygen.study import page
from tinygen.study.chart import Cloud, Rule, Series, line_chart, scatter_chart
from tinygen.study.pictures import grid
from tinygen.training.metrics import read_metrics
from tinygen.training.run import Run

Array = NDArray[Any]

SCALE = 5
"""Pixels of the page to a pixel of an 8 x 8 image."""


@dataclass(frozen=True)
class Gate:
    """A figure, what it is held against, and whether it holds."""

    what: str
    figure: str
    baseline: str
    met: bool

    @property
    def row(self) -> tuple[str, str, str, str]:
        return self.what, self.figure, self.baseline, "met" if self.met else "missed"


@dataclass(frozen=True)
class Chapter:
    """One family: `parts` are pieces of HTML, `text` what it wrote, if it writes."""

    title: str
    gates: Sequence[Gate]
    parts: Sequence[str]
    text: str = ""


# ---- the four ------------------------------------------------------------------------------------


def gpt_chapter(run: Run, recipe: Any) -> Chapter:
    """Validation loss against a bigram model, and a text."""
    name, baseline = recipe.baseline()
    loss = recipe.evaluate()["val_loss"]
    sampling = family("gpt").sampling.updated({"prompt": "The ", "tokens": 400}, where="demo")
    text = "".join(recipe.writer.sample(Generator(0), sampling))
    gate = Gate(
        "GPT: validation loss, nats a byte",
        f"{loss:.3f}",
        f"{baseline:.3f}, a {name} model",
        loss < baseline,
    )
    chart = loss_chart(run, "nats a byte", Rule(name, baseline), most=baseline + 1.0)
    parts = [
        page.paragraph(
            "A transformer reads text byte by byte and learns to say which byte comes next. Its "
            "text is the language reference of this Python; the last tenth was kept from it."
        ),
        page.row(
            [
                page.figure(
                    chart,
                    "The loss as it falls, and that of a model that knows only how "
                    "often each byte follows each other.",
                ),
                page.figure(page.preformatted(text), 'What it writes after "The ".'),
            ]
        ),
    ]
    return Chapter("Transformer: a GPT that writes", [gate], parts, text)


def vae_chapter(run: Run, recipe: Any) -> Chapter:
    """Likelihood by importance sampling, reconstructions, samples and a walk."""
    name, baseline = recipe.baseline()
    painter = recipe.painter
    nll = -log_likelihood(
        recipe.model, recipe.data.held_out, samples=100, rng=Generator("importance samples")
    ).mean
    gate = Gate(
        "VAE: test images, nats an image", f"{nll:.1f}", f"{baseline:.1f}, {name}", nll < baseline
    )
    seen = recipe.data.held_out[:16]
    again = painter.settings.picture(recipe.model.reconstruct(seen))
    options = family("vae").sampling
    samples = last(painter.paint(48, Generator(1), options))
    path = options.updated({"what": "walk"}, where="demo")
    walk = np.stack(list(painter.paint(5, Generator(2), path)), axis=1)[:4]  # (4, steps, 8, 8, 1)
    pairs = np.concatenate([painter.settings.picture(seen), again])
    parts = [
        page.paragraph(
            "A variational auto-encoder squeezes each 8 x 8 digit into a few numbers and draws it "
            "again from them; new digits come from random numbers. The test images are the last "
            "360, written by other hands than most of the 1,437 that it learned from."
        ),
        page.row(
            [
                page.figure(
                    loss_chart(run, "nats an image", Rule(name, baseline)),
                    "The bound on the likelihood, and what pixels by themselves would give.",
                ),
                images(samples, "Digits that were never written.", columns=8),
                images(
                    pairs,
                    "Test digits, and below each row what the model makes of them.",
                    columns=16,
                ),
            ]
        ),
        images(
            walk.reshape(-1, *walk.shape[2:]),
            "Walks through the latent space, each row from one digit to the next row's first.",
            columns=walk.shape[1],
        ),
    ]
    return Chapter("VAE: digits from twelve numbers", [gate], parts)


def gan_chapter(run: Run, recipe: Any) -> Chapter:
    """Modes of the ring, and the points themselves."""
    truth: Any = PLANAR[recipe.config.data.source]()
    z = starting_noise(2500, (recipe.painter.config.latent,), Generator(1))
    with recipe.ema.swap():
        fake = recipe.painter.samples(z, None)
    count = modes_found(fake, truth.centres, truth.std)
    gates = [
        Gate("GAN: modes found", f"{count.found}", f"{count.modes}", count.found == count.modes),
        Gate("GAN: samples on a mode", f"{count.on_mode:.1%}", "90 %", count.on_mode >= 0.9),
    ]
    real = truth.sample(1000, Generator(2))
    clouds = [Cloud("data", real.tolist(), 2, 1.2), Cloud("samples", fake[:1000].tolist(), 1, 1.2)]
    lines = read_metrics(run.metrics_path)
    curve = [(line["step"], line["on_mode"]) for line in lines if "on_mode" in line]
    parts = [
        page.paragraph(
            "Two networks play against each other: one makes points, the other tells them from "
            "data, here eight narrow heaps on a circle. A plain GAN drops some of them; this one "
            "is R3GAN's, relativistic with both gradient penalties."
        ),
        page.row(
            [
                page.figure(
                    scatter_chart(clouds, name="samples and data"),
                    "Samples (blue) over data (orange).",
                ),
                page.figure(
                    line_chart(
                        [Series("on a mode", curve)],
                        x_name="step",
                        y_name="part",
                        rules=[Rule("to reach", 0.9)],
                    ),
                    "The part of the samples that lie within four standard deviations of a heap.",
                ),
            ]
        ),
    ]
    return Chapter("GAN: every heap of a ring", gates, parts)


def diffusion_chapter(run: Run, recipe: Any) -> Chapter:
    """Distance of samples to test images, samples of every class, and the steps from noise."""
    painter = recipe.painter
    options = family("diffusion").sampling
    with recipe.ema.swap():
        many = last(painter.paint(1000, Generator(1), options))
        told = options.updated({"guidance": 2.0}, where="demo")
        steps = list(painter.paint(60, Generator(3), told))
    judged = recipe.data.assess(many, told=True)
    ceiling, floor = judged["frechet_ceiling"], judged["frechet_floor"]
    gates = [
        Gate(
            "diffusion: Fréchet distance to test digits",
            f"{judged['frechet']:.1f}",
            f"{ceiling / 2:.1f}, half of a Gaussian fit's (training digits: {floor:.1f})",
            judged["frechet"] < ceiling / 2,
        ),
        Gate(
            "diffusion: digits of the class asked for",
            f"{judged['class_accuracy']:.1%}",
            f"80 % (test digits: {judged['class_accuracy_of_held_out']:.1%})",
            judged["class_accuracy"] > 0.8,
        ),
    ]
    shown = [*range(0, len(steps) - 1, 3), len(steps) - 1]
    strip = np.concatenate([steps[i][:5] for i in shown])  # step by step, five digits each
    strip = strip.reshape(len(shown), 5, *strip.shape[1:]).swapaxes(0, 1).reshape(strip.shape)
    name, baseline = recipe.baseline()
    parts = [
        page.paragraph(
            "A network learns which way leads from noise to data, and samples follow it in 20 "
            "steps. It was told the class of each digit, and can be asked for one."
        ),
        page.row(
            [
                page.figure(
                    loss_chart(run, "squared error", Rule(name, baseline)),
                    "The error of the velocity; most of it is noise that nobody can know.",
                ),
                images(steps[-1], "The ten classes, six times, at guidance 2.", columns=10),
                images(
                    strip,
                    "On the way from noise to five digits.",
                    columns=len(shown),
                ),
            ]
        ),
    ]
    return Chapter("Diffusion: digits out of noise", gates, parts)


# ---- pieces --------------------------------------------------------------------------------------


def loss_chart(run: Run, unit: str, *rules: Rule, most: float | None = None) -> str:
    """The losses of a run's log."""
    lines = read_metrics(run.metrics_path)
    series = [
        Series("training", [(line["step"], line["loss"]) for line in lines], 1),
        Series("held out", [(i["step"], i["val_loss"]) for i in lines if "val_loss" in i], 2),
    ]
    if most is None:
        ordered = sorted(y for line in series for _, y in line.points)
        most = max([ordered[int(0.95 * (len(ordered) - 1))], *(rule.y for rule in rules)]) * 1.1
    return line_chart(series, x_name="step", y_name=unit, rules=rules, y_most=most)


def images(pixels: Array, caption: str, *, columns: int) -> str:
    """Images in [0, 1] in a grid, enlarged."""
    return page.figure(page.picture(grid(pixels, columns, scale=SCALE), caption), caption)


def tour_page(chapters: Sequence[Chapter], notes: Sequence[tuple[str, str]]) -> str:
    """The whole page; `notes` are (name, value) pairs about the run."""
    gates = [gate for chapter in chapters for gate in chapter.gates]
    parts = [
        page.paragraph(
            "Four families of generative models, trained from nothing on this machine's processor, "
            "on NumPy, with hand-written derivatives. Every figure stands beside what it had to "
            "beat."
        ),
        page.table(["figure", "measured", "to beat or reach", "gate"], [g.row for g in gates]),
    ]
    for chapter in chapters:
        parts += [page.heading(chapter.title), *chapter.parts]
    parts += [page.heading("How this page was made"), page.table(["", ""], notes)]
    return page.document("tinygen demo", parts)
