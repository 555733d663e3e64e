"""Which lines of kernels the launches of this process have run, for tests that want them all."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable

from tinygen.backend.simulator.image import Image

HOOK = "__sanitizer_cov_trace_pc"


def lines_reached(images: Iterable[Image]) -> dict[str, dict[int, bool]]:
    """By file and line, of kernels and their headers: whether any checked launch has been there.

    A file that was compiled in several ways counts as a whole: a line is reached if it is in one of
    them. Lines without code of their own are missing.
    """
    reached: defaultdict[str, dict[int, bool]] = defaultdict(dict)
    for image in images:
        blocks = _basic_blocks(image)
        bytes_ = _bytes_reached(image)
        for place, frame in image.innermost(blocks).items():
            lines = reached[frame.file]
            here = bool(bytes_ and bytes_[place - image.begin])
            lines[frame.line] = lines.get(frame.line, False) or here
    return dict(reached)


def _bytes_reached(image: Image) -> ctypes.Array[ctypes.c_uint8] | None:
    function = image.library.sim_reached
    function.restype = ctypes.c_void_p
    at = function(ctypes.c_uint64(image.begin))
    return (ctypes.c_uint8 * (image.end - image.begin)).from_address(at) if at else None


def _basic_blocks(image: Image) -> list[int]:
    """The places behind all calls of the hook that stands at the head of each basic block."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(image.path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    instructions = re.findall(r"(?m)^ *([0-9a-f]+):\t(.*)$", listing)
    return [
        image.begin + int(instructions[i + 1][0], 16)
        for i, (_, text) in enumerate(instructions)
        if text.startswith("call")
        and f"<{HOOK}" in text
        and not _reports(instructions[i + 1 : i + 20])
    ]


def _reports(following: Iterable[tuple[str, str]]) -> bool:
    """Whether a block does nothing but tell of an undefined operation: it is not the source's."""
    for _, text in following:
        if text.startswith(("call", "j", "ret")):
            return "<__ubsan_handle" in text
    return False
