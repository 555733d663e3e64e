"""A compiled module in memory: its entries, shared arrays, and the lines of its instructions."""

from __future__ import annotations

import ctypes
import re
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

RED_ZONE = "sim_red_zone"
GUARD = "_ZGV"
ENTRY = "sim_body_"
OBJECT, NOBITS, SYMBOLS, LOAD = 1, 8, 2, 1
"""STT_OBJECT, SHT_NOBITS, SHT_SYMTAB and PT_LOAD of the ELF format."""


class SharedArray(NamedTuple):
    begin: int
    end: int
    name: str
    """Empty for what the compiler put there for itself."""
    function: str


class Line(NamedTuple):
    """Where an instruction comes from; `via` is the inlined function's line, if it is in one."""

    file: str
    line: int
    via: str = ""

    def __str__(self) -> str:
        place = f"{Path(self.file).name}:{self.line}"
        return f"{place} (in {self.via})" if self.via else place


NOWHERE = Line("?", 0)


class Image:
    def __init__(self, path: Path, file: str) -> None:
        self.path = path
        self.file = file
        self.library = ctypes.CDLL(str(path))
        symbols, self._span = _read(path)
        self.entries = {name for name in symbols if name.startswith(ENTRY)}
        entry = min(self.entries)
        address = ctypes.cast(getattr(self.library, entry), ctypes.c_void_p).value or 0
        self.begin = address - symbols[entry][0]
        self.end = self.begin + self._span
        self.statics = sorted(
            SharedArray(self.begin + value, self.begin + value + size, *_named(name))
            for name, (value, size) in symbols.items()
            if name.startswith(("_ZZ", GUARD))
        )
        self._chains: dict[int, list[Line]] = {}

    def lines(self, places: Iterable[int]) -> dict[int, Line]:
        """The kernel's lines of return addresses, all asked for at once."""
        self._find(places)
        return {place: self._line(self._chains.get(place, [NOWHERE])) for place in places}

    def innermost(self, places: Iterable[int]) -> dict[int, Line]:
        """The lines where their code is written: in the inlined function, if they are in one."""
        self._find(places)
        return {place: self._chains[place][0] for place in places}

    def _find(self, places: Iterable[int]) -> None:
        unknown = sorted({p for p in places if p not in self._chains and self.begin < p < self.end})
        if unknown:
            # The call lies before the address that it returns to.
            offsets = [hex(place - self.begin - 1) for place in unknown]
            done = subprocess.run(
                ["addr2line", "-a", "-i", "-e", str(self.path)],
                input="\n".join(offsets),
                capture_output=True,
                text=True,
                check=True,
            )
            chains = re.split(r"(?m)^0x[0-9a-f]+\n", done.stdout)[1:]
            for place, chain in zip(unknown, chains, strict=True):
                self._chains[place] = [_frame(text) for text in chain.splitlines()]

    def _line(self, frames: list[Line]) -> Line:
        """From the innermost inlined function outwards: the first line of the kernel's own file."""
        mine = next((frame for frame in frames if frame.file == self.file), None)
        if mine is None:
            return frames[0]
        inner = frames[0]
        return mine if inner == mine else Line(mine.file, mine.line, str(inner))


def _frame(text: str) -> Line:
    file, _, rest = text.rpartition(":")
    number = re.match(r"\d+", rest)
    return Line(file, int(number[0]) if number else 0)


def _named(symbol: str) -> tuple[str, str]:
    """The array's name, empty for the compiler's own, and the function that it stands in."""
    found = re.match(r"_ZZ(\d+)", symbol)
    function = symbol[found.end() : found.end() + int(found[1])] if found else ""
    names = re.findall(r"\d+([A-Za-z_]\w*?)(?:_\d+)?$", symbol.rpartition("E")[2])
    return (names[-1] if names and not symbol.startswith(GUARD) else ""), function


def _read(path: Path) -> tuple[dict[str, tuple[int, int]], int]:
    """Symbols (offset and size) of functions and of objects without content; the image's span."""
    data = path.read_bytes()
    (program, sections) = struct.unpack_from("<QQ", data, 32)
    (programs, _, section_count) = struct.unpack_from("<HHH", data, 56)
    span = 0
    for i in range(programs):
        kind, _, _, address, _, _, size, _ = struct.unpack_from("<IIQQQQQQ", data, program + 56 * i)
        if kind == LOAD:
            span = max(span, address + size)
    headers = [
        struct.unpack_from("<IIQQQQIIQQ", data, sections + 64 * i) for i in range(section_count)
    ]
    symbols = {}
    for _, kind, _, _, offset, size, link, _, _, _ in headers:
        if kind != SYMBOLS:
            continue
        names = headers[link][4]
        for at in range(offset, offset + size, 24):
            name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", data, at)
            if not 0 < section < len(headers):
                continue
            symbol = data[names + name : data.index(b"\0", names + name)].decode()
            if info & 15 == OBJECT:
                wanted = headers[section][1] == NOBITS
            else:  # a local function, a lambda's say, has a name like that of a local array
                wanted = symbol.startswith(ENTRY)
            if wanted:
                symbols[symbol] = (value, length)
    return symbols, span
