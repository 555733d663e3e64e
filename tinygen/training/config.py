"""Settings: frozen dataclasses that are read from TOML, JSON and the command line, exactly.

A configuration is a `Settings` dataclass whose fields are sections, `Settings` themselves, whose
fields are values. Each value is checked when its section is built, wherever it comes from: its
type (a bool is no int, a float is finite) and the bounds that stand with the field. What is unknown
or cannot be raises UsageError, naming the setting and the nearest valid name.

    @dataclass(frozen=True)
    class Model(Settings):
        width: int = setting(128, "features of a token", least=1)
"""

import copy
import dataclasses
import difflib
import json
import math
import operator
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from tinygen.errors import InputError, UsageError

_BOUNDS = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "most": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}
_FEW = 8
_NAMES = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def setting(default: Any, text: str, **bounds: float) -> Any:
    """A field with its help text and bounds: any of `least`, `above`, `most`, `below`."""
    return dataclasses.field(default=default, metadata={"help": text, "bounds": bounds})


@dataclass(frozen=True)
class Setting:
    """One value of a configuration: its path such as "model.width", and what stands with it."""

    path: str
    kind: Any
    value: Any
    text: str


@dataclass(frozen=True)
class Settings:
    """Base of sections and of whole configurations. Building one checks every field.

    A subclass that checks more extends `__post_init__` and raises UsageError with a sentence that
    begins with the name of the field.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Settings):
                value = _checked(value, field.type, field.name, field.metadata.get("bounds", {}))
                object.__setattr__(self, field.name, value)

    def updated(
        self,
        values: Mapping[str, Any],
        *,
        where: str,
        prefix: str = "",
        typed: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """A copy with `values`, nested as `to_dict` nests them.

        An error begins with `where` and the setting's path, or with the option in `typed`, by path,
        that the user typed for it.
        """
        changes: dict[str, Any] = {}
        names = [field.name for field in dataclasses.fields(self)]
        for name, value in values.items():
            path = f"{prefix}{name}"
            if name not in names:
                valid = [f"{prefix}{known}" for known in names]
                raise UsageError(f"{where}: there is no setting {path!r}; {nearest(path, valid)}")
            old = getattr(self, name)
            if isinstance(old, Settings):
                if not isinstance(value, Mapping):
                    raise UsageError(f"{where}: {path} is a section of settings, not {value!r}")
                value = old.updated(value, where=where, prefix=f"{path}.", typed=typed)
            changes[name] = value
        try:
            return dataclasses.replace(self, **changes)
        except UsageError as error:
            name, _, complaint = str(error).partition(" ")
            path = f"{prefix}{name}"
            raise UsageError(f"{typed.get(path, f'{where}: {path}')} {complaint}") from error

    def overridden(
        self,
        texts: Iterable[tuple[str, str]],
        *,
        values: Mapping[str, Any] = MappingProxyType({}),
        where: str = "command line",
        typed: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """A copy with (path, text) pairs applied: `--model.n-layer 6` is ("model.n-layer", "6").

        They go over the `values` of a configuration file, and only the whole is checked: a pair may
        mend what the file alone could not be. `where` and `typed` as in `updated`.
        """
        kinds = {leaf.path: leaf.kind for leaf in self.leaves()}
        merged = copy.deepcopy(dict(values))
        for name, text in texts:
            path = name.replace("-", "_")
            if path not in kinds:
                options = [option(known) for known in kinds]
                raise UsageError(f"unknown option --{name}; {nearest(option(path), options)}")
            *sections, field = path.split(".")
            place: Any = merged
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    break  # a value where the file needs a section: `updated` says so
            else:
                place[field] = _parsed(text, kinds[path], typed.get(path, option(path)))
        return self.updated(merged, where=where, typed=typed)

    def leaves(self, prefix: str = "") -> Iterator[Setting]:
        """Every value, in the order in which it is declared."""
        for field in dataclasses.fields(self):
            value, path = getattr(self, field.name), f"{prefix}{field.name}"
            if isinstance(value, Settings):
                yield from value.leaves(f"{path}.")
            else:
                yield Setting(path, field.type, value, field.metadata.get("help", ""))

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts of numbers, texts and lists: what JSON and TOML hold."""
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                plain[field.name] = value.to_dict()
            else:
                plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain


def differences(config: Settings, base: Settings) -> list[tuple[str, str]]:
    """The (path, text) pairs that `base.overridden` needs to become `config`."""
    pairs = zip(config.leaves(), base.leaves(), strict=True)
    return [(mine.path, as_text(mine.value)) for mine, theirs in pairs if mine != theirs]


def read_config(path: str | Path) -> dict[str, Any]:
    """The nested values of a `.toml` or `.json` file. Raises InputError, UsageError."""
    path = Path(path)
    if path.suffix not in (".toml", ".json"):
        raise UsageError(f"{path}: a configuration is a .toml or a .json file; rename it")
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also what UTF-8, TOML and JSON readers raise
        raise InputError(f"{path} is no valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no settings: it is a {type(values).__name__}, not a table")
    return values


def nearest(word: str, valid: Iterable[str]) -> str:
    """What to do about an unknown `word`: the nearest valid one, or else all of a few."""
    valid = list(valid)
    close = difflib.get_close_matches(word, valid, n=1)
    if close:
        return f"did you mean {close[0]}?"
    rest = f" and {len(valid) - _FEW} more" if len(valid) > _FEW else ""
    return f"valid are {', '.join(valid[:_FEW])}{rest}"


def option(path: str) -> str:
    """The command-line option of a setting: "model.n_layer" is `--model.n-layer`."""
    return "--" + path.replace("_", "-")


def as_text(value: Any) -> str:
    """`value` as it is written on the command line; `_parsed` reads it back exactly."""
    if isinstance(value, tuple):
        return ",".join(as_text(entry) for entry in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(text: str, kind: Any, name: str) -> Any:
    """The value of type `kind` that `text` spells; bounds are checked later, by the section."""
    if typing.get_origin(kind) is tuple:
        entries = zip(text.split(","), _entry_kinds(kind, text.count(",") + 1, name), strict=True)
        return tuple(_parsed(entry, entry_kind, name) for entry, entry_kind in entries)
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    elif kind is not bool:
        return text
    raise UsageError(f"{name} must be {_NAMES[kind]}, not {text!r}")


def _checked(value: Any, kind: Any, name: str, bounds: Mapping[str, float]) -> Any:
    """`value` as `kind`: nothing is converted but a list to a tuple and a whole float's int."""
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise UsageError(f"{name} cannot be {value!r}; {nearest(str(value), choices)}")
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        kinds = _entry_kinds(kind, len(value), name)
        return tuple(_checked(x, k, name, bounds) for x, k in zip(value, kinds, strict=True))
    if kind is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UsageError(f"{name} must be {_NAMES.get(kind, 'a list')}, not {value!r}")
    for bound, limit in bounds.items():
        holds, words = _BOUNDS[bound]
        if not holds(value, limit):
            raise UsageError(f"{name} must be {words} {limit}, not {as_text(value)}")
    return value


def _entry_kinds(kind: Any, count: int, name: str) -> tuple[Any, ...]:
    kinds = typing.get_args(kind)
    if kinds[-1] is Ellipsis:  # any number of one kind, but none at all is no list
        return (kinds[0],) * count
    if len(kinds) != count:
        raise UsageError(f"{name} must have {len(kinds)} values, not {count}")
    return kinds
