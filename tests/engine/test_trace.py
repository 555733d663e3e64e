"""The recorder: it sees every op, tells the truth about it, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import DivergedError, GraphError
from tinygen.models.transformer import GPT, GPTConfig


def tiny_step() -> tuple[GPT, tg.optim.AdamW, np.ndarray]:
    model = GPT(GPTConfig(11, 6, 2, 2, 8), rng=tg.random.Generator(0))
    tokens = tg.random.Generator(1).integers(0, 11, shape=(3, 7))
    return model, tg.optim.AdamW(model.parameters(), lr=1e-2), tokens


def run_step(model: GPT, optimizer: tg.optim.AdamW, tokens: np.ndarray) -> float:
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def test_every_phase_is_recorded_with_its_place() -> None:
    with tg.trace.record() as t:
        run_step(*tiny_step())
    assert {e.phase for e in t.events} == {"forward", "backward", "optimizer"}
    qkv = next(e for e in t.events if e.module.endswith("blocks.1.attn.qkv"))
    assert (qkv.op, qkv.phase) == ("Linear", "forward")
    assert qkv.outputs == ["float32[3, 6, 24]"]
    assert "gpt.py:" in qkv.line
    assert all(e.seconds >= 0 and e.bytes >= 0 for e in t.events)


def test_recording_changes_no_bit() -> None:
    plain, traced = tiny_step(), tiny_step()
    losses = [run_step(*plain) for _ in range(3)]
    recorded = []
    for _ in range(3):
        with tg.trace.record(check_finite=True):
            recorded.append(run_step(*traced))
    assert losses == recorded
    for p, q in zip(plain[0].parameters(), traced[0].parameters(), strict=True):
        assert np.array_equal(p.numpy(), q.numpy())


def test_flops_of_a_product_are_exact() -> None:
    x = tg.ones((4, 5), requires_grad=True)
    w = tg.ones((5, 3), requires_grad=True)
    with tg.trace.record() as t:
        ops.matmul(x, w).sum().backward()
    forward, backward = (e for e in t.events if e.op.lower() == "matmul")
    assert forward.flops == 2 * 4 * 5 * 3
    assert backward.flops == 2 * forward.flops


def test_buffers_are_born_kept_and_die() -> None:
    x = tg.ones((100, 10), requires_grad=True)
    with tg.trace.record() as t:
        y = ops.exp(x)  # event 0, kept by its own node
        z = y * 2.0  # event 1
        loss = z.sum()
        del y, z
        loss.backward()
    exp, doubled = t.buffers[:2]
    assert (exp.birth, exp.bytes, exp.keepers) == (0, 4000, [0])
    assert doubled.birth == 1
    assert doubled.keepers == []
    assert doubled.death is not None
    assert exp.death is not None
    assert doubled.death < exp.death
    assert t.peak_bytes() >= 8000


def test_the_table_prints_a_line_an_event() -> None:
    with tg.trace.record() as t:
        run_step(*tiny_step())
    lines = t.table().splitlines()
    assert len(lines) == len(t.events) + 2
    assert lines[0].split()[:3] == ["#", "phase", "op"]
    assert lines[-1].startswith(f"{len(t.events)} ops")


def test_the_first_value_that_is_not_finite_is_named_with_its_line() -> None:
    x = tg.tensor([1.0, -1.0], requires_grad=True)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(DivergedError, match=r"Log .*test_trace\.py:\d+") as caught,
        tg.trace.record(check_finite=True),
    ):
        ops.exp(ops.log(x))
    assert "its inputs were finite" in str(caught.value)
    assert tg.trace.active is None


def test_a_gradient_that_is_not_finite_is_named_too() -> None:
    x = tg.tensor([0.0], requires_grad=True)
    with (
        np.errstate(divide="ignore"),
        pytest.raises(DivergedError, match="backward"),
        tg.trace.record(check_finite=True),
    ):
        ops.sqrt(x).sum().backward()


def test_second_order_is_filed_under_backward() -> None:
    x = tg.tensor([2.0], requires_grad=True)
    with tg.trace.record() as t:
        (dx,) = tg.grad(x * x * x, x, create_graph=True)
    assert dx.item() == 12
    assert [e.phase for e in t.events][:2] == ["forward", "forward"]
    assert {e.phase for e in t.events[2:]} == {"backward"}


def test_traces_do_not_nest() -> None:
    with tg.trace.record(), pytest.raises(GraphError, match="nest"), tg.trace.record():
        pass
    assert tg.trace.active is None
