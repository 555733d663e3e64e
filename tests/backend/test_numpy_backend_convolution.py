"""Every way to compute a convolution, on tiny shapes, against the references of the op.

Small integers are exact in the direct ways, in any order of summation. Winograd's way rounds: its
bound follows from the algorithm itself, run on absolute values with absolute matrices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinygen.backend.geometry import Geometry
from tinygen.backend.numpy_backend import columns, convolution, depthwise, product, winograd
from tinygen.ops.convolution import Conv2d, Conv2dWeightGradient, ConvTranspose2d

quick = settings(max_examples=60, deadline=None)

FLOAT32 = 2.0**-24


class Case(NamedTuple):
    x: np.ndarray
    weight: np.ndarray
    g: np.ndarray
    biases: tuple[np.ndarray | None, np.ndarray | None]
    geometry: Geometry

    def arguments(self) -> dict[str, tuple[Any, ...]]:
        """Of the three passes, by name."""
        size, sides, kernel = (a.shape[1:3] for a in (self.g, self.x, self.weight))
        return {
            "forward": (self.x, self.weight, self.biases[0], size, self.geometry),
            "input_gradient": (self.g, self.weight, self.biases[1], sides, self.geometry),
            "weight_gradient": (self.x, self.g, kernel, self.geometry),
        }

    def references(self) -> dict[str, np.ndarray]:
        functions = (Conv2d, ConvTranspose2d, Conv2dWeightGradient)
        return {
            name: function.reference(*rest, size=size, geometry=geometry)
            for function, (name, (*rest, size, geometry)) in zip(
                functions, self.arguments().items(), strict=True
            )
        }

    def changed(self, change: Any) -> Case:
        biases = tuple(None if b is None else change(b) for b in self.biases)
        return Case(*(change(a) for a in self[:3]), biases, self.geometry)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


TO_2, TO_3 = st.integers(1, 2), st.integers(1, 3)
PAIRS_TO_2, PAIRS_TO_3, PAIRS_TO_4 = (pairs(1, high) for high in (2, 3, 4))


@st.composite
def cases(
    draw: Any,
    kernels: Any = PAIRS_TO_4,
    strides: Any = PAIRS_TO_3,
    dilations: Any = PAIRS_TO_2,
    groups: Any = TO_3,
    width: Any = TO_3,
) -> Case:
    """Small integers as float64."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31 - 1)))
    kernel, stride, count, inputs = draw(kernels), draw(strides), draw(groups), draw(width)
    outputs = count * draw(st.integers(1, 3))
    padding = draw(pairs(0, 3))
    geometry = Geometry(stride, padding, draw(dilations), count)
    sides = draw(pairs(1, 13))
    size = geometry.sides_after(sides, kernel)
    assume(min(size) >= 1)
    N = draw(st.integers(0, 3))

    def array(*shape: int) -> np.ndarray:
        return rng.integers(-4, 5, shape).astype(float)

    biases = (array(outputs), array(inputs * count)) if draw(st.booleans()) else (None, None)
    x, weight = array(N, *sides, inputs * count), array(outputs, *kernel, inputs)
    return Case(x, weight, array(N, *size, outputs), biases, geometry)


def assert_exact(module: Any, way: str, case: Case) -> None:
    for dtype in (np.float64, np.float32):
        same = case.changed(lambda a, dtype=dtype: a.astype(dtype))
        wanted = case.references()
        for name, arguments in same.arguments().items():
            found = getattr(module, f"{way}_{name}")(*arguments)
            assert found.dtype == dtype
            assert np.array_equal(found, wanted[name]), name


