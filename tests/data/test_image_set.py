"""What an image set promises: it cannot be changed, its hash is its content, its split is tight."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import image_set, pixels, same

from tinygen.data.images import ImageSet, joined
from tinygen.errors import DtypeError, InputError, OutOfRangeError, ShapeError, UsageError


def of_contents(contents):
    """A set whose images are known by a number: equal numbers are equal images."""
    images = np.array(contents, np.uint8).reshape(-1, 1, 1, 1) + np.zeros((1, 2, 2, 1), np.uint8)
    return ImageSet("set", images, np.arange(len(contents)) % 2, ("a", "b"), "a test")


contents = st.lists(st.integers(0, 255), min_size=2, max_size=40)


@given(contents, st.floats(0.01, 0.99))
def test_a_split_takes_every_image_once_and_no_copy_twice(values, fraction):
    data = of_contents(values)
    if len(set(values)) == 1:
        with pytest.raises(InputError, match="one image only"):
            data.split(fraction)
        return
    train, held_out = data.split(fraction)
    sides = [part.images[:, 0, 0, 0].tolist() for part in (train, held_out)]
    assert sorted(sides[0] + sides[1]) == sorted(values)
    assert not set(sides[0]) & set(sides[1])
    assert sides[0]
    assert sides[1]
    for side, part in zip(sides, (train, held_out), strict=True):  # in the set's order, labelled
        order = [i for i, value in enumerate(values) if value in set(side)]
        assert side == [values[i] for i in order]
        assert part.labels.tolist() == [i % 2 for i in order]
    fewest = min(values.count(value) for value in values)
    assert len(held_out) <= max(int(fraction * len(values)), fewest)


@given(contents, st.randoms(use_true_random=False))
def test_the_side_of_an_image_does_not_depend_on_the_order(values, random):
    values = [*sorted({*values, 7, 8}), 7]
    shuffled = random.sample(values, len(values))
    _, first = of_contents(values).split(0.3)
    _, second = of_contents(shuffled).split(0.3)
    assert sorted(first.images[:, 0, 0, 0]) == sorted(second.images[:, 0, 0, 0])


def test_a_set_with_its_own_split_keeps_it():
    data = image_set(n=6, n_train=4)
    train, test = data.split(0.9)
    assert (len(train), len(test)) == (4, 2)
    np.testing.assert_array_equal(test.images, data.images[4:])
    np.testing.assert_array_equal(test.labels, data.labels[4:])
    assert train.n_train is None
    assert (train.name, test.name) == ("set (train)", "set (test)")
    assert len(train.split(0.25)[1]) == 1
    assert same(replace(joined(train, test), name="set"), data)
    assert joined(train, test).n_train == 4


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan"), "a", None])
def test_a_fraction_lies_between_0_and_1(fraction):
    with pytest.raises(UsageError, match="above 0 and below 1"):
        image_set().split(fraction)


def test_nothing_in_a_set_can_be_changed():
    mine = pixels(0, 3, 2, 2, 1)
    data = ImageSet("set", mine, np.arange(3), ("a", "b", "c"), "a test", factors={"f": [1, 2, 3]})
    for array in (data.images, data.labels, data.factors["f"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert mine.flags.writeable


def test_the_hash_is_that_of_the_content_alone():
    data = image_set()
    assert replace(data, name="other", provenance="elsewhere", n_train=3).sha256 == data.sha256
    assert replace(data, images=np.asfortranarray(data.images)).sha256 == data.sha256
    images, labels = data.images.copy(), data.labels.copy()
    images[1, 2, 3, 0] ^= 1
    labels[2] = (labels[2] + 1) % 3
    n, h, w, c = images.shape
    others = [
        replace(data, images=images),
        replace(data, labels=labels),
        replace(data, labels=None, classes=()),
        replace(data, classes=("a", "b", "d")),
        replace(data, images=data.images.reshape(n, w, h, c)),
        replace(data, factors={"style": np.zeros(n, int)}),
        replace(data, factors={"style": np.ones(n, int)}),
        replace(data, factors={"other": np.ones(n, int)}),
        data.subset([1, 0, 2, 3, 4, 5]),
    ]
    assert len({other.sha256 for other in [data, *others]}) == 1 + len(others)


def test_subsets():
    data = replace(image_set(n=6, n_train=4), factors={"f": np.arange(6) * 10})
    part = data.subset([4, 1, 4])
    np.testing.assert_array_equal(part.images, data.images[[4, 1, 4]])
    assert part.labels.tolist() == [1, 1, 1]
    assert part.factors["f"].tolist() == [40, 10, 40]
    assert part.classes == data.classes
    assert part.n_train is None
    mask = np.array([True, False, True, False, False, False])
    assert same(data.subset(mask), data.subset([0, 2]))
    assert data.of_class("b").labels.tolist() == [1, 1]
    for wrong, error in (
        ([[0]], ShapeError),
        ([True], ShapeError),
        ([0.0], DtypeError),
        ([6], OutOfRangeError),
        ([-1], OutOfRangeError),
        ([], InputError),
    ):
        with pytest.raises(error):
            data.subset(wrong)
    with pytest.raises(UsageError, match="it has a, b, c"):
        data.of_class("z")
    with pytest.raises(InputError, match="no image of the class 'b'"):
        data.subset([0]).of_class("b")


def test_what_a_run_notes_and_a_reader_sees():
    data = replace(image_set(n=6, n_train=4), licence="CC0", skipped=("x: y",))
    assert data.record() == {
        "name": "set",
        "sha256": data.sha256,
        "images": 6,
        "size": "4x5x1",
        "classes": 3,
        "provenance": "a test",
        "licence": "CC0",
        "skipped": 1,
    }
    words = data.subset([0, 0, 1]).describe()
    for expected in ("3 images 4x5x1", "exact copies of other images: 1", "a 2, b 1, c 0", "CC0"):
        assert expected in words
    assert "own split: 4 train, 2 test" in data.describe()
    assert "6 images 4x5x1, 3 classes" in repr(data)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"images": np.zeros((6, 5, 4, 1))}, DtypeError, "uint8 is needed"),
        ({"images": np.zeros((6, 5, 4), np.uint8)}, ShapeError, "channels last"),
        ({"images": np.zeros((6, 3, 32, 32), np.uint8)}, ShapeError, "channels last"),
        ({"images": np.zeros((0, 5, 4, 1), np.uint8)}, InputError, "no images"),
        ({"images": np.zeros((6, 5, 0, 1), np.uint8)}, InputError, "no images"),
        ({"labels": np.zeros(5, int)}, ShapeError, "one for each image"),
        ({"labels": np.zeros(6)}, ShapeError, "integers"),
        ({"labels": np.full(6, 3)}, InputError, "3 classes"),
        ({"labels": np.full(6, -1)}, InputError, "3 classes"),
        ({"labels": None}, InputError, "names classes and has no labels"),
        ({"factors": {"f": np.zeros(5, int)}}, ShapeError, "f of shape"),
        ({"n_train": 0}, InputError, "for training"),
        ({"n_train": 6}, InputError, "for training"),
    ],
)
def test_what_is_no_set_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        replace(image_set(), **change)


def test_parts_that_do_not_belong_together_are_not_joined():
    data = image_set()
    for other in (
        image_set(h=6),
        replace(image_set(), classes=("a", "b", "x")),
        replace(image_set(), factors={"f": np.zeros(6, int)}),
    ):
        with pytest.raises(InputError):
            joined(data, other)
    bare = replace(data, labels=None, classes=())
    assert joined(bare, bare).labels is None
    with pytest.raises(InputError, match="test images 4x5x1 of 0"):
        joined(data, bare)


def test_the_split_of_many_images_is_near_the_fraction():
    data = ImageSet("set", pixels(1, 2000, 2, 2, 3), None, (), "a test")
    assert len(data.split(0.1)[1]) == 200
