"""argparse that raises UsageError, and tells the nearest word that it would have understood."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from tinygen.errors import UsageError
from tinygen.training.config import Setting, as_text, nearest, option


class Parser(argparse.ArgumentParser):
    """One command's options. Every command has --debug, and no option may be abbreviated."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"tinygen {command}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--debug", action="store_true", help="show tracebacks")

    def add_settings(self, settings: Iterable[Setting], short_names: Mapping[str, str]) -> None:
        """An option for each setting; the pairs (path, text) are gathered in `settings`."""
        for leaf in settings:
            short = [short_names[leaf.path]] if leaf.path in short_names else []
            default = as_text(leaf.value)
            self.add_argument(
                *short,
                option(leaf.path),
                action=_Gather,
                dest="settings",
                const=leaf.path,
                default=[],
                metavar="VALUE",
                help=(leaf.text + (f" ({default})" if default else "")).replace("%", "%%"),
            )

    def parse_all(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse, and refuse what is left over."""
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            known = [name for name in self._option_string_actions if name.startswith("--")]
            word = unknown[0].partition("=")[0]
            if word.startswith("-"):
                self.error(f"unknown option {word}; {nearest(word, known)}")
            self.error(f"unexpected {unknown[0]!r}; quote a value that has spaces")
        return options

    def error(self, message: str) -> NoReturn:
        """What argparse calls for every mistake; it would print the whole usage and exit."""
        choice = re.fullmatch(
            r"argument (.*): invalid choice: '(.*)' \(choose from (.*)\)", message
        )
        if choice:
            valid = [word.strip("' ") for word in choice[3].split(",")]
            message = f"{choice[1]} cannot be {choice[2]!r}; {nearest(choice[2], valid)}"
        raise UsageError(f"{message} ({self.prog} --help lists everything)")


class _Gather(argparse.Action):
    """Adds (path, text) to the list in `dest`, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        gathered = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*gathered, (self.const, values)])
