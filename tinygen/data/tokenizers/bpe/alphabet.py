"""The characters that stand for bytes in GPT-2's files, so that no token holds a space.

Bytes that are printable in Latin-1 stand for themselves, the other 68 for the characters from
U+0100 on. Sorted by character they are also the ids of single bytes in vocabularies that were
trained by the `tokenizers` package, and in ours.
"""

from __future__ import annotations

from tinygen.errors import InputError

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

CHARACTER_OF = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(0x100 + i) for i, byte in enumerate(_OTHERS)
}
BYTE_OF = {character: byte for byte, character in CHARACTER_OF.items()}
BYTES = [bytes([BYTE_OF[character]]) for character in sorted(BYTE_OF)]
"""The single bytes in the order of their ids."""


def as_characters(token: bytes) -> str:
    return "".join(map(CHARACTER_OF.__getitem__, token))


def as_bytes(token: str) -> bytes:
    """Raises InputError where a character stands for no byte."""
    try:
        return bytes(map(BYTE_OF.__getitem__, token))
    except KeyError as error:
        raise InputError(
            f"the token {token!r} holds {error.args[0]!r}, which stands for no byte: this is no "
            "byte-level vocabulary"
        ) from error
