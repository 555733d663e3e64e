"""`tinygen bench kernels`: the ladders on the simulator, and what it refuses."""

import json

import pytest

from tinygen.backend import backend_named
from tinygen.backend.device.rungs import RUNGS
from tinygen.cli.main import main
from tinygen.measure import LADDERS, ladder

needs_simulator = pytest.mark.skipif(
    not backend_named("sim").launches, reason="no compiler or NVIDIA's headers"
)


@needs_simulator
def test_a_rung_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", "--op", "softmax", "--json"]) == 0
    naive, online, registers = json.loads(capsys.readouterr().out)["rungs"]
    assert [row["rung"] for row in (naive, online, registers)] == ["naive", "online", "registers"]
    assert online["kernels"] == ["softmax_online"]
    assert naive["flops"] == registers["flops"]
    assert naive["times_least"] == 16.0  # a sector a load, and a second and third pass
    assert registers["times_least"] < 1.1
    assert registers["kernels"] == ["softmax_forward"]
    assert main(["bench", "kernels", "--op", "softmax", "--rung", "registers"]) == 0
    captured = capsys.readouterr()
    assert "times least" in captured.out
    assert "1/1: softmax, registers" in captured.err


@needs_simulator
def test_every_operation_with_rungs_has_a_ladder() -> None:
    climbed = {name.replace("-", "_").removesuffix("_backward") for name in LADDERS}
    renamed = {"activation": "gelu", "column_sums": "bias_gradient"}
    assert {renamed.get(operation, operation) for operation in RUNGS} <= climbed


@needs_simulator
@pytest.mark.parametrize("operation", LADDERS)
def test_a_ladder_has_its_rungs_in_order(operation: str) -> None:
    rungs = ladder(operation, backend_named("sim"))
    assert len(rungs) >= 2
    assert all(rung.operation == operation and rung.least_bytes > 0 for rung in rungs)


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["kernels", "--device", "cpu"], 2, "--device cpu has no kernels"),
        (["kernels", "--device", "abacus"], 2, "unknown device 'abacus'"),
        (["kernels", "--device", "cuda:99"], 4, "cuda:99"),
        (["nothing"], 2, "cannot be 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused(
    options: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *options]) == code
    assert sentence in capsys.readouterr().err


@needs_simulator
def test_unknown_ladders_and_rungs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", "--op", "matmull"]) == 2
    assert "no ladder of 'matmull'; there are matmul, attention" in capsys.readouterr().err
    assert main(["bench", "kernels", "--op", "softmax", "--rung", "wgmma"]) == 2
    assert "they have naive, online, registers" in capsys.readouterr().err
