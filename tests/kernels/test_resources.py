"""Registers, spills, shared memory and instructions of compiled kernels against the table in
kernels/resources.json, which `python tests/kernels/resources.py` writes. It needs no GPU."""

import json
from typing import Any

import pytest
from resources import BUILDS, TABLE, cuobjdump, measured, title

from tinygen.backend.launch import kernels_folder
from tinygen.errors import UnavailableError

TABLED: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())
CASES = [
    pytest.param(file, definitions, architecture, wanted, id=title(file, definitions, architecture))
    for file, definitions, architectures, wanted in BUILDS
    for architecture in architectures
]


def test_the_table_is_of_these_builds() -> None:
    assert list(TABLED) == [case.id for case in CASES]


def test_no_file_of_kernels_is_missing() -> None:
    tabled = {key.partition(" ")[0] for key in TABLED}
    assert tabled == {path.name for path in kernels_folder().glob("*.cu")}


@pytest.mark.parametrize("key", TABLED)
def test_no_kernel_spills_and_each_has_what_it_was_written_for(key: str) -> None:
    for name, row in TABLED[key].items():
        assert row["local"] == 0, f"{name} spills"
    wanted = next(case.values[3] for case in CASES if case.id == key)
    for name, instructions in wanted.items():
        assert TABLED[key][name]["instructions"] == instructions


@pytest.mark.deep
@pytest.mark.parametrize(("file", "definitions", "architecture", "wanted"), CASES)
def test_a_fresh_compilation_is_what_the_table_says(
    file: str, definitions: dict[str, Any], architecture: str, wanted: dict[str, list[str]]
) -> None:
    if cuobjdump() is None:
        pytest.skip("no cuobjdump: pip install nvidia-cuda-cuobjdump")
    try:
        found = measured(file, definitions, architecture, wanted)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert found == TABLED[title(file, definitions, architecture)]
