"""Folders and zip archives of PNG and JPEG pictures.

    0001.png                    no classes
    cat/0001.png                classes are the folders, in the order of their names
    train/cat/0001.png          and the source's own split: train (training), test (testing, val,
                                valid, validation); beside a test part, a validation part trains

A folder around all of these does not count, and files that are no pictures are skipped. The order
is that of the parts, then of the paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tinygen.data.images.archive import open_archive
from tinygen.data.images.imageset import Images, ImageSet
from tinygen.data.images.limits import MAX_BYTES, MAX_FILE
from tinygen.data.images.picture import EXTENSIONS, checked_size, decode_picture
from tinygen.data.reading import read_file, visible_files
from tinygen.errors import InputError
from tinygen.files import StrPath

_TRAIN = frozenset({"train", "training"})
_VALIDATION = frozenset({"val", "valid", "validation"})
_TEST = frozenset({"test", "testing"})
_PARTS = _TRAIN | _VALIDATION | _TEST


def read_image_folder(path: StrPath, *, size: int | tuple[int, int] | None = None) -> ImageSet:
    """Every PNG and JPEG below `path`; `size` as for `decode_picture`.

    Hidden files and folders are left out, links to folders are not followed. Raises InputError
    where a picture is damaged or of another size than the first, or the folders fit no layout.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"cannot read {path}: there is no such folder; check the path")
    skipped: list[str] = []
    names = sorted(visible_files(root, skipped))
    return _image_set(root, names, lambda name: read_file(root / name), checked_size(size), skipped)


def read_image_zip(path: StrPath, *, size: int | tuple[int, int] | None = None) -> ImageSet:
    """The same from a zip archive, which is not unpacked to the disk."""
    with open_archive(Path(path)) as archive:
        names = [
            name
            for name in sorted(archive.members)
            if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        ]
        return _image_set(
            Path(path), names, lambda name: archive.read(name, MAX_FILE), checked_size(size), []
        )


def _image_set(
    source: Path,
    names: Sequence[str],
    read: Callable[[str], bytes],
    size: tuple[int, int] | None,
    skipped: list[str],
) -> ImageSet:
    pictures = [name for name in names if name.lower().endswith(EXTENSIONS)]
    chosen = set(pictures)
    skipped += [f"{name}: no PNG or JPEG" for name in names if name not in chosen]
    if not pictures:
        found = f"{len(skipped)} other files, first {skipped[0]}" if skipped else "it is empty"
        raise InputError(f"no PNG or JPEG in {source}: {found}")
    places = _places(pictures, source)
    parts = {part for part, _ in places}
    tests = _TEST if parts & _TEST else _VALIDATION
    ordered = sorted(
        zip(places, pictures, strict=True), key=lambda row: (row[0][0] in tests, row[1])
    )
    n_train = sum(part not in tests for part, _ in places)
    classes = sorted({name for _, name in places if name is not None})
    number = {name: k for k, name in enumerate(classes)}
    labels = [number[name] for (_, name), _ in ordered if name is not None]
    return ImageSet(
        source.name,
        _decoded(source, [name for _, name in ordered], read, size),
        np.array(labels, np.int64) if classes else None,
        tuple(classes),
        f"read from {source}",
        n_train=n_train if 0 < n_train < len(pictures) else None,
        skipped=tuple(skipped),
    )


def _places(names: Sequence[str], source: Path) -> list[tuple[str | None, str | None]]:
    """(part, class) of each picture, by the folders it is in."""
    folders = [tuple(name.split("/")[:-1]) for name in names]
    depths = {len(folder) for folder in folders}
    if len(depths) > 1:
        shallow = names[min(range(len(names)), key=lambda i: len(folders[i]))]
        deep = names[max(range(len(names)), key=lambda i: len(folders[i]))]
        raise InputError(
            f"{source} has pictures at different depths ({shallow} and {deep}); "
            "sort them into class/ or part/class/ folders"
        )
    (depth,) = depths
    while depth > 1 and len({folder[0] for folder in folders}) == 1:
        if depth == 2 and folders[0][0].lower() in _PARTS:
            break
        folders = [folder[1:] for folder in folders]  # a folder around everything
        depth -= 1
    are_parts = depth > 0 and {folder[0].lower() for folder in folders} <= _PARTS
    if depth > 2 or (depth == 2 and not are_parts):
        raise InputError(
            f"{source} has pictures in folders like {'/'.join(folders[0])}; "
            "class/ or part/class/ is needed, where a part is train or test"
        )
    if depth == 2:
        return [(part.lower(), name) for part, name in folders]
    if depth == 1:
        return [(f[0].lower(), None) if are_parts else (None, f[0]) for f in folders]
    return [(None, None)] * len(folders)


def _decoded(
    source: Path,
    names: Sequence[str],
    read: Callable[[str], bytes],
    size: tuple[int, int] | None,
) -> Images:
    """(N, H, W, C); among coloured pictures, grey ones become coloured too."""
    pictures: list[Images] = []
    for name in names:
        picture = decode_picture(read(name), str(source / name), size)
        first = pictures[0] if pictures else picture
        if picture.shape[:2] != first.shape[:2]:
            raise InputError(
                f"{source} has pictures of different sizes: {names[0]} is "
                f"{first.shape[1]}x{first.shape[0]}, {name} is "
                f"{picture.shape[1]}x{picture.shape[0]}; give a size to bring all to"
            )
        if picture.size * len(names) > MAX_BYTES:
            raise InputError(
                f"{source}: {len(names):,} pictures like {name} have more than {MAX_BYTES:,} "
                "bytes; give a smaller size"
            )
        pictures.append(picture)
    channels = max(picture.shape[2] for picture in pictures)
    return np.stack([np.broadcast_to(p, (*p.shape[:2], channels)) for p in pictures])
