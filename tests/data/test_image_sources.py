"""What a name or a path means, and the two sets that need no internet."""

import os
import sys

import numpy as np
import pytest
from image_files import image_set, picture_files, pixels, same, tar_bytes, write_files, zip_bytes

from tinygen.data.images import Style, glyphs, read_images, write_idx, write_npz
from tinygen.data.images import digits as embedded_digits
from tinygen.data.images.archive import open_archive
from tinygen.data.images.rendered_glyphs import STYLES
from tinygen.data.images.uci_digits import FOLDER, IMAGES, LABELS, LEVELS, counts
from tinygen.data.sources import read_corpus
from tinygen.errors import InputError, UnavailableError, UsageError


@pytest.fixture
def empty_data(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


# ---- digits


def test_digits_are_the_ones_of_uci():
    """Sizes and class counts as published; pixel sums as anyone computes them from the original."""
    data = read_images("digits")
    assert same(data, embedded_digits())
    assert data.images.shape == (1797, 8, 8, 1)
    class_counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(data.labels).tolist() == class_counts
    assert data.classes == tuple("0123456789")
    assert data.licence == "CC BY 4.0"
    ink = counts(data.images)[..., 0]
    assert ink[0].tolist() == [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]
    assert data.labels[:10].tolist() == list(range(10))
    assert ink.sum() == 561_718
    assert len(np.unique(data.images)) == LEVELS
    assert len(set(data.image_hashes)) == 1797


def test_digits_have_a_fixed_split():
    train, test = embedded_digits().split()
    assert (len(train), len(test)) == (1437, 360)
    np.testing.assert_array_equal(test.images, embedded_digits().images[1437:])


def test_digits_are_small_and_attributed():
    assert IMAGES.stat().st_size + LABELS.stat().st_size < 100_000
    text = (FOLDER / "README.md").read_text()
    for words in ("Alpaydin", "Kaynak", "10.24432/C50P49", "Attribution 4.0"):
        assert words in text


def test_altered_digits_are_found(tmp_path, monkeypatch):
    images = counts(embedded_digits().images)[..., 0].astype(np.uint8)
    images[5, 4, 4] ^= 1
    write_idx(tmp_path / "images.gz", images)
    monkeypatch.setattr("tinygen.data.images.uci_digits.IMAGES", tmp_path / "images.gz")
    with pytest.raises(InputError, match="not the original"):
        embedded_digits()


def test_digits_look_like_digits():
    """The mean of each class, from the training part, tells most of the test part."""
    train, test = embedded_digits().split()
    means = np.stack([train.of_class(name).images.mean(0).ravel() for name in train.classes])
    x = test.images.reshape(len(test), -1)
    nearest = ((x[:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == test.labels).mean() > 0.8


# ---- glyphs


def moment(image, p, q):
    """Central moments, x to the right and y upwards."""
    y, x = np.indices(image.shape)
    mass = image / image.sum()
    dx, dy = x - (mass * x).sum(), (mass * y).sum() - y
    return float((mass * dx**p * dy**q).sum())


def drawn(character, size=64, **style):
    return glyphs(size, character, [Style("s", **style)]).images[0, :, :, 0].astype(float)


def test_glyphs_have_class_and_style_labels():
    pytest.importorskip("PIL")
    styles = STYLES[:4]
    data = glyphs(16, "AB7", styles)
    assert data.images.shape == (12, 16, 16, 1)
    assert data.classes == ("A", "B", "7")
    assert data.labels.tolist() == [0, 1, 2] * 4
    assert data.factors["style"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert same(data, glyphs(16, "AB7", styles))
    np.testing.assert_array_equal(data.images[4], glyphs(16, "B", styles[1:2]).images[0])
    assert len({style.name for style in STYLES}) == len(STYLES) == 30
    assert "Pillow" in data.provenance


@pytest.mark.parametrize("size", [16, 28])
def test_no_two_glyphs_are_equal_and_no_ink_is_cut_off(size):
    pytest.importorskip("PIL")
    data = read_images("glyphs", size=size)
    assert data.shape == (size, size, 1)
    assert len(set(data.image_hashes)) == len(data) == 36 * 30
    edges = data.images.copy()
    edges[:, 1:-1, 1:-1] = 0
    assert np.median(edges.max((1, 2, 3))) == 0
    # An M or W in a wide style may touch the border, with the flank of a stroke.
    assert edges.sum((1, 2, 3)).max() <= 0.1 * data.images.sum((1, 2, 3)).max()


def test_each_style_does_what_it_says():
    pytest.importorskip("PIL")
    plain = drawn("H")
    assert drawn("H", stroke=0.03).sum() > 1.2 * plain.sum()
    stretched = drawn("H", width=1.2)
    ratio = moment(stretched, 2, 0) / moment(plain, 2, 0)
    assert abs(ratio - 1.44) <= 0.03
    # Under x -> x + s y the covariance of x and y grows by s var(y).
    slanted = drawn("H", slant=0.25)
    assert abs(moment(slanted, 1, 1) / moment(slanted, 0, 2) - 0.25) <= 0.02
    # A turn by a moves the main axis of an I from upright to a towards the left.
    turned = drawn("I", turn=12.0)
    xx, xy, yy = moment(turned, 2, 0), moment(turned, 1, 1), moment(turned, 0, 2)
    axis = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) % 180
    assert abs(axis - (90 + 12)) <= 0.5
    assert abs(turned.sum() / drawn("I").sum() - 1) <= 0.02


def test_glyphs_are_centred():
    pytest.importorskip("PIL")
    for character in "AIHg0":
        image = drawn(character, slant=0.0)
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        for ink in (rows, columns):
            assert abs((ink[0] + ink[-1]) - 63) <= 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: glyphs(7), "from 8 to 512"),
        (lambda: glyphs(513), "from 8 to 512"),
        (lambda: glyphs(16, ""), "at least one"),
        (lambda: glyphs(16, "A", []), "at least one"),
        (lambda: glyphs(16, "AA"), "once"),
        (lambda: glyphs(16, "A", [Style("s"), Style("s")]), "once"),
        (lambda: glyphs(16, " "), "no ink"),
        (lambda: glyphs(16, "\u4e2d"), "has no"),
    ],
)
def test_glyphs_that_cannot_be(call, words):
    pytest.importorskip("PIL")
    with pytest.raises(UsageError, match=words):
        call()


