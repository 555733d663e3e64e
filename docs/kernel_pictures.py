"""Draws the pictures of docs/kernels.md: python docs/kernel_pictures.py

Every cell is computed from the addresses that the kernels compute; nothing is drawn by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
CELL, GAP, TEXT = 14, 26, 12
INK, FAINT = "#1f2933", "#e4e7eb"
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#b83280", "#6b46c1", "#b7791f", "#285e61", "#9b2c2c")


def picture(name: str, width: int, height: int, body: list[str]) -> None:
    """An SVG with a white ground, so that it reads on dark pages too."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="{TEXT}">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    (IMAGES / name).write_text("\n".join([head, *body, "</svg>", ""]))


def cell(x: float, y: float, colour: str, text: str = "", size: int = CELL) -> str:
    square = f'<rect x="{x}" y="{y}" width="{size - 1}" height="{size - 1}" fill="{colour}"/>'
    middle = f'x="{x + size / 2 - 0.5}" y="{y + size / 2 + 3}" text-anchor="middle" font-size="9"'
    return square + (f'<text {middle} fill="white">{text}</text>' if text else "")


def label(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{INK}">{text}</text>'


def sectors(address: Callable[[int], int], title: str, y: int) -> tuple[list[str], int]:
    """The sectors of 32 bytes that a warp's 32 loads of 4 bytes touch, a row of cells each; cells
    that some lane asked for carry its number."""
    asked = {address(lane): lane for lane in range(32)}
    touched = sorted({a // 8 for a in asked})
    body = [label(10, y, f"{title}: {len(touched)} sectors, {32 * len(touched)} bytes for 128")]
    for i, sector in enumerate(touched):
        left = 10 + i % 4 * (8 * CELL + 10)
        top = y + 8 + i // 4 * (CELL + 4)
        for j in range(8):
            lane = asked.get(8 * sector + j)
            colour = FAINT if lane is None else COLOURS[lane // 4]
            body.append(cell(left + j * CELL, top, colour, "" if lane is None else str(lane)))
    return body, y + 8 + -(-len(touched) // 4) * (CELL + 4) + GAP


def coalescing() -> None:
    columns = 768
    one, y = sectors(lambda lane: lane * columns, "naive layer norm, a thread a row", 20)
    two, y = sectors(lambda lane: lane, "a row in registers, lanes side by side", y)
    picture("kernel_coalescing.svg", 4 * (8 * CELL + 10) + 20, y - 10, one + two)


def banks(row_elements: int, title: str, x: int) -> list[str]:
    """The banks (4 bytes wide, 32 of them) from which ldmatrix reads the eight rows of 16 bytes of
    an 8 x 8 matrix of 16-bit numbers, in a tile with rows of `row_elements`."""
    used: dict[int, int] = {}
    body = []
    for row in range(8):
        start = row * row_elements * 2 // 4
        for word in range(4):
            bank = (start + word) % 32
            depth = used.get(bank, 0)
            used[bank] = depth + 1
            body.append(cell(x + bank * CELL, 34 + depth * CELL, COLOURS[row], str(row)))
    passes = max(used.values())
    plural = "pass" if passes == 1 else "passes"
    return [label(x, 20, f"{title}: {passes} {plural} over the banks"), *body]


def bank_conflicts() -> None:
    wide = 32 * CELL
    body = banks(32, "rows of 32 elements", 10) + banks(40, "rows of 32 + 8", wide + 40)
    picture("kernel_banks.svg", 2 * wide + 60, 34 + 4 * CELL + 16, body)


def tiles() -> None:
    """What of A and B is read for what of C, by one thread or block, of matrices of 256 x 256."""
    scale = 0.5
    side = 256 * scale
    rungs = [
        ("naive, 1 x 1 of C", 1, 1),
        ("tiled, 32 x 32", 32, 32),
        ("registers, mma, 128 x 128", 128, 128),
    ]
    body = []
    for i, (name, m, n) in enumerate(rungs):
        x0, y0 = 20 + i * (2 * side + 60), 30
        body.append(label(x0, 20, f"{name}: {m * n / (m + n):.1f} products a load"))
        for x, y, text in (
            (x0, y0 + side + 8, "A"),
            (x0 + side + 8, y0, "B"),
            (x0 + side + 8, y0 + side + 8, "C"),
        ):
            body.append(f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{FAINT}"/>')
            body.append(label(x + side - 14, y + side - 6, text))
        h, w = max(2, m * scale), max(2, n * scale)
        bars = [
            (x0, y0 + side + 8, side, h, COLOURS[0]),
            (x0 + side + 8, y0, w, side, COLOURS[1]),
            (x0 + side + 8, y0 + side + 8, w, h, COLOURS[2]),
        ]
        body += [
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{c}"/>' for x, y, w, h, c in bars
        ]
    picture("kernel_tiles.svg", int(3 * (2 * side + 60)) + 10, int(2 * side + 60), body)


if __name__ == "__main__":
    coalescing()
    bank_conflicts()
    tiles()
