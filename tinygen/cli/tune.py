"""Tune a text model on examples: all of it, by LoRA, or on preferences by DPO.

tinygen tune runs/mine --data examples.jsonl --out runs/tuned
tinygen tune runs/tuned --data pairs.jsonl --method dpo --lr 1e-4
tinygen train --resume runs/tuned --steps 400

A line of the data is {"prompt": ..., "completion": ...}, {"messages": [{"role": "user", "content":
...}, ...]}, or for dpo {"prompt": ..., "chosen": ..., "rejected": ...}.
"""

import argparse

from tinygen.cli import train
from tinygen.cli.parser import Parser
from tinygen.cli.session import SHORT_NAMES
from tinygen.recipes import family

_SHORT = {
    **SHORT_NAMES,
    "model.method": "--method",
    "model.rank": "--rank",
    "model.alpha": "--alpha",
    "model.targets": "--targets",
    "model.beta": "--beta",
}


def add_options(parser: Parser) -> None:
    parser.add_argument("source", metavar="MODEL", help="a run, or a folder of transformers")
    parser.add_argument("--config", metavar="FILE", help="settings from a .toml or .json file")
    parser.add_argument("--budget", metavar="TIME", help="90s, 2m, 1.5h: find the steps for it")
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/DATE-tune-answers)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    defaults = next(iter(family("tune").presets.values()))
    leaves = [leaf for leaf in defaults.leaves() if leaf.path != "model.source"]
    parser.add_settings(leaves, _SHORT)


def run(options: argparse.Namespace) -> int:
    """`train tune` with the model in front."""
    options.settings = [("model.source", options.source), *options.settings]
    for name in ("preset", "resume", "depth"):
        setattr(options, name, None)
    options.family, options.estimate = "tune", False
    return train.run(options)
