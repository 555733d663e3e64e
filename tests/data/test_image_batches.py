"""Every image once an epoch, the order from the seed alone, and no trace of a break."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.images import ImageBatches, ImageSet, PointBatches, sequential_images
from tinygen.data.synthetic import PLANAR
from tinygen.errors import InputError, UsageError
from tinygen.random import Generator


def numbered(n, labelled=True):
    """A set whose images show their own number."""
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    if not labelled:
        return ImageSet("set", images, None, (), "a test")
    return ImageSet("set", images, np.arange(n), tuple(map(str, range(n))), "a test")


def numbers(batches, count):
    return [next(batches)[0].ravel().tolist() for _ in range(count)]


def flat(parts):
    return list(itertools.chain.from_iterable(parts))


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
def test_each_epoch_has_every_image_once(n, batch, seed):
    batches = ImageBatches(numbered(n), batch, Generator(seed))
    stream = flat(numbers(batches, -(-3 * n // batch)))
    epochs = [stream[i * n : (i + 1) * n] for i in range(3)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert batches.epoch == len(stream) // n
    if n >= 8:
        assert len({tuple(epoch) for epoch in epochs}) == 3
    # The stream is that of batches of one image: the batch size cuts it, nothing more.
    ones = ImageBatches(numbered(n), 1, Generator(seed))
    assert flat(numbers(ones, len(stream))) == stream


@pytest.mark.parametrize("replace", [False, True])
@given(cut=st.integers(0, 9), n=st.integers(1, 12), batch=st.integers(1, 7))
def test_a_break_leaves_no_trace(replace, cut, n, batch):
    def fresh():
        return ImageBatches(numbered(n), batch, Generator(5), replace=replace)

    whole = numbers(fresh(), 10)
    before = fresh()
    assert numbers(before, cut) == whole[:cut]
    state = json.loads(json.dumps(before.state_dict()))
    after = ImageBatches(numbered(n), batch, Generator(99), replace=replace)
    next(after)  # elsewhere, and in the order of another seed
    after.load_state_dict(state)
    assert numbers(after, 10 - cut) == whole[cut:]
    assert after.epoch == (10 * batch) // n


def test_labels_belong_to_their_images():
    for labelled in (True, False):
        batches = ImageBatches(numbered(9, labelled), 4, Generator(0))
        for _ in range(5):
            images, labels = next(batches)
            assert (images.shape, images.dtype) == ((4, 1, 1, 1), np.uint8)
            if labelled:
                np.testing.assert_array_equal(labels, images.ravel())
            else:
                assert labels is None
    images[:] = 0  # a batch is a copy, to be changed at will
    assert batches.data.images.max() == 8


def test_drawn_with_replacement_every_image_has_equal_chance():
    batches = ImageBatches(numbered(10), 500, Generator(0), replace=True)
    counts = np.bincount(flat(numbers(batches, 20)), minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() <= 9 + 6 * np.sqrt(2 * 9)


def test_the_order_depends_on_the_seed():
    first, again, other = (
        numbers(ImageBatches(numbered(20), 20, Generator(s)), 1) for s in (1, 1, 2)
    )
    assert first == again != other


@given(st.integers(1, 12), st.integers(1, 15))
def test_in_sequence_every_image_comes_once(n, batch):
    parts = list(sequential_images(numbered(n), batch))
    assert np.concatenate([images.ravel() for images, _ in parts]).tolist() == list(range(n))
    assert np.concatenate([labels for _, labels in parts]).tolist() == list(range(n))
    assert [len(images) for images, _ in parts[:-1]] == [batch] * (len(parts) - 1)
    assert all(labels is None for _, labels in sequential_images(numbered(n, False), batch))


def test_points_are_drawn_afresh_and_continue():
    sample = PLANAR["moons"]().sample
    whole = PointBatches(sample, 5, Generator(1))
    points = [next(whole) for _ in range(4)]
    assert points[0].shape == (5, 2)
    assert len({p.tobytes() for p in points}) == 4
    first = PointBatches(sample, 5, Generator(1))
    np.testing.assert_array_equal(next(first), points[0])
    rest = PointBatches(sample, 5, Generator(7))
    rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for expected, found in zip(points[1:], rest, strict=False):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ImageBatches(numbered(3), 0, Generator(0)),
        lambda: ImageBatches(numbered(3), 2.5, Generator(0)),
        lambda: PointBatches(PLANAR["ring"]().sample, 0, Generator(0)),
        lambda: next(sequential_images(numbered(3), 0)),
    ],
)
def test_a_batch_has_at_least_one(call):
    with pytest.raises(UsageError, match="at least 1"):
        call()


@pytest.mark.parametrize(
    "state", [{}, {"drawn": 3}, {"drawn": "x", "rng": {}}, {"drawn": -1, "rng": {}}]
)
def test_a_state_that_is_none(state):
    batches = ImageBatches(numbered(3), 2, Generator(0))
    with pytest.raises(InputError, match="not the state"):
        batches.load_state_dict(state)
