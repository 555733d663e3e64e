"""Random programs through the engine against their NumPy twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings

import tinygen as tg
from tinygen.testing import strategies
from tinygen.testing.applying import leaves_of
from tinygen.testing.derivatives import flat, slopes
from tinygen.testing.drawing import SeededDraw
from tinygen.testing.programs import Program, random_program

FEW = settings(max_examples=100)


def gradients(outputs: tuple[tg.Tensor, ...], leaves: tuple[tg.Tensor, ...]) -> list[np.ndarray]:
    """By every input, with weights that depend on nothing but the position."""
    live = [y for y in outputs if y.requires_grad]
    assert live
    weights = [np.cos(1.0 + np.arange(float(y.size))).reshape(y.shape) for y in live]
    found = tg.grad(live, leaves, weights, allow_unused=True)
    return [
        np.zeros(x.shape) if v is None else v.numpy() for v, x in zip(found, leaves, strict=True)
    ]


@FEW
@given(strategies.programs())
def test_values_are_those_of_the_twin(program: Program) -> None:
    leaves = leaves_of(program.inputs)
    for y, expected in zip(program(*leaves), program.twin(*program.inputs), strict=True):
        assert y.shape == np.shape(expected)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-11, atol=1e-12)
    with tg.no_grad():
        for y, z in zip(program(*leaves), program(*leaves_of(program.inputs)), strict=True):
            assert y.is_leaf
            assert np.array_equal(y.numpy(), z.numpy())


@FEW
@given(strategies.programs(), strategies.seeds())
def test_gradients_are_the_derivatives_of_the_twin(program: Program, seed: int) -> None:
    """Fan-out adds up, dead branches count nothing, and what is detached does not move."""
    leaves = leaves_of(program.inputs)
    outputs = program(*leaves)
    found = gradients(outputs, leaves)
    weights = flat(
        tuple(
            np.cos(1.0 + np.arange(float(y.size))).reshape(y.shape) * y.requires_grad
            for y in outputs
        )
    )
    twin = program.around(*program.inputs)
    rng = np.random.default_rng(seed)
    direction = tuple(rng.uniform(-1, 1, x.shape) for x in program.inputs)
    numeric = slopes(twin, program.inputs, direction, weights[:, None], np.zeros(1))
    assume(numeric.trusted.all())  # else a kink of relu or maximum lies here
    claimed = math.fsum(float((v * u).sum()) for v, u in zip(found, direction, strict=True))
    assert abs(claimed - numeric.value[0]) <= numeric.bound[0] + 1e-12 * numeric.scale[0]


@FEW
@given(strategies.programs())
def test_a_checkpointed_program_is_the_plain_one_bit_for_bit(program: Program) -> None:
    leaves = leaves_of(program.inputs)
    plain = program(*leaves)
    again = tg.checkpoint(program, *leaves)
    for y, z in zip(plain, again, strict=True):
        assert np.array_equal(y.numpy(), z.numpy())
    pairs = zip(gradients(plain, leaves), gradients(again, leaves), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@FEW
@given(strategies.programs())
def test_two_halves_of_a_batch_add_up_to_the_whole(program: Program) -> None:
    """The gradient of a sum is the sum of the gradients: backward twice is backward of both."""
    leaves = leaves_of(program.inputs)
    outputs = [y for y in program(*leaves) if y.requires_grad]
    assert outputs
    for y in outputs:
        y.backward(np.ones(y.shape), retain_graph=True)
    together = tg.grad(outputs, leaves, [np.ones(y.shape) for y in outputs], allow_unused=True)
    for x, v in zip(leaves, together, strict=True):
        if v is None:
            assert x.grad is None
        else:
            assert x.grad is not None
            np.testing.assert_allclose(x.grad.numpy(), v.numpy(), rtol=1e-10, atol=1e-12)


def test_every_program_has_an_output_that_moves_with_its_inputs() -> None:
    for seed in range(400):
        program = random_program(SeededDraw(seed))
        assert any(y.requires_grad for y in program(*leaves_of(program.inputs))), f"seed {seed}"


def test_a_program_prints_itself() -> None:
    text = repr(Program((np.ones((2, 3)),), (), (0,)))
    assert text == "v0 = input [2, 3]\nreturn v0"


@pytest.mark.deep
@settings(max_examples=20_000)
@given(strategies.programs(), strategies.seeds())
def test_gradients_of_many_programs(program: Program, seed: int) -> None:
    test_gradients_are_the_derivatives_of_the_twin.hypothesis.inner_test(program, seed)
