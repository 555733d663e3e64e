"""The picture of the README: a run's loss curve, and a text it wrote, coloured by its surprise.

    python docs/picture.py RUN docs/images/sample.png

Each byte that the model drew is coloured by -log p, from sure (grey) to surprised (red).
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tinygen import ops
from tinygen.cli.session import saved_config, trained_state
from tinygen.random import Generator
from tinygen.recipes import family
from tinygen.training.run import Run

WIDTH, MARGIN, LINE = 1200, 40, 26
CURVE = (MARGIN, 70, 460, 470)  # left, top, right, bottom
TEXT_LEFT = 510
PAPER, INK, FAINT, ACCENT = (255, 255, 255), (40, 40, 40), (150, 150, 150), (200, 60, 40)


def main(run: Path, out: Path) -> None:
    folder = Run(run)
    chosen = family(folder.family)
    config = saved_config(folder, chosen)
    writer = chosen.restore(config, trained_state(folder, None))
    _, bigram = chosen.build(config).baseline()
    image = Image.new("RGB", (WIDTH, 520), PAPER)
    draw = ImageDraw.Draw(image)
    draw_curve(draw, [json.loads(line) for line in (run / "metrics.jsonl").open()], bigram)
    draw_text(draw, *written(writer, tokens=900))
    image.save(out, optimize=True)


def written(writer: Any, tokens: int) -> tuple[str, list[float]]:
    """What the model writes after "The ", and how surprised it was by each byte, in nats."""
    prompt = writer.tokenizer.encode("The ").astype(np.int64)
    drawn = writer.model.generate(
        prompt[None], max_new_tokens=tokens, temperature=0.7, rng=Generator(4)
    )
    ids = np.concatenate([prompt, *drawn])
    block = writer.model.config.block_size
    surprise = [0.0] * len(prompt)
    for i in range(len(prompt), len(ids)):
        window = ids[max(0, i - block) : i][None]  # (1, T)
        log_probs = ops.log_softmax(writer.model(window).detach()[0, -1])
        surprise.append(-float(log_probs.numpy()[ids[i]]))
    return writer.tokenizer.decode(ids), surprise


def draw_curve(draw: ImageDraw.ImageDraw, lines: list[dict[str, float]], bigram: float) -> None:
    left, top, right, bottom = CURVE
    steps = lines[-1]["step"]
    low, high = 1.0, 3.5

    def place(step: float, loss: float) -> tuple[float, float]:
        height = (min(max(loss, low), high) - low) / (high - low)
        return left + (right - left) * step / steps, bottom - (bottom - top) * height

    small, font = ImageFont.load_default(14), ImageFont.load_default(18)
    draw.text((left, 25), "validation loss, nats a byte", INK, font)
    for loss in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
        draw.line([place(0, loss), place(steps, loss)], (230, 230, 230))
        draw.text((left - 28, place(0, loss)[1] - 8), f"{loss:.1f}", FAINT, small)
    draw.line([place(0, bigram), place(steps, bigram)], FAINT, 2)
    draw.text((right - 110, place(0, bigram)[1] - 22), f"bigram {bigram:.2f}", FAINT, small)
    draw.line([place(line["step"], line["loss"]) for line in lines if "loss" in line], (205,) * 3)
    points = [place(line["step"], line["val_loss"]) for line in lines if "val_loss" in line]
    draw.line(points, ACCENT, 3)
    last = next(line["val_loss"] for line in reversed(lines) if "val_loss" in line)
    draw.text((points[-1][0] - 50, points[-1][1] + 8), f"{last:.2f}", ACCENT, font)
    draw.text((right - 90, bottom + 10), f"{steps:.0f} steps", FAINT, small)


def draw_text(draw: ImageDraw.ImageDraw, text: str, surprise: list[float]) -> None:
    font = ImageFont.load_default(17)
    heading = "what it writes, coloured by its surprise"
    draw.text((TEXT_LEFT, 25), heading, INK, ImageFont.load_default(18))
    x, y = float(TEXT_LEFT), 70
    for character, nats in zip(text, surprise, strict=False):
        if character == "\n" or x > WIDTH - MARGIN:
            x, y = float(TEXT_LEFT), y + LINE
        if y > 480:
            return
        if character != "\n":
            share = 1 - math.exp(-nats / 2)
            colour = tuple(round(i + (a - i) * share) for i, a in zip(INK, ACCENT, strict=True))
            draw.text((x, y), character, colour, font)
            x += font.getlength(character)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