def test_glyphs_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnavailableError, match="pip install pillow"):
        glyphs()


# ---- names and paths


def test_every_format_is_known_by_its_path(tmp_path):
    data = image_set(n=4, h=32, w=32, c=3)
    record = data.images[0].transpose(2, 0, 1).tobytes()
    write_npz(tmp_path / "set.npz", data)
    assert same(read_images(tmp_path / "set.npz"), data)
    files = picture_files(data)
    write_files(tmp_path / "folder", files)
    (tmp_path / "set.zip").write_bytes(zip_bytes(files))
    assert same(read_images(tmp_path / "folder"), read_images(tmp_path / "set.zip"))
    assert read_images(tmp_path / "folder", size=8).shape == (8, 8, 3)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\0" + record)
    (tmp_path / "c.tar.gz").write_bytes(tar_bytes({"test_batch.bin": b"\0" + record}))
    for name in ("data_batch_1.bin", "c.tar.gz"):
        np.testing.assert_array_equal(read_images(tmp_path / name).images, data.images[:1])
    write_files(tmp_path / "cifar", {"test_batch.bin": b"\0" + record})
    assert read_images(tmp_path / "cifar").classes[0] == "airplane"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_find_their_labels(tmp_path, ending):
    data = image_set(n=5)
    write_idx(tmp_path / f"my-images-idx3-ubyte{ending}", data.images[..., 0])
    assert read_images(tmp_path / f"my-images-idx3-ubyte{ending}").labels is None
    write_idx(tmp_path / "my-labels-idx1-ubyte", data.labels.astype(np.uint8))
    read = read_images(tmp_path / f"my-images-idx3-ubyte{ending}")
    assert read.labels.tolist() == data.labels.tolist()
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", data.images[..., 0])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", data.labels.astype(np.uint8))
    assert read_images(tmp_path).n_train == 5