@pytest.fixture(params=[1, 300, 1 << 20], ids=lambda n: f"blocks of {n}")
def blocks(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one row of one image at a time to everything at once."""
    monkeypatch.setattr(columns, "BLOCK", request.param)
    monkeypatch.setattr(depthwise, "BLOCK", request.param)


@pytest.fixture
def tiny_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products cut into tiles although they are small."""
    monkeypatch.setattr(product, "SMALL", 24)
    monkeypatch.setattr(product, "COLUMNS", 2)
    monkeypatch.setattr(product, "ROWS", (3, 2, 1))
    monkeypatch.setattr(product, "small_products_are_fast", lambda: True)


@pytest.mark.usefixtures("blocks")
@quick
@given(cases())
def test_columns(case: Case) -> None:
    assert_exact(columns, "columns", case)


@pytest.mark.usefixtures("tiny_tiles")
@quick
@given(cases())
def test_columns_of_tiled_products(case: Case) -> None:
    assert_exact(columns, "columns", case)


@pytest.mark.usefixtures("blocks")
@quick
@given(cases(groups=st.integers(1, 4), width=st.just(1)))
def test_depthwise(case: Case) -> None:
    assert_exact(depthwise, "depthwise", case)


@pytest.mark.parametrize("way", ["as measured", "always flipped", "never flipped"])
@quick
@given(cases(strides=st.just((1, 1)), groups=TO_2))
def test_the_choice_of_the_columns_changes_nothing(way: str, case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if way != "as measured":
            patch.setattr(convolution, "_worth_flipping", lambda *_: way == "always flipped")
        assert_exact(convolution, "conv2d", case)


@quick
@given(cases(kernels=st.just((1, 1)), groups=st.just(1)))
def test_pixel_by_pixel(case: Case) -> None:
    assert_exact(convolution, "conv2d", case)


# ---- Winograd ------------------------------------------------------------------------------------

SQUARES = st.sampled_from([((3, 3), (1, 1)), ((4, 4), (2, 2)), ((2, 2), (1, 1)), ((6, 6), (2, 2))])


@st.composite
def winograd_cases(draw: Any) -> Case:
    kernel, stride = draw(SQUARES)
    plain = {"dilations": st.just((1, 1)), "groups": st.just(1)}
    case = draw(cases(kernels=st.just(kernel), strides=st.just(stride), **plain))
    rng = np.random.default_rng(draw(st.integers(0, 2**31 - 1)))
    return case.changed(lambda a: rng.standard_normal(a.shape).astype(np.float32).astype(float))


@pytest.mark.parametrize("tiles", [1, 5, 64])
@quick
@given(winograd_cases())
def test_winograd_within_its_bound(tiles: int, case: Case) -> None:
    """Every number is a sum of products of what came before, in chains of at most 2 a roundings for
    each of its three transformations and one for each number summed, channels or tiles."""
    single = case.changed(lambda a: a.astype(np.float32))
    absolute = case.changed(np.abs)
    wanted = case.references()
    terms = {
        "forward": case.x.shape[3] * case.geometry.stride[0] ** 2,
        "input_gradient": case.g.shape[3] + 4,
        "weight_gradient": case.g.shape[0]
        * (case.g.shape[1] // 4 + 1)
        * (case.g.shape[2] // 4 + 1),
    }
    exact_maps = winograd._maps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "TILES", tiles)
        for name, arguments in single.arguments().items():
            run = getattr(winograd, f"winograd_{name}")
            found = run(*arguments)
            assert found.dtype == np.float32
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(
                    winograd, "_maps", lambda r: winograd.Maps(*(np.abs(m) for m in exact_maps(r)))
                )
                magnitude = run(*absolute.arguments()[name])
            roundings = terms[name] + 3 * 2 * 6 + 2
            error = np.abs(found - wanted[name])
            assert (error <= roundings * FLOAT32 * magnitude).all(), name


def test_winograd_takes_float32_of_many_channels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact on integers in float64 and below the threshold, and used above it."""
    used = []
    for name in ("forward", "input_gradient", "weight_gradient"):
        run = getattr(winograd, f"winograd_{name}")

        def counted(*arguments: Any, run: Any = run, name: str = name) -> Any:
            used.append(name)
            return run(*arguments)

        monkeypatch.setattr(convolution, f"winograd_{name}", counted)
    rng = np.random.default_rng(0)
    many = convolution.WINOGRAD_CHANNELS
    for channels, dtype, expected in ((many, "f4", 3), (many, "f8", 0), (many - 1, "f4", 0)):
        used.clear()
        shapes = (2, 8, 8, channels), (many, 3, 3, channels), (2, 8, 8, many)
        arrays = (rng.integers(-3, 4, shape).astype(dtype) for shape in shapes)
        case = Case(*arrays, (None, None), Geometry(padding=(1, 1)))
        for name, arguments in case.arguments().items():
            found = getattr(convolution, f"conv2d_{name}")(*arguments)
            wanted = case.references()[name]
            if not expected:
                assert np.array_equal(found, wanted)
            else:
                assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
        assert len(used) == expected


def test_winograd_leaves_images_of_part_of_a_tile_alone() -> None:
    x, weight = np.zeros((1, 5, 5, 64), np.float32), (64, 3, 3, 64)
    same = Geometry(padding=(1, 1))
    assert not convolution._suits_winograd(x, weight, (5, 5), same)
    assert convolution._suits_winograd(x, weight, (7, 7), same)
    assert not convolution._suits_winograd(x, weight, (8, 8), same._replace(dilation=(2, 2)))
    assert not convolution._suits_winograd(x, weight, (8, 8), same._replace(stride=(2, 2)))


# ---- products ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny_tiles")
@quick
@given(st.data())
def test_a_tiled_product_is_the_product(data: Any) -> None:
    M, K, N = (data.draw(st.integers(0, 9)) for _ in range(3))
    lead = data.draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype(float) for shape in ((*lead, M, K), (*lead, K, N)))
    if data.draw(st.booleans()):
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
    out = np.full((*lead, M, N), np.nan)
    assert product.matmul(a, b, out) is out
    assert np.array_equal(out, a @ b)


def test_where_small_products_are_slow_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "SMALL", 1)
    monkeypatch.setattr(product, "small_products_are_fast", lambda: False)
    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    assert np.array_equal(product.matmul(a, b, np.empty((2, 4))), a @ b)
