"""One HTML file that opens without a network: words, tables, charts and pictures inside it."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from numpy.typing import NDArray

from tinygen.study.pictures import png

_STYLE = """
:root { --ink: #1d2129; --muted: #6a7280; --paper: #fdfdfb; --line: #e3e4e0; --card: #ffffff;
  --c1: #2563a8; --c2: #c2571a; --c3: #2f855a; --c4: #7b4ba8; --good: #2f855a; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7ea; --muted: #9aa2af; --paper: #15171b; --line: #2c3038; --card: #1b1e24;
    --c1: #6ea8e6; --c2: #f0935a; --c3: #66c397; --c4: #b894e6; --good: #66c397; --bad: #ff7a70; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.2rem 1.2rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .3rem; }
p { max-width: 46rem; } code, pre { font-family: ui-monospace, monospace; font-size: .88em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); padding: .9rem 1rem;
  border: 1px solid var(--line); border-radius: 6px; }
.muted { color: var(--muted); fill: var(--muted); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .8rem 0; }
th, td { text-align: left; padding: .35rem 1.1rem .35rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.number { font-variant-numeric: tabular-nums; }
.met { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
.row { display: flex; flex-wrap: wrap; gap: 1.4rem; align-items: flex-start; }
figure { margin: .8rem 0; max-width: 100%; } figcaption { color: var(--muted); font-size: .9rem; }
img { image-rendering: pixelated; max-width: 100%; display: block; }
svg.chart { max-width: 100%; height: auto; font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); } .rule { stroke: var(--muted); stroke-dasharray: 4 3; }
.line { fill: none; stroke-width: 1.8; }
.line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); } .line.c3 { stroke: var(--c3); }
.line.c4 { stroke: var(--c4); }
text.c1, .dot.c1, .point.c1 { fill: var(--c1); } text.c2, .dot.c2, .point.c2 { fill: var(--c2); }
text.c3, .dot.c3, .point.c3 { fill: var(--c3); } text.c4, .dot.c4, .point.c4 { fill: var(--c4); }
.point { fill-opacity: .55; } .ring { fill: none; stroke-width: 1.2; }
.ring.c1 { stroke: var(--c1); } .ring.c2 { stroke: var(--c2); } .ring.c3 { stroke: var(--c3); }
.ring.c4 { stroke: var(--c4); }
"""


def document(title: str, parts: Sequence[str]) -> str:
    """The whole page; `parts` are pieces of HTML."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, *, muted: bool = False) -> str:
    return f"<p{' class=muted' if muted else ''}>{escape(text)}</p>"


def preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are text; "met" and "missed" are coloured."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}\n</table></div>'


def figure(content: str, caption: str) -> str:
    """A chart or a picture with its caption."""
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def picture(pixels: NDArray[Any], alt: str) -> str:
    """An array (H, W, C) as an image inside the page."""
    return image(png(pixels), "png", alt, width=pixels.shape[1])


def image(data: bytes, kind: str, alt: str, *, width: int | None = None) -> str:
    """An image file inside the page."""
    text = base64.b64encode(data).decode("ascii")
    size = f' width="{width}"' if width else ""
    return f'<img src="data:image/{kind};base64,{text}" alt="{escape(alt)}"{size}>'


def row(parts: Sequence[str]) -> str:
    """Parts beside each other, where the window is wide enough."""
    return f'<div class="row">{"".join(parts)}</div>'


def _cell(text: str) -> str:
    style = f' class="{text}"' if text in ("met", "missed") else ""
    return f"<td{style}>{escape(text)}</td>"