def test_a_name_comes_before_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "digits", picture_files(image_set(n=2)))
    assert len(read_images("digits")) == 1797
    assert len(read_images("./digits")) == 2


def test_fetched_sets_that_are_not_here(empty_data):
    for name in ("mnist", "fashion-mnist", "cifar10"):
        with pytest.raises(InputError, match=f"tinygen data fetch {name}"):
            read_images(name)


@pytest.mark.parametrize(
    ("name", "size", "error", "words"),
    [
        ("mnisst", None, InputError, "nor one of digits, glyphs, mnist"),
        ("tinyshakespeare", None, InputError, "are text, no images"),
        ("digits", 16, UsageError, "has its own size"),
        ("mnist", 16, UsageError, "has its own size"),
        ("set.npz", 16, UsageError, "has its own size"),
        ("one.png", None, InputError, "one picture"),
        ("other.txt", None, InputError, "no set of images"),
        ("empty", None, InputError, "no PNG or JPEG"),
    ],
)
def test_what_is_no_source(tmp_path, monkeypatch, name, size, error, words):
    monkeypatch.chdir(tmp_path)
    write_npz("set.npz", image_set())
    for file in ("one.png", "other.txt"):
        (tmp_path / file).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=words):
        read_images(name, size=size)


def test_text_models_refuse_images_by_name():
    with pytest.raises(InputError, match="'mnist' are images, no text"):
        read_corpus("mnist")


def test_a_fetched_set_has_its_names_and_its_licence(empty_data, monkeypatch):
    """Fashion-MNIST in miniature: what `find` gives is trusted, so a small set serves."""
    folder = empty_data / "fashion-mnist"
    folder.mkdir()
    for part, n in (("train", 10), ("t10k", 3)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pixels(n, n, 28, 28))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8))
    monkeypatch.setattr("tinygen.data.images.sources.find", lambda name: folder)
    data = read_images("fashion-mnist")
    assert (data.name, data.licence, data.n_train) == ("fashion-mnist", "MIT (Zalando SE)", 10)
    assert data.classes[9] == "ankle boot"
    assert "Xiao" in data.provenance


# ---- real data


def test_mnist(real_data, monkeypatch):
    monkeypatch.setenv("TINYGEN_DATA", os.fspath(real_data("mnist").parent))
    data = read_images("mnist")
    assert (data.images.shape, data.n_train) == ((70_000, 28, 28, 1), 60_000)
    train, test = data.split()
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert round(train.images.mean() / 255, 4) == 0.1307  # the figure that everyone normalises by
    assert round(train.images.std() / 255, 4) == 0.3081


def test_cifar10_as_jpeg(real_data, tmp_path):
    pytest.importorskip("PIL")
    with open_archive(real_data("cifar10-jpeg-30k.zip")) as archive:
        names = sorted(archive.members)
        assert len(names) == 30_000
        some = {name: archive.read(name) for name in names[::20]}
    (tmp_path / "some.zip").write_bytes(zip_bytes(some))
    data = read_images(tmp_path / "some.zip")
    assert (data.images.shape, data.n_train) == ((1500, 32, 32, 3), 1200)
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(data.split()[1].labels).tolist() == [30] * 10
    means = data.images.mean((0, 1, 2)) / 255  # CIFAR-10's: 0.491, 0.482, 0.447
    assert np.abs(means - [0.491, 0.482, 0.447]).max() < 0.02
