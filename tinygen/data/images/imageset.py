"""A set of images, and what one must know to cite or repeat a run on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.arguments import number
from tinygen.errors import DtypeError, InputError, OutOfRangeError, ShapeError, UsageError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

HELD_OUT = 0.1


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N images of one size in a fixed order; the arrays are read-only.

    images   uint8 (N, H, W, C), C = 1 (grey), 3 (red, green, blue), or 2 and 4 (with alpha)
    labels   int64 (N,), positions in `classes`; None where there are none
    factors  further integer labels (N,) by name: the style of a glyph, a coarser class
    n_train  where the source has a split of its own: its training part, which comes first
    skipped  a line, "name: reason", for each thing that was found and left out
    """

    name: str
    images: Images
    labels: Labels | None
    classes: tuple[str, ...]
    provenance: str
    licence: str = "not stated"
    n_train: int | None = None
    factors: Mapping[str, Labels] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images = np.asarray(self.images)
        if images.dtype != np.uint8:
            raise DtypeError(
                f"{self.name}: images of {images.dtype}; uint8 is needed, 0 black to 255 white"
            )
        if images.ndim != 4 or not 1 <= images.shape[3] <= 4:
            raise ShapeError(
                f"{self.name}: images of shape {images.shape}; (N, H, W, C) is needed, channels "
                "last and at most 4"
            )
        if 0 in images.shape:
            raise InputError(f"{self.name}: there are no images in it, shape {images.shape}")
        if self.n_train is not None and not 0 < self.n_train < len(images):
            raise InputError(f"{self.name}: {self.n_train} of {len(images)} images for training")
        object.__setattr__(self, "images", _read_only(images))
        if self.labels is not None:
            object.__setattr__(self, "labels", self._checked("labels", self.labels))
            if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
                raise InputError(
                    f"{self.name}: labels from {self.labels.min()} to {self.labels.max()}, and "
                    f"there are {len(self.classes)} classes"
                )
        elif self.classes:
            raise InputError(f"{self.name}: it names classes and has no labels")
        factors = {name: self._checked(name, values) for name, values in self.factors.items()}
        object.__setattr__(self, "factors", factors)

    def _checked(self, name: str, values: ArrayLike) -> Labels:
        array = np.asarray(values)
        if array.dtype.kind not in "iu" or array.shape != (len(self.images),):
            raise ShapeError(
                f"{self.name}: {name} of shape {array.shape}, {array.dtype}; integers "
                f"({len(self.images)},) are needed, one for each image"
            )
        return _read_only(array.astype(np.int64))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"ImageSet({self.name!r}, {len(self)} images {self.size}, {len(self.classes)} classes)"
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        _, h, w, c = self.images.shape
        return h, w, c

    @property
    def size(self) -> str:
        """As one says it: width x height x channels."""
        h, w, c = self.shape
        return f"{w}x{h}x{c}"

    @cached_property
    def sha256(self) -> str:
        """The content hash: of every pixel, label, class and factor and their order.

        It does not depend on the file format, so the same pictures as IDX and as PNG hash equally.
        """
        digest = hashlib.sha256()
        about = [self.images.shape, self.labels is not None, self.classes, sorted(self.factors)]
        digest.update(json.dumps(about).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        ordered = [values for _, values in sorted(self.factors.items())]
        for values in ordered if self.labels is None else [self.labels, *ordered]:
            digest.update(values.astype("<i8").data)
        return digest.hexdigest()

    @cached_property
    def image_hashes(self) -> tuple[bytes, ...]:
        """The SHA-256 of the pixels of each image: equal images have equal ones."""
        rows = np.ascontiguousarray(self.images).reshape(len(self), -1)
        return tuple(hashlib.sha256(row.data).digest() for row in rows)

    # ---- parts

    def subset(self, chosen: ArrayLike, name: str | None = None) -> ImageSet:
        """The images at `chosen`: positions (in that order) or a mask (N,). Classes stay."""
        index = np.asarray(chosen)
        if index.ndim != 1 or (index.dtype == bool and len(index) != len(self)):
            raise ShapeError(
                f"a subset of shape {index.shape}: positions, or a mask ({len(self)},)"
            )
        if index.dtype == bool:
            index = np.flatnonzero(index)
        elif index.size and index.dtype.kind not in "iu":
            raise DtypeError(f"a subset by {index.dtype}: give positions or a mask")
        if index.size and not (index.min() >= 0 and index.max() < len(self)):
            raise OutOfRangeError(f"{self.name} has the images 0 ... {len(self) - 1}")
        index = index.astype(np.int64)
        return replace(
            self,
            name=name or f"{self.name} ({len(index)} of {len(self)})",
            images=self.images[index],
            labels=None if self.labels is None else self.labels[index],
            factors={key: values[index] for key, values in self.factors.items()},
            n_train=None,
            skipped=(),
        )

    def of_class(self, name: str) -> ImageSet:
        """The images of one class."""
        if self.labels is None or name not in self.classes:
            raise UsageError(
                f"{self.name} has no class {name!r}; it has {', '.join(self.classes) or 'none'}"
            )
        mask = self.labels == self.classes.index(name)
        if not mask.any():
            raise InputError(f"{self.name} has no image of the class {name!r}")
        return self.subset(mask, f"{self.name} ({name})")

    def split(self, fraction: float = HELD_OUT) -> tuple[ImageSet, ImageSet]:
        """(train, held out), in the set's order: the source's own split where it has one.

        Otherwise about `fraction` of the images are held out so that nothing leaks: which side an
        image is on follows from its pixels alone, so exact copies stay together, whatever their
        labels, names or order. It does not keep near copies (a crop, another compression) together.
        To hold out a validation part beside an official test part, split the training part again.

        Raises UsageError where `fraction` is not between 0 and 1, InputError where there is too
        little for two sides.
        """
        number("the held-out fraction", fraction, above=0, below=1)
        if self.n_train is not None:
            held_out = np.arange(len(self)) >= self.n_train
            second = "test"
        else:
            held_out = self._held_out(fraction)
            second = "validation"
        train = self.subset(~held_out, f"{self.name} (train)")
        return train, self.subset(held_out, f"{self.name} ({second})")

    def _held_out(self, fraction: float) -> NDArray[np.bool_]:
        """In the order of the hashes, which is as good as random, every image that still fits
        with its copies; where none does, the one with the fewest copies.
        """
        copies: dict[bytes, int] = {}
        for key in self.image_hashes:
            copies[key] = copies.get(key, 0) + 1
        if len(copies) == 1:
            raise InputError(f"{self.name} has one image only: nothing can be held out")
        room = int(fraction * len(self))
        chosen: set[bytes] = set()
        for key in sorted(copies):
            if copies[key] <= room:
                chosen.add(key)
                room -= copies[key]
        chosen = chosen or {min(copies, key=lambda key: (copies[key], key))}
        return np.array([key in chosen for key in self.image_hashes])

    # ---- what a run says about it

    def record(self) -> dict[str, Any]:
        """What a run notes about its data, as JSON values."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "images": len(self),
            "size": self.size,
            "classes": len(self.classes),
            "provenance": self.provenance,
            "licence": self.licence,
            "skipped": len(self.skipped),
        }

    def describe(self) -> str:
        """Some lines for a reader: how many, of what size, how bright, how many of each class."""
        lines = [f"{self.name}: {len(self):,} images {self.size}, {self.provenance}"]
        if self.n_train is not None:
            lines.append(f"own split: {self.n_train:,} train, {len(self) - self.n_train:,} test")
        mean, std = self.images.mean(dtype=np.float64), self.images.std(dtype=np.float64)
        low, high = self.images.min(), self.images.max()
        lines.append(f"pixels {low} ... {high}, mean {mean:.1f}, standard deviation {std:.1f}")
        copies = len(self) - len(set(self.image_hashes))
        lines.append(f"exact copies of other images: {copies}")
        if self.labels is not None:
            counts = np.bincount(self.labels, minlength=len(self.classes))
            pairs = zip(self.classes, counts, strict=True)
            lines.append("classes: " + ", ".join(f"{name} {count:,}" for name, count in pairs))
        lines.append(f"licence: {self.licence}; sha256 {self.sha256}")
        return "\n".join(lines)


def joined(train: ImageSet, test: ImageSet) -> ImageSet:
    """One set of two parts of a source, whose own split they are; the name is that of `train`."""
    if train.shape != test.shape or train.classes != test.classes:
        raise InputError(
            f"{train.name}: its training images are {train.size} of {len(train.classes)} classes, "
            f"its test images {test.size} of {len(test.classes)}"
        )
    if train.factors.keys() != test.factors.keys() or (train.labels is None) != (
        test.labels is None
    ):
        raise InputError(f"{train.name}: its two parts are not labelled alike")
    labels = None
    if train.labels is not None and test.labels is not None:
        labels = np.concatenate([train.labels, test.labels])
    return replace(
        train,
        images=np.concatenate([train.images, test.images]),
        labels=labels,
        factors={k: np.concatenate([v, test.factors[k]]) for k, v in train.factors.items()},
        n_train=len(train),
        skipped=train.skipped + test.skipped,
    )


def numbered(labels: ArrayLike) -> tuple[str, ...]:
    """Classes called "0", "1", ... for labels that have no names."""
    values = np.asarray(labels)
    return tuple(map(str, range(int(values.max()) + 1 if values.size else 0)))


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view
