"""What NVIDIA's compiler makes of the kernels, for every architecture: no spilled registers, and
the widest loads and stores in those that wait for memory. It needs no GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tinygen.backend.launch import Kernel, inlined, kernels_folder, translation
from tinygen.backend.nvrtc import compile_cubin
from tinygen.errors import UnavailableError

FILES = sorted(path.name for path in kernels_folder().glob("*.cu"))


def architectures(file: str) -> list[str]:
    """Those for which a file is written."""
    text = inlined(file)
    if "wgmma" in text:
        return ["sm_90a"]
    later = ["sm_80", "sm_90", "sm_100", "sm_120"]
    return later if "mma.sync" in text or "cp.async" in text else ["sm_75", *later]


def cuobjdump() -> str:
    wheels = [Path(entry) / "nvidia/cu13/bin/cuobjdump" for entry in sys.path if entry]
    found = shutil.which("cuobjdump") or next((str(w) for w in wheels if w.is_file()), None)
    if found is None:
        pytest.skip("no cuobjdump: pip install nvidia-cuda-cuobjdump")
    return found


def dumped(folder: Path, kernel: Kernel, architecture: str, *options: str) -> str:
    try:
        cubin = compile_cubin(translation(kernel), architecture, kernel.file)
    except UnavailableError as error:
        pytest.skip(str(error))
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    command = [cuobjdump(), *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def stacks(folder: Path, kernel: Kernel, architecture: str) -> dict[str, int]:
    """Bytes of local memory by kernel of the file: 0 unless registers spill or arrays are indexed
    at run time."""
    usage = dumped(folder, kernel, architecture, "--dump-resource-usage")
    found = re.findall(r"Function (\w+):\s*REG:\d+ STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    return {name: int(stack) + int(local) for name, stack, local in found}


@pytest.mark.deep
@pytest.mark.parametrize("file", FILES)
def test_nothing_spills(file: str, tmp_path: Path) -> None:
    tensor_cores = "mma_m16n8k16" in inlined(file)  # which take no float
    fixed = {"IN": "bf16", "TYPE": "bf16"} if tensor_cores else {}
    for architecture in architectures(file):
        used = stacks(tmp_path, Kernel(file, "any", **fixed), architecture)
        assert used, f"{file} has no kernels"
        assert not any(used.values()), f"{file} for {architecture}: {used}"


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
    ("activation.cu", "swiglu_forward", {}),
    ("activation.cu", "swiglu_backward", {}),
    ("group_norm.cu", "group_norm_apply", {}),
    ("group_norm.cu", "group_norm_backward_apply", {}),
    ("embedding.cu", "embedding_forward", {}),
    ("rope.cu", "rope_rotate", {}),
]


@pytest.mark.deep
@pytest.mark.parametrize("architecture", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize(("file", "name", "fixed"), WIDE, ids=[kernel for _, kernel, _ in WIDE])
def test_sixteen_bytes_an_access(
    file: str, name: str, fixed: dict[str, Any], architecture: str, tmp_path: Path
) -> None:
    kernel = Kernel(file, name, TYPE="bf16", VECTOR=8, **fixed)
    assert not any(stacks(tmp_path, kernel, architecture).values())
    code = dumped(tmp_path, kernel, architecture, "-sass", "-fun", name)
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
def test_sixteen_bytes_of_kernels_with_their_own_width(
    file: str, name: str, least: int, tmp_path: Path
) -> None:
    code = dumped(tmp_path, Kernel(file, name, TYPE="bf16"), "sm_90", "-sass", "-fun", name)
    wide = Counter(re.findall(r"\b(LDG|STG)\.[\w.]*128", code))
    assert wide["LDG"] >= least
    assert wide["STG"] >= least
