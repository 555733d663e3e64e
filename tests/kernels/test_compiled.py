"""What NVIDIA's compilers make of the kernels, for every architecture: each with every definition
that its launcher gives compiles, no registers spill, and those that wait for memory have the widest
loads and stores. It needs no GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from resources import cuobjdump, dumped, usage
from sweep import Build, builds

from tinygen.backend.launch import Kernel, kernels_folder, translation
from tinygen.backend.nvrtc import compile_cubin
from tinygen.errors import UnavailableError

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
GENERATIONS = (75, 80, 90, 100, 120)
"""Turing, Ampere, Hopper and two Blackwells: the others have the instructions of one of these."""
FILES = sorted(path.name for path in kernels_folder().glob("*.cu"))


def named(architecture: int) -> str:
    return f"sm_{architecture}" + ("a" if architecture == 90 else "")


def cubin_of(kernel: Kernel, architecture: str) -> bytes:
    try:
        return compile_cubin(translation(kernel), architecture, kernel.file)
    except UnavailableError as error:
        pytest.skip(str(error))


def looked_into(kernel: Kernel, architecture: str) -> bytes:
    """The same, for a test that needs cuobjdump."""
    if cuobjdump() is None:
        pytest.skip("no cuobjdump: pip install nvidia-cuda-cuobjdump")
    return cubin_of(kernel, architecture)


def check(architecture: int, wanted: list[Build]) -> None:
    for file, definitions in wanted:
        kernel = Kernel(file, "any", **dict(definitions))
        cubin = cubin_of(kernel, named(architecture))
        if cuobjdump() is not None:
            spilled = {name: used["local"] for name, used in usage(cubin).items()}
            assert spilled, f"{kernel} has no kernels"
            assert not any(spilled.values()), f"{kernel} for sm_{architecture}: {spilled}"


def test_no_file_is_missing_from_the_sweep() -> None:
    for few in (True, False):
        found = {architecture: builds(architecture, few=few) for architecture in (75, 80, 90, 120)}
        assert {file for several in found.values() for file, _ in several} == set(FILES)
    assert "matmul_wgmma.cu" in {file for file, _ in found[90]}
    assert not {"matmul_wgmma.cu", "conformance_hopper.cu"} & {file for file, _ in found[120]}


@pytest.mark.parametrize("architecture", [75, 120])
def test_a_few_compile(architecture: int) -> None:
    check(architecture, builds(architecture, few=True)[::24])


@pytest.mark.deep
@pytest.mark.parametrize("architecture", GENERATIONS)
@pytest.mark.parametrize("file", FILES)
def test_every_kernel_compiles(file: str, architecture: int) -> None:
    check(architecture, [build for build in builds(architecture, few=True) if build[0] == file])


@pytest.mark.deep
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_every_definition_compiles(file: str, architecture: int) -> None:
    check(architecture, [build for build in builds(architecture) if build[0] == file])


@pytest.mark.deep
@pytest.mark.parametrize("architecture", GENERATIONS)
@pytest.mark.parametrize("file", FILES)
def test_nvcc_takes_them_too(file: str, architecture: int, tmp_path: Path) -> None:
    """Which a toolkit has in place of NVRTC; a warning is an error."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    source = tmp_path / "kernel.cu"
    source.write_text('#include "text.cuh"\n')  # which may say #pragma once
    target = [f"-arch={named(architecture)}", "-cubin", "-o", str(tmp_path / "kernel.cubin")]
    command = [nvcc, "-std=c++17", "-Werror=all-warnings", *target, str(source)]
    for wanted, definitions in builds(architecture, few=True):
        if wanted == file:
            text = translation(Kernel(file, "any", **dict(definitions)))
            (tmp_path / "text.cuh").write_text(text)
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, f"{definitions}: {done.stderr}"


# With 16-bit elements, eight of them an access.
WIDE = [
    ("norm.cu", "layer_norm_forward", {"COLUMNS": 768, "THREADS": 96}),
    ("norm.cu", "layer_norm_backward", {"COLUMNS": 768, "THREADS": 96}),
    ("norm.cu", "rms_norm_forward", {"COLUMNS": 1600, "THREADS": 224}),
    ("norm.cu", "rms_norm_backward", {"COLUMNS": 1600, "THREADS": 224}),
    ("softmax.cu", "softmax_forward", {"COLUMNS": 1024, "THREADS": 64}),
    ("softmax.cu", "log_softmax_backward", {"COLUMNS": 1024, "THREADS": 64}),
    ("cross_entropy.cu", "cross_entropy_in_place", {}),
    ("cross_entropy.cu", "cross_entropy_backward", {}),
    ("activation.cu", "activation_forward", {"ACTIVATION": "gelu_tanh"}),
    ("activation.cu", "bias_activation_forward", {"ACTIVATION": "gelu"}),
    ("activation.cu", "bias_activation_backward", {"ACTIVATION": "gelu"}),
    ("swiglu.cu", "swiglu_forward", {}),
    ("swiglu.cu", "swiglu_backward", {}),
    ("group_norm.cu", "group_norm_apply", {}),
    ("group_norm.cu", "group_norm_backward_apply", {}),
    ("embedding.cu", "embedding_forward", {}),
    ("rope.cu", "rope_rotate", {}),
]


@pytest.mark.deep
@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize(("file", "name", "fixed"), WIDE, ids=[kernel for _, kernel, _ in WIDE])
def test_sixteen_bytes_an_access(
    file: str, name: str, fixed: dict[str, Any], architecture: str
) -> None:
    cubin = looked_into(Kernel(file, name, TYPE="bf16", VECTOR=8, **fixed), architecture)
    assert not any(used["local"] for used in usage(cubin).values())
    code = dumped(cubin, "-sass", "-fun", name)
    wide = Counter(re.findall(r"\b(LDG|STG)\.[\w.]*128", code))
    assert wide["LDG"] >= 1
    assert wide["STG"] >= 1
    assert not re.search(r"\b(LDL|STL)\b", code)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("file", "name", "least"),
    [
        ("adamw.cu", "adamw_update", 3),  # parameter and moments
        ("adamw.cu", "adamw_update_by_value", 3),
        ("dropout.cu", "dropout", 1),
    ],
)
def test_sixteen_bytes_of_kernels_with_their_own_width(file: str, name: str, least: int) -> None:
    code = dumped(looked_into(Kernel(file, name, TYPE="bf16"), "sm_90"), "-sass", "-fun", name)
    wide = Counter(re.findall(r"\b(LDG|STG)\.[\w.]*128", code))
    assert wide["LDG"] >= least
    assert wide["STG"] >= least
