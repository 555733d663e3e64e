"""What a checked launch found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.backend.simulator.image import Image, Line
from tinygen.errors import KernelError


@dataclass(frozen=True)
class Finding:
    """One kind of fault at one place of the source, as the first thread met it."""

    kind: str
    """One of the names in docs/simulator.md: "race", "out-of-bounds", ..."""
    line: Line
    block: tuple[int, ...]
    thread: tuple[int, ...]
    message: str
    times: int = 1
    other: Line | None = None
    """The place of the access that this one conflicts with."""

    def __str__(self) -> str:
        times = "" if self.times == 1 else f", {self.times} times"
        return (
            f"{self.line}: {self.kind}: {self.message} "
            f"[block {self.block}, thread {self.thread}{times}]"
        )


class KernelFault(KernelError):
    """A kernel did what no kernel may do; `findings` says what, where and who."""

    def __init__(self, kernel: str, findings: Sequence[Finding]) -> None:
        count = f"{len(findings)} finding" + ("s" if len(findings) > 1 else "")
        super().__init__("\n  ".join([f"{kernel}: {count}:", *map(str, findings)]))
        self.kernel = kernel
        self.findings = list(findings)


def parse_findings(text: str, image: Image) -> list[Finding]:
    """The runtime's report (report.cpp), with lines for program counters."""
    rows = [row.split("\t") for row in text.splitlines()]
    tokens = [int(found, 16) for found in re.findall(r"@(0x[0-9a-f]+)", text)]
    lines = image.lines([*tokens, *(int(place) for row in rows for place in row[4:6])])
    return [
        Finding(
            kind=kind,
            line=lines[int(place)],
            block=tuple(map(int, block.split(","))),
            thread=tuple(map(int, thread.split(","))),
            message=re.sub(r"@(0x[0-9a-f]+)", lambda found: str(lines[int(found[1], 16)]), message),
            times=int(times),
            other=lines[int(other)] if int(other) else None,
        )
        for kind, times, block, thread, place, other, message in rows
    ]
