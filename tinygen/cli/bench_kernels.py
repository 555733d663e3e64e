"""Climb the ladders of kernels: what each rung moves, and on a GPU how long it takes.

tinygen bench kernels                                 (every ladder, on the simulator)
tinygen bench kernels --op matmul --rung mma
tinygen bench kernels --op attention --device cuda:0
"""

import argparse
import json
from typing import Any

from tinygen.backend import backend_named
from tinygen.cli.parser import Parser
from tinygen.cli.session import note
from tinygen.errors import DeviceError, UnavailableError, UsageError
from tinygen.measure import LADDERS, Rung, cost_of, ladder, seconds_of


def add_options(parser: Parser) -> None:
    parser.add_argument("--op", default="all", help=f"all, or one of {', '.join(LADDERS)} (all)")
    parser.add_argument("--rung", default="all", help="all, or one rung of the ladder (all)")
    parser.add_argument("--device", default="sim", help="sim, or a GPU: cuda:0 (sim)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    backend: Any = _device(options.device)
    operations = list(LADDERS) if options.op == "all" else [options.op]
    rungs = [rung for operation in operations for rung in ladder(operation, backend)]
    chosen = [rung for rung in rungs if options.rung in ("all", rung.name)]
    if not chosen:
        names = ", ".join(dict.fromkeys(rung.name for rung in rungs))
        raise UsageError(f"--rung {options.rung} is on none of these ladders; they have {names}")
    measure = _counted if backend.name == "sim" else _timed
    rows = []
    for number, rung in enumerate(chosen, 1):
        note(f"{number}/{len(chosen)}: {rung.operation}, {rung.name}")
        row = {"operation": rung.operation, "rung": rung.name, "size": rung.size}
        rows.append({**row, "flops": rung.flops, **measure(rung, backend)})
    if options.json:
        print(json.dumps({"device": backend.name, "rungs": rows}))
    else:
        _print(rows)
    return 0


def _device(name: str) -> Any:
    try:
        backend: Any = backend_named(name)
    except DeviceError as error:
        raise UsageError(str(error)) from error
    if backend.name == "cpu":
        raise UsageError("--device cpu has no kernels; take sim, or cuda:0")
    if not backend.launches:
        from tinygen.backend.simulator import require_toolchain

        require_toolchain()  # which says what is missing
        raise UnavailableError(f"device {name} cannot launch kernels")
    return backend


def _counted(rung: Rung, backend: Any) -> dict[str, Any]:
    cost = cost_of(rung, backend)
    return {
        "kernels": cost.kernels,
        "bytes": cost.bytes_moved,
        "times_least": round(cost.bytes_moved / rung.least_bytes, 2),
        "accesses": cost.accesses,
        "uncoalesced": round(cost.uncoalesced, 2),
        "shared": cost.shared.transactions,
        "bank_conflicts": round(cost.bank_conflicts, 2),
        "barriers": cost.barriers,
    }


def _timed(rung: Rung, backend: Any) -> dict[str, Any]:
    median, low, high = seconds_of(rung, backend)
    return {
        "microseconds": round(1e6 * median, 2),
        "quartiles": [round(1e6 * low, 2), round(1e6 * high, 2)],
        "tflops": round(rung.flops / median / 1e12, 2),
        "gb_per_second": round(rung.least_bytes / median / 1e9, 1),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    """A table of each operation, its columns as wide as they need."""
    for operation in dict.fromkeys(row["operation"] for row in rows):
        mine = [row for row in rows if row["operation"] == operation]
        print(f"{operation}: {mine[0]['size']}" + ("" if len(mine) == 1 else ", ..."))
        names = ["rung", *(name for name in mine[0] if name not in ("operation", "rung", "size"))]
        table = [[name.replace("_", " ") for name in names]]
        table += [[_text(row[name]) for name in names] for row in mine]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            print("  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    whole = isinstance(value, int) or (isinstance(value, float) and value >= 1e4)
    return f"{value:,.0f}" if whole else str(value)
