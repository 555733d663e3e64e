"""Short texts about products: the one-line descriptions of Debian's packages on this machine.

dpkg keeps those of what is installed, apt those of all that it knows: the latter where its lists
are plain text. The set differs from machine to machine: a figure means something only beside its
content hash. Each description is there once, in the order of the hashes, which is as good as
random, so that the held-out part is like the rest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tinygen.data.corpus import Corpus
from tinygen.data.reading import read_file
from tinygen.errors import UnavailableError

STATUS = Path("/var/lib/dpkg/status")
LISTS = Path("/var/lib/apt/lists")

_DESCRIPTION = re.compile(rb"^Description(?:-en)?: *(\S[^\n]*)$", re.MULTILINE)


def packages(status: Path = STATUS, lists: Path = LISTS) -> Corpus:
    """A description a line. Raises UnavailableError where there are none."""
    found = sorted(lists.glob("*_Packages")) + [status] * status.is_file()
    texts = {line.strip() for path in found for line in _DESCRIPTION.findall(read_file(path))}
    lines = sorted((t for t in texts if _is_utf8(t)), key=lambda t: hashlib.sha256(t).digest())
    if not lines:
        raise UnavailableError(
            f"no descriptions of packages in {lists} or {status}: this system is no Debian, or its "
            "lists are compressed; give a file of texts, one a line"
        )
    text = b"".join(line + b"\n" for line in lines)
    return Corpus("packages", (text,), "descriptions of Debian packages on this machine")


def _is_utf8(data: bytes) -> bool:
    return data.decode("utf-8", "replace").encode() == data
