"""argparse that raises UsageError, and tells the nearest word that it would have understood."""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from tinygen.errors import UsageError
from tinygen.training.config import Setting, as_text, nearest, option


class Parser(argparse.ArgumentParser):
    """One command's options. Every command has --debug, and no option may be abbreviated."""

    def __init__(self, command: str, description: str, arguments: Sequence[str] = ()) -> None:
        """`arguments` are what will be parsed: a family named among them chooses the options."""
        super().__init__(
            prog=f"tinygen {command}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--debug", action="store_true", help="show tracebacks")
        self.arguments = arguments

    def add_settings(self, settings: Iterable[Setting], short_names: Mapping[str, str]) -> None:
        """An option for each setting; the pairs (path, text) are gathered in `settings`, and the
        option that was typed for each path in `typed`."""
        self.set_defaults(settings=[], typed={})  # also where there is none
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
        """Parse, and refuse what is left over or empty."""
        options, unknown = self.parse_known_args(arguments)
        for action in self._actions:
            if getattr(options, action.dest, None) == "":
                name = action.option_strings[-1] if action.option_strings else action.metavar
                self.error(f"{name} must not be empty")
        if unknown:
            known = [name for name in self._option_string_actions if name.startswith("--")]
            word = unknown[0].partition("=")[0]
            if word.startswith("-"):
                self.error(f"unknown option {word}; {nearest(word, known)}")
            self.error(f"unexpected {unknown[0]!r}; quote a value that has spaces")
        return options

    def error(self, message: str) -> NoReturn:
        """What argparse calls for every mistake; it would print the whole usage and exit."""
        argument = re.fullmatch(r"argument (.*?): (.*)", message)
        if argument:
            names = argument[1].split("/")
            long = [name for name in names if name.startswith("--")] or names
            message = _complaint(min(long, key=len), argument[2])
        raise UsageError(f"{message} ({self.prog} --help lists everything)")


def _complaint(name: str, complaint: str) -> str:
    """argparse's complaint about the argument `name`, as a sentence that says what to do."""
    choice = re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", complaint)
    if choice:
        valid = [word.strip("' ") for word in choice[2].split(",")]
        return f"{name} cannot be {choice[1]!r}; {nearest(choice[1], valid)}"
    number = re.fullmatch(r"invalid int value: (.*)", complaint)
    if number:
        return f"{name} must be a whole number, not {number[1]}"
    if complaint == "expected one argument":
        return f"{name} needs a value; one that begins with a dash is written {name}=-x"
    return f"{name}: {complaint}"


class _Gather(argparse.Action):
    """Adds (path, text) to the list in `dest`, in the order of the command line, and keeps in
    `typed` the option that was written for the path."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        gathered = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*gathered, (self.const, values)])
        namespace.typed = {**namespace.typed, self.const: option_string}
