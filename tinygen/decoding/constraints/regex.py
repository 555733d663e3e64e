r"""Regular expressions in the syntax of Python's `re`, read into a `Language`.

Characters, `.`, classes `[a-z]`, `[^...]`, `\d \w \s` and their capitals (ASCII), escapes, groups,
`|`, `* + ? {m} {m,n}` (lazy ones too, which match the same texts), and `^` and `$` at the ends.
What looks around, looks back or is possessive is no part of a regular language, and refused.
"""

from __future__ import annotations

import re
from typing import NoReturn

from tinygen.decoding.constraints.language import (
    ANY,
    Chain,
    Characters,
    Choice,
    Language,
    Repeat,
    characters,
    others,
)
from tinygen.errors import UsageError


def _set(*ranges: str) -> Characters:
    return characters((ord(r[0]), ord(r[-1])) for r in ranges)


_CLASSES = {
    "d": _set("09"),
    "w": _set("az", "AZ", "09", "_"),
    "s": _set(" ", "\t", "\n", "\r", "\f", "\v"),
}
_CLASSES |= {name.upper(): others(these) for name, these in _CLASSES.items()}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_DIGITS = {"x": 2, "u": 4, "U": 8}
_NO_NEWLINE = others(_set("\n"))
_MOST = 10_000
"""Of a counted repetition."""


def parse(pattern: str, *, anywhere: bool = False) -> Language:
    """The texts that the whole `pattern` matches or, with `anywhere`, those in which it is found.

    Raises UsageError, naming the place, for what is no regular expression or not supported.
    """
    parser = _Parser(pattern, anywhere)
    found = parser.choice(top=True)
    if parser.place < len(pattern):
        parser.fail("there is no group to close")
    return found


class _Parser:
    """Recursive descent: choice, chain, repetition, atom."""

    def __init__(self, pattern: str, anywhere: bool) -> None:
        self.pattern, self.anywhere, self.place = pattern, anywhere, 0

    def fail(self, what: str) -> NoReturn:
        raise UsageError(
            f"the regular expression {self.pattern!r} cannot be read at position {self.place}: "
            f"{what}."
        )

    def take(self, text: str) -> bool:
        """Whether `text` comes next; then it is passed."""
        found = self.pattern.startswith(text, self.place)
        self.place += len(text) if found else 0
        return found

    def next(self) -> str:
        if self.place == len(self.pattern):
            self.fail("it ends too early")
        self.place += 1
        return self.pattern[self.place - 1]

    def choice(self, top: bool = False) -> Language:
        options = [self.chain(top)]
        while self.take("|"):
            options.append(self.chain(top))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def chain(self, top: bool) -> Language:
        begins, ends = top and self.take("^"), False
        parts: list[Language] = []
        while not ends and self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            ends = top and self.take("$")
            if not ends:
                parts.append(self.repetition())
        if ends and self.place < len(self.pattern) and self.pattern[self.place] != "|":
            self.fail("$ stands at the end")
        if top and self.anywhere:
            rest = Repeat(ANY)
            parts = [*([] if begins else [rest]), *parts, *([] if ends else [rest])]
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def repetition(self) -> Language:
        part = self.atom()
        counts = self.counts()
        if counts is None:
            return part
        if self.take("+"):
            self.fail("possessive repetitions are not supported")
        self.take("?")  # lazy
        if self.counts() is not None:
            self.fail("a repetition of a repetition; put the first in a group (?:...)")
        least, most = counts
        if most is not None and most < least:
            self.fail(f"a repetition of at least {least} and at most {most}")
        if max(least, most or 0) > _MOST:
            self.fail(f"more than {_MOST} repetitions are not supported")
        return Repeat(part, least, most)

    def counts(self) -> tuple[int, int | None] | None:
        """How often, if a quantifier comes next."""
        for mark, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(mark):
                return counts
        braces = re.compile(r"\{(\d*)(,?)(\d*)\}").match(self.pattern, self.place)
        if braces is None or braces[0] == "{}":
            return None
        self.place = braces.end()
        least = int(braces[1] or 0)
        return least, (int(braces[3]) if braces[3] else None) if braces[2] else least

    def atom(self) -> Language:
        start = self.place
        c = self.next()
        if c == "(":
            return self.group()
        if c == "[":
            return self.character_class()
        if c == ".":
            return _NO_NEWLINE
        if c == "\\":
            return self.escape()
        self.place = start
        if c in "*+?" or (c == "{" and self.counts() is not None):
            self.fail("there is nothing to repeat")
        if c in "^$":
            self.fail(f"{c} stands at the {'beginning' if c == '^' else 'end'} only")
        self.place = start + 1
        return self.character(c)

    def group(self) -> Language:
        if self.take("?") and not self.take(":"):
            named = re.compile(r"P<\w+>").match(self.pattern, self.place)
            if named is None:
                self.fail("of the groups (?...), only (?:...) and (?P<name>...) are supported")
            self.place = named.end()
        found = self.choice()
        if not self.take(")"):
            self.fail("a group is not closed")
        return found

    def character(self, c: str) -> Characters:
        if "\ud800" <= c <= "\udfff":
            self.fail("half a surrogate pair is no character")
        return _set(c)

    def escape(self) -> Characters:
        c = self.next()
        if c in _CLASSES:
            return _CLASSES[c]
        if c in _ESCAPES:
            return _set(_ESCAPES[c])
        if c in _DIGITS:
            digits = self.pattern[self.place : self.place + _DIGITS[c]]
            if (
                not re.fullmatch(f"[0-9a-fA-F]{{{_DIGITS[c]}}}", digits)
                or int(digits, 16) > 0x10FFFF
            ):
                self.fail(f"\\{c} takes {_DIGITS[c]} hexadecimal digits of a character")
            self.place += _DIGITS[c]
            return self.character(chr(int(digits, 16)))
        if c.isascii() and c.isalnum():
            self.fail(f"\\{c} is not supported")
        return self.character(c)

    def character_class(self) -> Characters:
        negated = self.take("^")
        found: list[tuple[int, int]] = []
        first = True
        while first or not self.take("]"):
            first = False
            low = self.member()
            if self.pattern.startswith("-", self.place) and self.pattern[self.place + 1 :][
                :1
            ] not in (
                "]",
                "",
            ):
                self.place += 1
                high = self.member()
                ends = [*low.ranges, *high.ranges]
                single = len(ends) == 2 and all(a == b for a, b in ends)
                if not single or ends[0][0] > ends[1][0]:
                    self.fail("a range goes from one character to a later one")
                found.append((ends[0][0], ends[1][0]))
            else:
                found += low.ranges
        these = characters(found)
        return others(these) if negated else these

    def member(self) -> Characters:
        c = self.next()
        return self.escape() if c == "\\" else self.character(c)
