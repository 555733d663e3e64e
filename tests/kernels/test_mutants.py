"""The mistakes that are planted in kernels (mutation.py), and the run that judges them.

The deep tests plant a sample in the files that have been judged whole, and leave out every barrier
and every wait for a copy, one at a time: the tests of the kernels reach both sides of each, and
none is waste."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import FILES, FOLDER, KERNELS, chosen, equivalent, modules_for
from mutation import OPERATORS, code_of, mutants_of

from tinygen.backend import backend_named

TOY = """
// A comment with x + y, and "1 < 2".
#define WIDTH 32
#ifdef TINYGEN_SIM
DEVICE int emulated() { return 1 + 1; }
#else
DEVICE int real() { return 1 - 1; }
#endif
constexpr int TILE = WIDTH * 2;
DEVICE void scale(float* x, int n) {
  %s
}
"""


def planted(statement: str, operator: str) -> list[str]:
    """What becomes of the statement."""
    mutants = mutants_of("toy.cu", TOY % statement)
    return [m.after for m in mutants if m.operator == operator and m.function == "scale"]


@pytest.mark.parametrize(
    ("statement", "operator", "wrong"),
    [
        ("if (a < b) c();", "comparison", ["if (a <= b) c();"]),
        ("if (a < b) c();", "guard", ["if (true) c();", "if (false) c();"]),
        ("int a = b * c + d;", "arithmetic", ["int a = b + c + d;", "int a = b * c - d;"]),
        ("int a = b * c + d;", "operand dropped", ["int a = b + d;", "int a = b * c;"]),
        ("if (a && b(c)) d();", "operand dropped", ["if (a) d();"]),
        ("if (a && b(c)) d();", "logic", ["if (a || b(c)) d();"]),
        ("a += b;", "assignment", ["a -= b;"]),
        ("a += b;", "sum in 16 bits", ["a = to_float(from_float<bf16>(a + (b)));"]),
        ("int a; a += b;", "sum in 16 bits", []),
        ("a = b & 1;", "bits", ["a = b | 1;"]),
        ("a = b & 1;", "integer", ["a = b & 2;", "a = b & 0;"]),
        ("int a[2];", "integer", ["int a[1];"]),
        ("float a = 0.0f;", "float", ["float a = 1.0f;"]),
        ("float a = 2.0f;", "float", ["float a = 2.02f;"]),
        ("a = x[i];", "index", ["a = x[i + 1];"]),
        ("float a[N];", "index", []),
        ("a = b ? c : d;", "choice", ["a = b || true ? c : d;"]),
        ("a = b ? c : d;", "no choice", ["a = b && false ? c : d;"]),
        ("a = -b * f(!c);", "sign", ["a = b * f(!c);", "a = -b * f(c);"]),
        ("a = fmaxf(b, c);", "name", ["a = fminf(b, c);"]),
        ("a = f(b, c);", "arguments swapped", ["a = f(c, b);"]),
        ("__syncthreads();", "wait dropped", [";"]),
        ("__syncthreads();", "statement dropped", []),
        ("for (;;) if (a(b)) f();", "statement dropped", ["for (;;) if (a(b)) ;"]),
        ("int a = b; return a;", "statement dropped", []),
    ],
)
def test_an_operator_plants_its_mistakes(statement: str, operator: str, wrong: list[str]) -> None:
    assert planted(statement, operator) == wrong


def test_what_is_no_code_is_left_alone() -> None:
    code = code_of(TOY)
    assert len(code) == len(TOY)
    assert code.count("\n") == TOY.count("\n")
    assert not {"comment", "WIDTH 32", "emulated", "real"} & set(code.split())
    assert "emulated" not in code
    assert "constexpr int TILE = WIDTH * 2;" in code


@pytest.mark.parametrize("file", FILES)
def test_mutants_are_different_files(file: str) -> None:
    text = (KERNELS / file).read_text()
    mutants = mutants_of(file, text)
    assert len({text, *(mutant.text for mutant in mutants)}) == len(mutants) + 1
    assert {mutant.operator for mutant in mutants} <= OPERATORS.keys()
    for mutant in mutants:
        assert mutant.line in mutant.body


def test_every_file_has_tests() -> None:
    for file in FILES:
        modules = modules_for(file)
        assert modules, f"{file}: no tests begin with its first word; see TESTED_BY"
        for module in modules:
            assert (FOLDER / f"{module}.py").is_file(), f"{file}: no {module}.py"


def test_the_table_of_equivalent_mutants_is_of_these_kernels() -> None:
    """An entry whose line has changed, or which nobody plants, is no reason any more."""
    places = {mutant.place for mutant in chosen(FILES, [], 1, 0)}
    for place, reason in equivalent().items():
        assert place in places, f"no such mutant: {place}"
        assert len(reason) > 20, f"why? {place}"


def judged(results: Path, *options: str) -> list[dict[str, str]]:
    """The mutants of a run in which none survived."""
    if not backend_named("sim").launches:
        pytest.skip("no compiler or NVIDIA's headers")
    command = [sys.executable, str(FOLDER / "mutants.py"), "--results", str(results), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in results.read_text().splitlines()]


def test_two_mutants(tmp_path: Path) -> None:
    options = ["--file", "rope.cu", "--operator", "arithmetic", "--every", "31"]
    results = tmp_path / "results.jsonl"
    rows = judged(results, *options)
    assert [row["fate"] for row in rows] == ["killed", "killed"]
    assert judged(results, *options) == rows  # nothing is judged twice


@pytest.mark.deep
@pytest.mark.parametrize("file", FILES)
def test_every_barrier_and_wait_is_needed(file: str, tmp_path: Path) -> None:
    waits = chosen([file], ["wait dropped"], 1, 0)
    if not waits:
        pytest.skip(f"{file} waits for nothing")
    rows = judged(tmp_path / "results.jsonl", "--file", file, "--operator", "wait dropped")
    assert len(rows) == len(waits)


PROVEN = (
    *("embedding.cu", "online.cuh", "philox.cuh", "reduce.cuh", "rope.cu", "row.cuh"),
    "softmax.cu",
)
"""All mutants of these have been judged (docs/figures.md)."""


@pytest.mark.deep
@pytest.mark.parametrize("file", PROVEN)
def test_no_sampled_mutant_survives(file: str, tmp_path: Path) -> None:
    assert judged(tmp_path / "results.jsonl", "--file", file, "--every", "20", "--seed", "1")
