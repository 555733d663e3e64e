"""A held-out split that does not leak.

One document is cut once: training reads what stands before the cut, validation what stands after.
This is the usual split of tinyshakespeare (the first 90 %, the last 10 %), and figures on `docs`
are comparable with published ones because they use it too. It does not prevent that a passage
stands on both sides (a quotation, a refrain, a licence text), nor that the validation part
continues the very scene that training ended with; and where a text drifts from its beginning to
its end, the last tenth is harder than the whole.

Several documents are never cut: each is on one side, with all its exact copies. Which side follows
from the contents alone, not from names or the order of files. It does not prevent near copies
(another version of the same file, a shared header) on both sides.
"""

import hashlib
from dataclasses import replace

from tinygen.arguments import number
from tinygen.data.corpus import Corpus
from tinygen.errors import InputError

HELD_OUT = 0.1


def split(corpus: Corpus, fraction: float = HELD_OUT) -> tuple[Corpus, Corpus]:
    """(train, validation), the second about `fraction` of the bytes, both in the corpus's order.

    Raises InputError where there is too little for two sides, UsageError where `fraction` is not
    between 0 and 1.
    """
    number("the held-out fraction", fraction, above=0, below=1)
    hashes = [hashlib.sha256(document).digest() for document in corpus.documents]
    if len(set(hashes)) == 1:
        document = corpus.documents[0]
        cut = cut_point(document, fraction)
        if not 0 < cut < len(document):
            raise InputError(
                f"{corpus.name} has {len(document)} bytes: too few to hold out {fraction:g} of them"
            )
        return _part(corpus, "train", [document[:cut]]), _part(
            corpus, "validation", [document[cut:]]
        )
    held_out = _held_out(hashes, corpus.documents, fraction)
    paired = list(zip(hashes, corpus.documents, strict=True))
    train = [document for key, document in paired if key not in held_out]
    validation = [document for key, document in paired if key in held_out]
    return _part(corpus, "train", train), _part(corpus, "validation", validation)


def cut_point(document: bytes, fraction: float) -> int:
    """Where the last `fraction` begins: byte int((1 - fraction) n), or the first byte of the
    UTF-8 character that this byte belongs to.
    """
    cut = int((1.0 - fraction) * len(document))
    if cut == len(document):  # the fraction is less than a byte
        return cut
    for start in range(cut, max(cut - 4, -1), -1):
        if document[start] & 0xC0 != 0x80:  # not a continuation byte
            return start
    return cut  # four continuation bytes in a row: this is no UTF-8


def _held_out(hashes: list[bytes], documents: tuple[bytes, ...], fraction: float) -> set[bytes]:
    """The hashes of the validation side.

    In the order of the hashes, which is as good as random, every document that still fits (with
    its copies) into `fraction` of the bytes. Where all are larger than that, the smallest one.
    """
    sizes: dict[bytes, int] = {}
    for key, document in zip(hashes, documents, strict=True):
        sizes[key] = sizes.get(key, 0) + len(document)
    room = int(fraction * sum(sizes.values()))
    chosen: set[bytes] = set()
    for key in sorted(sizes):
        if sizes[key] <= room:
            chosen.add(key)
            room -= sizes[key]
    return chosen or {min(sizes, key=lambda key: (sizes[key], key))}


def _part(corpus: Corpus, side: str, documents: list[bytes]) -> Corpus:
    return replace(corpus, name=f"{corpus.name} ({side})", documents=tuple(documents), skipped=())
