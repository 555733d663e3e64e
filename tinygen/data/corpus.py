"""A corpus: documents, and what one must know to cite or repeat a run on them."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from tinygen.errors import InputError

# What stands between two documents in the one stream that a model reads.
SEPARATOR = b"\n"


@dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order, none empty, as the bytes that were read (without a byte order
    mark).

    `skipped` has a line, "name: reason", for each thing that was found and left out.
    """

    name: str
    documents: tuple[bytes, ...]
    provenance: str
    licence: str = "not stated"
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.documents or not all(self.documents):
            found = "an empty document" if self.documents else "no documents"
            raise InputError(f"the corpus {self.name!r} has {found}; leave out what is empty")

    @cached_property
    def sha256(self) -> str:
        """The content hash: of one document its SHA-256, of several that of their SHA-256s.

        So the hash of a single file is what `sha256sum` prints, and moving a boundary between two
        documents, or their order, changes the hash.
        """
        digests = [hashlib.sha256(document) for document in self.documents]
        if len(digests) == 1:
            return digests[0].hexdigest()
        return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()

    @cached_property
    def size(self) -> int:
        """Bytes in all documents, without separators."""
        return sum(map(len, self.documents))

    @property
    def stream(self) -> bytes:
        """All documents one after the other, a newline between two."""
        return SEPARATOR.join(self.documents)

    @property
    def text(self) -> str:
        """The stream as characters; InputError where it is not UTF-8."""
        return decode_utf8(self.stream, self.name)

    def record(self) -> dict[str, str | int]:
        """What a run notes about its data."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "bytes": self.size,
            "documents": len(self.documents),
            "provenance": self.provenance,
            "licence": self.licence,
            "skipped": len(self.skipped),
        }


def decode_utf8(data: bytes, name: str | PurePath) -> str:
    """Decode strictly; an InputError says which byte of `name` is no UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start} "
            f"({error.reason}); convert it to UTF-8, or ask for the byte tokenizer"
        ) from error
