"""The frozen network: it is what it was, knows digits, and feels damage by its size."""

import hashlib

import numpy as np
import pytest

from tinygen import ops
from tinygen.data.images import normalise, read_images
from tinygen.errors import InputError, ShapeError
from tinygen.evaluation import feature_net, features, frechet_distance, judge, kernel_distance
from tinygen.random import Generator


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(train, test, their labels), images in [0, 1]."""
    train, test = read_images("digits").split()
    assert train.labels is not None
    assert test.labels is not None
    return normalise(train.images), normalise(test.images), train.labels, test.labels


def test_the_weights_are_the_published_ones_and_small() -> None:
    data = features.WEIGHTS.read_bytes()
    assert len(data) < 500_000
    assert hashlib.sha256(data).hexdigest() == features.SHA256


def test_damaged_weights_are_refused(tmp_path, monkeypatch) -> None:
    data = bytearray(features.WEIGHTS.read_bytes())
    data[-1] ^= 1
    (tmp_path / "net").write_bytes(data)
    feature_net.cache_clear()
    monkeypatch.setattr(features, "WEIGHTS", tmp_path / "net")
    with pytest.raises(InputError, match="not the published ones"):
        feature_net()
    monkeypatch.setattr(features, "WEIGHTS", tmp_path / "gone")
    with pytest.raises(InputError, match="cannot read"):
        feature_net()
    monkeypatch.undo()
    feature_net.cache_clear()


def test_it_knows_handwriting_that_it_has_not_seen(digits) -> None:
    _, test, _, labels = digits
    _, classes = feature_net().describe(test)
    assert (classes == labels).mean() > 0.9  # the test part: hands that it has not seen


def test_the_same_images_have_the_same_features_in_any_batch(digits) -> None:
    _, test, _, _ = digits
    whole, _ = feature_net().describe(test[:40])
    parts, _ = feature_net().describe(test[:40], batch=7)
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-5)
    colour, _ = feature_net().describe(np.repeat(test[:40], 3, axis=3))
    np.testing.assert_allclose(whole, colour, rtol=1e-4, atol=1e-5)


def test_distances_rise_with_noise_with_blur_and_with_dropped_classes(digits) -> None:
    train, test, labels, _ = digits
    net = feature_net()
    truth, _ = net.describe(test)
    noise = Generator(0).normal(train.shape)

    def blurred(times: int) -> np.ndarray:
        x = train
        for _ in range(times):
            x = np.asarray(ops.avg_pool2d(x, 3, stride=1, padding=1))
        return x

    damage = {
        "noise": [train + level * noise for level in (0, 0.1, 0.2, 0.4)],
        "blur": [blurred(times) for times in (0, 1, 2)],  # beyond, 8 x 8 pixels are all one grey
        "dropped": [train[labels < kept] for kept in (10, 8, 5, 2)],
    }
    for distance in (frechet_distance, kernel_distance):
        for name, versions in damage.items():
            found = [distance(net.describe(x)[0], truth) for x in versions]
            assert found == sorted(found), (name, distance.__name__, found)
            assert found[-1] > 3 * abs(found[0]), (name, distance.__name__, found)


def test_a_judgement_puts_real_images_at_the_floor_and_a_gaussian_at_the_ceiling(digits) -> None:
    train, test, labels, test_labels = digits
    judged = judge(train[::2], train, test, asked=labels[::2], labels=test_labels, rng=Generator(0))
    assert judged.frechet == pytest.approx(judged.frechet_floor, rel=0.5)
    assert judged.frechet < judged.frechet_ceiling / 3
    assert judged.accuracy is not None
    assert judged.accuracy > 0.8
    assert judged.memorisation.copies > 0.9  # they are the training images
    assert len(judged.lines()) == 5
    fresh = judge(test[::2], train, test[1::2], rng=Generator(0))
    assert fresh.memorisation.copies < 0.05
    assert fresh.accuracy is None
    assert len(fresh.lines()) == 4


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ShapeError):
        feature_net().describe(np.zeros((3, 8, 8)))
