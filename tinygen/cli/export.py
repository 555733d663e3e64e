"""Write the model of a run as a folder that the transformers package loads.

tinygen export runs/mine --out mine          (config.json, model.safetensors, the tokenizer)
"""

import argparse
import json

from tinygen.cli.parser import Parser
from tinygen.cli.saved import saved_config, saved_family, trained_state
from tinygen.errors import UsageError
from tinygen.files import require_writable
from tinygen.recipes.pretrained import export
from tinygen.recipes.writing import Writer
from tinygen.training.run import Run


def add_options(parser: Parser) -> None:
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--out", metavar="DIR", required=True, help="a new folder")
    parser.add_argument("--step", type=int, help="the checkpoint to take (the best)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    run = Run(options.run_folder)
    chosen = saved_family(run)
    require_writable(options.out)
    state = trained_state(run, options.step)
    with run.named_errors():
        writer = chosen.restore(saved_config(run, chosen).on("cpu"), state)
    if not isinstance(writer, Writer):
        raise UsageError(f"{run.path} is of the family {chosen.name}; gpt and llama are exported")
    export(writer, options.out)
    print(json.dumps({"path": options.out}) if options.json else options.out)
    return 0
