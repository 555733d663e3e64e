"""The harness: verdicts obey laws, contenders are checked first, results are sound or refused."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.cli.main import main
from tinygen.measure.interleave import TWIN
from tinygen.measure.result import faults, load
from tinygen.measure.verdict import Ratio, ratio, verdict

SUITE = """
import os
import numpy as np
import tinygen as tg
from tinygen.measure import Benchmark

x = np.linspace(-1, 1, 2000, dtype="float32")

def missing():
    import no_such_package

BENCHMARKS = [
    Benchmark("tanh", {
        "ours": lambda: lambda: tg.ops.tanh(tg.tensor(x, requires_grad=True)),
        "NumPy": lambda: lambda: np.tanh(x),
        "slow": lambda: lambda: [np.tanh(x) for _ in range(40)][0],
        "wrong": lambda: lambda: np.tanh(x) + (x > 0.9),
        "absent": missing,
    }),
    Benchmark("dies", {"ours": lambda: lambda: 1.0, "dies": lambda: lambda: os._exit(3)}),
]
"""


def samples(scale: float, noise: float, seed: int, rounds: int = 21) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(t) for t in scale * np.exp(noise * rng.standard_normal(rounds))]


@given(st.floats(0.5, 2), st.floats(0, 0.1), st.integers(0, 2**32))
def test_swapped_contenders_swap_their_verdicts(scale: float, noise: float, seed: int) -> None:
    ours, theirs = samples(scale, noise, seed), samples(1.0, noise, seed + 1)
    there, back = ratio(ours, theirs), ratio(theirs, ours)
    assert there.median == pytest.approx(1 / back.median)
    same = Ratio(1.0, 0.99, 1.01)
    opposite = {"FASTER": "SLOWER", "SLOWER": "FASTER"}
    words = {verdict(there, same), verdict(back, same)}
    assert (
        len(words) == 1
        or {opposite.get(word, word) for word in words} == words
        or (
            "UNDECIDED" in words  # an interval is drawn, so one of the two may just miss a bound
        )
    )


@given(st.floats(0.01, 100), st.integers(0, 2**32))
def test_the_unit_of_time_does_not_matter(unit: float, seed: int) -> None:
    ours, theirs = samples(1.1, 0.05, seed), samples(1.0, 0.05, seed + 1)
    scaled = ratio([unit * t for t in ours], [unit * t for t in theirs])
    assert scaled.median == pytest.approx(ratio(ours, theirs).median)


def test_disturbances_that_meet_both_cancel() -> None:
    shared = np.exp(np.random.default_rng(0).standard_normal(21))
    effect = ratio([float(t) for t in 1.1 * shared], [float(t) for t in shared])
    assert effect.low == pytest.approx(1.1)
    assert verdict(effect, Ratio(1.0, 0.99, 1.01)) == "SLOWER"


def test_what_a_run_cannot_tell_is_undecided() -> None:
    assert verdict(Ratio(1.1, 1.08, 1.12), Ratio(1.0, 0.85, 1.1)) == "UNDECIDED"
    assert verdict(Ratio(1.0, 0.99, 1.01), Ratio(1.0, 0.99, 1.01)) == "SAME"
    assert verdict(Ratio(0.8, 0.75, 0.85), Ratio(1.0, 0.99, 1.01)) == "FASTER"


def test_noise_alone_gives_no_verdict() -> None:
    words = []
    for seed in range(60):
        ours, twin, rival = (samples(1.0, 0.05, 3 * seed + i) for i in range(3))
        words.append(verdict(ratio(ours, rival), ratio(ours, twin)))
    assert not {"FASTER", "SLOWER"} & set(words)


@pytest.mark.parametrize("bad", [[1.0] * 4, [1.0] * 20 + [0.0], [1.0] * 20 + [float("nan")]])
def test_samples_that_cannot_be_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="samples"):
        ratio(bad, bad)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "suite.py").write_text(SUITE)
    command = ["bench", "run", str(folder / "suite.py"), "--only", "tanh", "--rounds", "7"]
    code = main([*command, "--seconds", "0.01", "--out", str(folder / "out.json")])
    assert code == 6  # a contender computes something else
    return folder / "out.json"


def test_contenders_are_checked_before_they_are_timed(written: Path) -> None:
    (benchmark,) = load(written)["benchmarks"]
    assert set(benchmark["samples"]) == {"ours", TWIN, "NumPy", "slow"}
    assert set(benchmark["wrong"]) == {"wrong"}
    assert "no_such_package" in benchmark["absent"]["absent"]
    assert benchmark["counts"]["ours"]["ops"] == 1
    assert benchmark["counts"]["NumPy"]["ops"] == 0  # the engine alone is asked


def test_a_result_is_read_back_as_a_page(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "report", str(written)]) == 0
    page = capsys.readouterr().out
    assert "| slow |" in page
    assert page.count("FASTER") >= 1  # forty times the work
    assert "WRONG" in page
    assert main(["bench", "validate", str(written)]) == 0
    assert main(["bench", "compare", str(written), str(written)]) == 0


def test_a_count_that_rose_is_a_finding(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = load(written)
    result["benchmarks"][0]["counts"]["ours"]["flops"] += 1
    (tmp_path / "new.json").write_text(json.dumps(result))
    assert main(["bench", "compare", str(written), str(tmp_path / "new.json")]) == 6
    assert "flops" in capsys.readouterr().out
    assert main(["bench", "compare", str(tmp_path / "new.json"), str(written)]) == 0


@settings(deadline=None)
@given(st.data())
def test_a_result_with_a_part_missing_is_refused(written: Path, data: st.DataObject) -> None:
    result = json.loads(written.read_text())
    assert faults(result) == []
    damaged = copy.deepcopy(result)
    part = data.draw(st.sampled_from([damaged, damaged["benchmarks"][0]]))
    del part[data.draw(st.sampled_from(sorted(part)))]
    assert faults(damaged)
    damaged = copy.deepcopy(result)
    times = damaged["benchmarks"][0]["samples"][data.draw(st.sampled_from(["ours", TWIN]))]
    times[data.draw(st.integers(0, 6))] = data.draw(st.sampled_from([0, -1, None, "1", 1e999]))
    assert faults(damaged)


@pytest.mark.parametrize(
    ("text", "options", "code", "sentence"),
    [
        (None, [], 3, "there is no suite"),
        ("BENCHMARKS = 3", [], 3, "it needs a list BENCHMARKS"),
        ("1 / 0", [], 3, "ZeroDivisionError"),
        ("BENCHMARKS = []", [], 3, "has no benchmark"),
        (SUITE, ["--only", "cosh"], 2, "is in none of these names: tanh, dies"),
        (SUITE, ["--rounds", "4"], 2, "--rounds must be 5 or more"),
        (SUITE, ["--seconds", "nan"], 2, "--seconds must lie between"),
        (SUITE, ["--only", "dies", "--seconds", "0.01"], 3, "ended with exit code 3"),
    ],
)
def test_bad_suites_get_a_sentence(
    text: str | None,
    options: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    suite = tmp_path / "suite.py"
    if text is not None:
        suite.write_text(text)
    assert main(["bench", "run", str(suite), *options]) == code
    assert sentence in capsys.readouterr().err
