"""From arguments to an exit code: finds the command, runs it, and reports what went wrong.

Results go to stdout, everything else to stderr. Exit codes are listed in `tinygen.errors`.
"""

import errno
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from tinygen.cli.streams import steady_streams
from tinygen.errors import TinygenError, UsageError
from tinygen.training.interruption import signals_interrupt

COMMANDS = {
    "demo": "train all four families on embedded data, and show what they learned",
    "train": "train a model, or continue a run",
    "tune": "teach a text model answers: all of it, by LoRA, or on preferences",
    "sample": "sample from a trained model: text, images, points",
    "eval": "measure a run on the held-out part of its data",
    "export": "write a trained text model as a folder that the transformers package loads",
    "data": "list the data sets, or fetch one",
    "tokenizer": "train a tokenizer, look at one, or turn text into ids and back",
    "bench": "time contenders by turns, with verdicts; climb the kernels' ladders",
    "doctor": "check what tinygen needs on this machine",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (`sys.argv`); one sentence on stderr where it fails."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    with steady_streams(), signals_interrupt():
        try:
            code = _dispatch(arguments, debug)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # of stdout, since stderr never fails: its reader, such as
            return 0  # `head`, has what it wanted
        except SystemExit as finished:  # how argparse leaves after --help
            return int(finished.code or 0)
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                traceback.print_exc()
            sentence, code = _explained(error)
            print(f"tinygen: {sentence}", file=sys.stderr)
            return code


def _dispatch(arguments: list[str], debug: bool) -> int:
    while arguments[:1] == ["--debug"]:
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    name, *rest = arguments
    if name == "--version":
        from tinygen import __version__

        print(f"tinygen {__version__}")
        return 0
    if name not in COMMANDS:
        from tinygen.training.config import nearest

        kind = "option" if name.startswith("-") else "command"
        raise UsageError(f"unknown {kind} {name!r}; {nearest(name, COMMANDS)}")

    from tinygen.cli.parser import Parser

    command = import_module(f"tinygen.cli.{name}")
    parser = Parser(name, command.__doc__ or "", rest)
    command.add_options(parser)
    options = parser.parse_all(rest)
    options.debug = debug  # it may stand before the command too
    code: int = command.run(options)
    return code


def _help() -> str:
    lines = [f"  {name:10}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: tinygen COMMAND [options]     (tinygen COMMAND --help lists them)",
            "",
            *lines,
            "",
            "  --version  print the version;  --debug  show tracebacks",
        ]
    )


def _explained(error: BaseException) -> tuple[str, int]:
    """One sentence, and the exit code."""
    if isinstance(error, TinygenError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); take a smaller model or batch", 4
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}; free some space", 4
    kind = type(error).__name__
    return f"internal error, a bug in tinygen: {kind}: {error}; --debug shows where", 1
