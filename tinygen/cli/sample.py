"""Sample from a trained model: text to the terminal, images and points to a file.

tinygen sample runs/demo/gpt --prompt "The " --stream
tinygen sample FOLDER --prompt "The "     (a model of the transformers package or of tinygen export)
tinygen sample runs/demo/diffusion -n 64 --out digits.png     (or .gif, .webp: the steps; or .npz)
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygen.backend.threads import blas_threads
from tinygen.cli.painting import paint, write_painting
from tinygen.cli.parser import Parser
from tinygen.cli.playing import write_piece
from tinygen.cli.saved import saved_config, saved_family, trained_state
from tinygen.cli.session import note
from tinygen.data.reading import read_file
from tinygen.errors import UsageError
from tinygen.files import require_writable, write_atomically
from tinygen.random import Generator
from tinygen.recipes import FAMILIES, Writer, family
from tinygen.recipes.pretrained import holds_model, pretrained
from tinygen.training.config import Settings
from tinygen.training.run import Run


def add_options(parser: Parser) -> None:
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument(
        "-n", "--samples", type=int, metavar="N", help="how many (1 text, 64 images, 2000 points)"
    )
    leaves = {leaf.path: leaf for name in FAMILIES for leaf in family(name).sampling.leaves()}
    parser.add_settings(leaves.values(), {})
    parser.add_argument(
        "--seed", type=int, help="0 to 2**64 - 1; a fresh one otherwise, told on stderr"
    )
    parser.add_argument("--step", type=int, help="the checkpoint to take (the best)")
    parser.add_argument(
        "--draft",
        metavar="RUN",
        help="a run of a smaller model with the same tokens, which proposes them: the same "
        "distribution, in less time",
    )
    parser.add_argument(
        "--detect", metavar="FILE", help="look for the mark of --watermark KEY in this text instead"
    )
    parser.add_argument("--stream", action="store_true", help="write each token as it comes")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write to this new file: text; .mid, .wav (music); .png, .gif, .webp, .npz",
    )
    parser.add_argument("--device", help="cpu, cuda:0 or sim (the one that it was trained on)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    if options.samples is not None and options.samples < 1:
        raise UsageError(f"-n must be at least 1, not {options.samples}")
    if options.stream and (options.json or options.out):
        raise UsageError("--stream writes to the terminal; leave out --json and --out")
    if options.seed is not None and not 0 <= options.seed < 2**64:
        raise UsageError(f"--seed must be between 0 and 2**64 - 1, not {options.seed}")
    if options.out:
        if os.path.lexists(options.out):
            raise UsageError(f"{options.out} exists already; give --out another name")
        require_writable(options.out)
    folder = options.run_folder
    chosen = family("gpt") if holds_model(folder) else saved_family(Run(folder))
    sampling = chosen.sampling.overridden(options.settings, typed=options.typed)
    sampler, threads = _restored(folder, options.device, options.step)
    if options.draft:
        if not hasattr(sampler, "let_propose"):
            raise UsageError(f"--draft is for models of the next token, not of {chosen.name}")
        sampler.let_propose(_restored(options.draft, options.device, None)[0])
    if options.detect:
        return _detect(options, sampler, getattr(sampling, "watermark", ""))
    seed = _seed(options)
    if chosen.output == "arrays":
        if options.stream:
            raise UsageError("--stream is for text; images and points go to a file, --out FILE")
        with blas_threads(threads), np.errstate(all="ignore"):
            painted = paint(sampler, sampling, options.samples, Generator(seed))
        path = write_painting(painted, Run(folder), options.out, seed)
        print(json.dumps({"seed": seed, "path": str(path)}) if options.json else path)
        return 0
    return _write_texts(options, sampler, sampling, seed, threads)


def _restored(folder: str, device: str | None, step: int | None) -> tuple[Any, int]:
    """The writer or painter of a run, or of the folder of a pretrained model, and its threads."""
    if holds_model(folder):
        if step is not None:
            raise UsageError(
                "--step chooses a checkpoint of a run, and this folder holds one model"
            )
        return pretrained(folder, device), 1
    run = Run(folder)
    trained = saved_family(run)
    config = saved_config(run, trained).on(device)
    state = trained_state(run, step)
    with run.named_errors():
        return trained.restore(config, state), config.training.threads


def _detect(options: argparse.Namespace, writer: Any, key: str) -> int:
    if not key:
        raise UsageError("--detect needs the key that the text may be marked with: --watermark KEY")
    text = read_file(options.detect).decode(errors="surrogateescape")
    found = writer.detect(text, key)
    share = f"{found.green} of {found.scored} pairs of neighbours are green"
    told = f"{share}; a text that is not marked has as many with probability {found.p_value:.2g}"
    print(json.dumps(found._asdict()) if options.json else told)
    return 0


def _seed(options: argparse.Namespace) -> int:
    seed = secrets.randbelow(2**32) if options.seed is None else int(options.seed)
    note(f"seed {seed}")
    return seed


def _write_texts(
    options: argparse.Namespace, writer: Writer, sampling: Settings, seed: int, threads: int
) -> int:
    samples = []
    for number in range(options.samples or 1):
        # Each sample has a stream of its own: the third is the same whatever -n.
        rng = Generator(seed).spawn(f"sample {number}")
        with blas_threads(threads), np.errstate(all="ignore"):
            samples.append(_read(writer.sample(rng, sampling), aloud=options.stream))
    text = "".join(f"{sample}\n" for sample in samples)
    if options.json:
        text = json.dumps({"seed": seed, "samples": samples}) + "\n"
    if options.out and options.out.lower().endswith((".mid", ".wav")):
        write_piece(options.out, writer, samples)
        note(f"wrote {options.out}")
    elif options.out:
        write_atomically(options.out, text.encode(errors="surrogateescape"))
        note(f"wrote {options.out}")
    elif not options.stream:
        sys.stdout.write(text)
    return 0


def _read(pieces: Iterator[str], *, aloud: bool) -> str:
    """The whole sample; `aloud` writes each piece as it comes."""
    text = ""
    for piece in pieces:
        text += piece
        if aloud:
            sys.stdout.write(piece)
            sys.stdout.flush()
    if aloud:
        print()
    return text
