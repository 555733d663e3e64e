"""From the text of a .cu file to C++ that the host's compiler takes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:(?:__align__|alignas)\s*\(\s*(?P<align>\d+)\s*\)\s*)?"
    r"(?P<type>[\w:]+(?:\s+\w+)*?)\s+(?P<name>\w+)\s*\[\s*\]\s*;"
)
IN_BRACKETS = r"\((?P<{}>(?:[^()]|\([^()]*\))*)\)\s*"
KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*'
    + IN_BRACKETS.format("before")
    + r")?void\s+(?:__launch_bounds__\s*"
    + IN_BRACKETS.format("behind")
    + r")?(?P<name>\w+)\s*"
    + IN_BRACKETS.format("parameters")
    + r"\{"
)

SMALLEST_ALIGNMENT = 16
"""What the hardware gives to dynamic shared memory, whatever its declaration says."""


class Kernel(NamedTuple):
    parameters: list[str]
    """Their names."""
    bounds: str
    """What `__launch_bounds__` says, a constant expression; "1024" if it says nothing."""


def translate(
    text: str, file: str, defines: Mapping[str, object], kernels: Mapping[str, Kernel]
) -> str:
    """C++ with the lines of `text`, the definitions before it and an entry for each kernel after.

    `extern __shared__ T name[];` becomes a pointer to the launch's dynamic shared memory.
    """
    body = DYNAMIC_SHARED.sub(
        r"\g<type>* const \g<name> = static_cast<\g<type>*>(sim::dynamic_shared());", text
    )
    entries = "".join(f"SIM_EXPORT({name}, {kernel.bounds})\n" for name, kernel in kernels.items())
    return f'{definitions(defines)}#line 1 "{file}"\n{body}\n#line 1 "entries"\n{entries}'


def definitions(defines: Mapping[str, object]) -> str:
    return "".join(f"#define {name} {value}\n" for name, value in defines.items())


def alignment_of(text: str) -> int:
    """The strictest alignment that the file declares for dynamic shared memory."""
    declared = [int(found["align"] or 1) for found in DYNAMIC_SHARED.finditer(text)]
    return max([SMALLEST_ALIGNMENT, *declared])


def find_kernels(text: str, defines: Mapping[str, object], compiler: str) -> dict[str, Kernel]:
    """The kernels of a file, also those that its macros make."""
    without_includes = re.sub(r"(?m)^\s*#\s*(include|pragma).*$", "", text)
    expanded = subprocess.run(
        [compiler, "-E", "-P", "-x", "c++", "-"],
        input=definitions(defines) + without_includes,
        capture_output=True,
        text=True,
    ).stdout
    return {
        found["name"]: Kernel(
            [_name(p) for p in _split(found["parameters"])],
            found["before"] or found["behind"] or "1024",
        )
        for found in KERNEL.finditer(expanded)
    }


def _split(parameters: str) -> list[str]:
    """At the commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in parameters:
        depth += (character in "<([") - (character in ">)]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def _name(parameter: str) -> str:
    words = re.findall(r"\w+", parameter.split("=")[0])
    return words[-1] if words else "argument"
