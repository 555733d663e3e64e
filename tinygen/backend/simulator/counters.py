"""How a launch used memory, by line of source: what an optimiser of kernels looks at first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from tinygen.backend.simulator.image import Image, Line


@dataclass
class Use:
    """One kind of access on one line.

    `transactions` are sectors of 32 bytes in global memory, passes over the banks in shared memory;
    `ideal` is the fewest that could serve the same requests.
    """

    accesses: int = 0
    """By single threads."""
    bytes: int = 0
    requests: int = 0
    """By warps."""
    transactions: int = 0
    ideal: int = 0

    @property
    def excess(self) -> float:
        """1.0 if coalesced, or free of bank conflicts; 32.0 at worst."""
        return self.transactions / self.ideal if self.ideal else 1.0

    def __iadd__(self, other: Use) -> Use:
        self.accesses += other.accesses
        self.bytes += other.bytes
        self.requests += other.requests
        self.transactions += other.transactions
        self.ideal += other.ideal
        return self


@dataclass
class Counters:
    """Of one checked launch."""

    uses: dict[tuple[Line, str, str], Use] = field(default_factory=dict)
    """By line, space ("global", "shared") and kind ("read", "write", "atomic")."""
    barriers: dict[str, int] = field(default_factory=dict)
    """How often each kind of barrier, and the warp's collective operations, were passed."""

    def total(self, space: str, kind: str | None = None) -> Use:
        """All uses of "global" or "shared" memory, or those of one kind."""
        total = Use()
        for (_, used_space, used_kind), use in self.uses.items():
            if used_space == space and kind in (None, used_kind):
                total += use
        return total

    def table(self) -> str:
        """For people: one line of source and kind of access a row."""
        rows: list[tuple[str, ...]] = [
            ("line", "access", "threads", "bytes", "requests", "transactions", "excess")
        ]
        for (line, space, kind), use in sorted(self.uses.items()):
            numbers = (use.accesses, use.bytes, use.requests, use.transactions)
            rows.append((str(line), f"{space} {kind}", *map(str, numbers), f"{use.excess:.2f}"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        passed = ", ".join(f"{name}: {times}" for name, times in self.barriers.items())
        return "\n".join([*lines, passed])


def parse_counters(text: str, image: Image) -> Counters:
    """The runtime's report (counters.cpp), summed over the instructions of a line."""
    rows = [row.split("\t") for row in text.splitlines()]
    lines = image.lines([int(row[0]) for row in rows])
    uses: defaultdict[tuple[Line, str, str], Use] = defaultdict(Use)
    barriers: defaultdict[str, int] = defaultdict(int)
    for place, *rest in rows:
        if len(rest) == 2:
            barriers[rest[0]] += int(rest[1])
        else:
            space, kind, *numbers = rest
            uses[lines[int(place)], space, kind] += Use(*map(int, numbers))
    return Counters(dict(uses), dict(barriers))
