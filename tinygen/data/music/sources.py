"""Chorales of JSON, with the split that they come with, and MIDI files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from tinygen.data.corpus import Corpus
from tinygen.data.music.midi import read_midi
from tinygen.data.music.pieces import Piece, as_text, checked, from_text
from tinygen.data.reading import read_file, visible_files
from tinygen.data.splits import HELD_OUT, split
from tinygen.errors import InputError
from tinygen.files import StrPath

MIDI = (".mid", ".midi")


class Chorales(NamedTuple):
    """Pieces in three parts, the last of which may be empty, and all of them as text."""

    corpus: Corpus
    train: tuple[Piece, ...]
    validation: tuple[Piece, ...]
    test: tuple[Piece, ...]


def is_music(path: StrPath) -> bool:
    """Whether it is a MIDI file, a folder of them alone, or JSON with the parts of chorales."""
    place = Path(path)
    if os.path.isdir(place):  # which a name too long does not raise for, as is_dir does
        names = list(visible_files(place, []))
        return bool(names) and all(Path(name).suffix.lower() in MIDI for name in names)
    if place.suffix.lower() != ".json" or not os.path.isfile(place):
        return place.suffix.lower() in MIDI
    try:
        found = json.loads(read_file(place))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"train", "valid", "test"} <= found.keys()


def read_music(path: StrPath, held_out: float = HELD_OUT) -> Chorales:
    """What `is_music` tells; MIDI files are held out by their contents. InputError otherwise."""
    place = Path(path)
    if place.suffix.lower() not in (".json", *MIDI) and not place.is_dir():
        raise InputError(
            f"{path} is no music: give MIDI files, a folder of them, or JSON of chorales"
        )
    if place.suffix.lower() == ".json":
        return _chorales(place)
    names = [place]
    if place.is_dir():
        below = sorted(visible_files(place, []))
        names = [place / name for name in below if Path(name).suffix.lower() in MIDI]
    if len(names) < 2:
        raise InputError(f"{path} has {len(names)} MIDI files: two are needed, one to judge by")
    corpus = _corpus(place, [read_midi(name) for name in names])
    parts = [[from_text(d.decode())[0] for d in p.documents] for p in split(corpus, held_out)]
    return Chorales(corpus, tuple(parts[0]), tuple(parts[1]), ())


def _chorales(path: Path) -> Chorales:
    """{"train": pieces, "valid": ..., "test": ...}, a piece a list of lists of pitches."""
    try:
        found = json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not JSON ({error})") from error
    parts = []
    for name in ("train", "valid", "test"):
        pieces = found.get(name) if isinstance(found, dict) else None
        if not isinstance(pieces, list) or not pieces:
            raise InputError(
                f"{path}: its {name!r} is no list of pieces; chorales are an object with train, "
                "valid and test, each a list of pieces, these of chords, these of pitches"
            )
        for number, piece in enumerate(pieces):
            if not isinstance(piece, list) or not all(isinstance(step, list) for step in piece):
                raise InputError(f"{path}: {name} {number} is no list of lists of pitches")
        parts.append(tuple(checked(p, f"{path}: {name} {i}") for i, p in enumerate(pieces)))
    return Chorales(_corpus(path, [p for part in parts for p in part]), *parts)


def _corpus(path: Path, pieces: list[Piece]) -> Corpus:
    documents = tuple(as_text(piece).encode() for piece in pieces)
    return Corpus(path.name, documents, f"read from {path}")
