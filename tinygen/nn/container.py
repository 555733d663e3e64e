"""Modules in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tinygen.function import Value
from tinygen.nn.module import Module, Part, parts_of


class ModuleList(Module):
    """A list of modules. A plain list serves a model as well; this one can stand alone: it has
    parameters, a state and a `repr`. Its modules are named by position, and what a subclass adds
    by attribute, as in any module."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.entries = list(modules)

    def parts(self) -> Iterator[tuple[str, Part]]:
        for name, value in vars(self).items():
            yield from parts_of(enumerate(value) if name == "entries" else [(name, value)])

    def append(self, module: Module) -> None:
        self.entries.append(module)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Module:
        return self.entries[index]

    def __iter__(self) -> Iterator[Module]:
        return iter(self.entries)


class Sequential(ModuleList):
    """Each module applied to the result of the one before: `Sequential(Linear(...), ReLU())`."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Value) -> Any:
        for module in self.entries:
            x = module(x)
        return x
