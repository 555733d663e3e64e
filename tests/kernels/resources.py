"""What each kernel takes of a multiprocessor, and the instructions that it was written for.

    python tests/kernels/resources.py        writes kernels/resources.json anew

The table is what NVRTC 13.0 makes of the launchers' own definitions; a change of it is looked at in
review, like any other.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinygen.backend.launch import Kernel, kernels_folder, translation
from tinygen.backend.nvrtc import compile_cubin

TABLE = kernels_folder() / "resources.json"

LINEAR = [(0, 1), (0, 0), (1, 0)]  # the layouts of a linear layer's three products
MMA = ["HMMA", "LDSM", "LDGSTS"]
WGMMA = ["HGMMA", "UTMALDG", "UTMASTG", "SYNCS"]
PLAIN = {"BIAS": 0, "SLOPE": 0, "SCALE": 0, "RESIDUAL": 0}  # an epilogue of nothing

BUILDS: list[tuple[str, dict[str, Any], list[str], dict[str, list[str]]]] = [
    *(
        (
            "matmul_simt.cu",
            {"IN": "float", "OUT": "float", "TRANSPOSE_A": a, "TRANSPOSE_B": b, "VECTOR": 4},
            ["sm_75", "sm_90"],
            {"matmul_registers": ["LDG.E.128", "LDS.128"]},
        )
        for a, b in LINEAR
    ),
    *(
        (
            "matmul_splits.cu",
            {"IN": "float", "OUT": "float", "TRANSPOSE_A": a, "TRANSPOSE_B": b, "VECTOR": 4},
            ["sm_80", "sm_120"],
            {"matmul_splits": ["HMMA", "LDSM", "LDG.E.128"]},
        )
        for a, b in LINEAR
    ),
    ("matmul_parts.cu", {"VECTOR": 4}, ["sm_90"], {"matmul_parts": ["LDG.E.128"]}),
    *(
        (
            "matmul_mma.cu",
            {"IN": "f16", "OUT": "f16", "TRANSPOSE_A": a, "TRANSPOSE_B": b},
            ["sm_80", "sm_120"],
            {"matmul_mma": MMA},
        )
        for a, b in LINEAR
    ),
    *(
        (
            "matmul_wgmma.cu",
            {"IN": "f16", "OUT": "f16", "TRANSPOSE_A": a, "TRANSPOSE_B": b, "BN": bn, **PLAIN},
            ["sm_90a"],
            {"matmul_wgmma": WGMMA},
        )
        for a, b in LINEAR
        for bn in (128, 192, 256)
    ),
    *(  # with all that an epilogue can have, parts of a split product, C stored from registers, and
        # float32 numbers in parts
        (
            "matmul_wgmma.cu",
            {"IN": "f16", "OUT": "f16", "TRANSPOSE_A": 0, "TRANSPOSE_B": 1, "BN": 256, **more},
            ["sm_90a"],
            {"matmul_wgmma": wanted},
        )
        for more, wanted in (
            ({"ACTIVATION": "gelu"}, WGMMA),
            ({"ACTIVATION": "gelu_tanh", **PLAIN, "BIAS": 1, "SLOPE": 1}, WGMMA),
            ({"OUT": "float", **PLAIN}, WGMMA),
            ({"IN": "bf16", "OUT": "float", "BN": 128, "FACTOR_PARTS": 3, **PLAIN}, WGMMA),
            ({"STAGED": 0}, ["HGMMA", "UTMALDG", "STG.E"]),
        )
    ),
    *(  # the input gradient before an activation, with its bias's gradient
        (
            file,
            {
                "IN": type_name,
                "OUT": type_name,
                "TRANSPOSE_A": 0,
                "TRANSPOSE_B": 0,
                "GRADIENT": 1,
                **more,
            },
            [architecture],
            {},
        )
        for file, type_name, architecture, more in (
            ("matmul_simt.cu", "float", "sm_90", {"VECTOR": 4}),
            ("matmul_mma.cu", "f16", "sm_80", {}),
            ("matmul_wgmma.cu", "f16", "sm_90a", {"BN": 256}),
        )
    ),
    *(
        ("attention_simt.cu", {"TYPE": "float", "HEAD": head}, ["sm_75", "sm_90"], {})
        for head in (64, 128)
    ),
    *(
        (
            "attention_wgmma.cu",
            {"TYPE": type_name, "HEAD": head},
            ["sm_90a"],
            {"attention_wgmma": ["HGMMA", "UTMALDG", "SYNCS"]},
        )
        for type_name in ("f16", "bf16")
        for head in (64, 128)
    ),
    *(
        (
            "attention_decode.cu",
            {"TYPE": "f16", "HEAD": head, "ROWS": rows, "VECTOR": 8},
            ["sm_75", "sm_90"],
            {"attention_decode": ["LDG.E.128"]},
        )
        for head, rows in ((64, 1), (128, 8))
    ),
    *(
        (
            "attention_mma.cu",
            {"TYPE": "f16", "HEAD": head},
            ["sm_80", "sm_90", "sm_120"],
            dict.fromkeys(("attention_mma", "attention_mma_dq", "attention_mma_dkv"), MMA),
        )
        for head in (32, 64, 128)
    ),
    (
        "norm.cu",
        {"TYPE": "float", "COLUMNS": 768, "THREADS": 64, "VECTOR": 4},
        ["sm_75", "sm_90"],
        {
            name: ["LDG.E.128", "STG.E.128"]
            for name in ("layer_norm_forward", "layer_norm_backward")
        },
    ),
    (
        "softmax.cu",
        {"TYPE": "float", "COLUMNS": 1024, "THREADS": 64, "VECTOR": 4},
        ["sm_75", "sm_90"],
        {"softmax_forward": ["LDG.E.128", "STG.E.128"]},
    ),
    *(
        (file, {}, ["sm_75", "sm_90"], {})
        for file in (
            *("activation.cu", "adamw.cu", "cast.cu", "column_sums.cu", "cross_entropy.cu"),
            *("dropout.cu", "embedding.cu", "group_norm.cu", "random.cu", "rope.cu"),
            *("sampling.cu", "swiglu.cu", "topk.cu"),
        )
    ),
    ("conformance_mma.cu", {}, ["sm_80"], {"conform_mma_bf16": ["HMMA"]}),
    ("conformance_hopper.cu", {}, ["sm_90a"], {"conform_tma_store_2d": ["UTMASTG"]}),
]


def cuobjdump() -> str | None:
    wheels = [Path(entry) / "nvidia/cu13/bin/cuobjdump" for entry in sys.path if entry]
    return shutil.which("cuobjdump") or next((str(w) for w in wheels if w.is_file()), None)


def title(file: str, definitions: dict[str, Any], architecture: str) -> str:
    given = " ".join(f"{name}={value}" for name, value in sorted(definitions.items()))
    return f"{file} {architecture} {given}".strip()


def shows(code: str, instruction: str) -> bool:
    """Whether machine code has the instruction; wgmma's in groups, since where the compiler cannot
    see who uses their registers, it silently waits for each alone."""
    found = re.findall(_pattern(instruction), code)
    if instruction == "HGMMA":
        return len(found) > len(re.findall(r"WARPGROUP\.DEPBAR", code))
    return bool(found)


def _pattern(instruction: str) -> str:
    """Of machine code; Turing writes LDS.U.128 for LDS.128."""
    return r"\b" + re.escape(instruction).replace(r"LDS\.", r"LDS\.(U\.)?") + r"\b"


def dumped(cubin: bytes, *options: str) -> str:
    """What cuobjdump says of machine code."""
    tool = cuobjdump()
    assert tool is not None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as held:
        held.write(cubin)
        held.flush()
        command = [tool, *options, held.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def usage(cubin: bytes) -> dict[str, dict[str, int]]:
    """By kernel: registers, and bytes of local (stack, spills) and of static shared memory."""
    found = re.findall(
        r"Function (\w+):\s*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)",
        dumped(cubin, "--dump-resource-usage"),
    )
    return {
        name: {
            "registers": int(registers),
            "local": int(stack) + int(local),
            "shared": int(shared),
        }
        for name, registers, stack, shared, local in found
    }


def measured(
    file: str, definitions: dict[str, Any], architecture: str, wanted: dict[str, list[str]]
) -> dict[str, Any]:
    """By kernel: its usage, and which of the wanted instructions its machine code has."""
    cubin = compile_cubin(translation(Kernel(file, "any", **definitions)), architecture, file)
    return {
        name: {
            **used,
            "instructions": [
                instruction
                for instruction in wanted.get(name, [])
                if shows(dumped(cubin, "-sass", "-fun", name), instruction)
            ],
        }
        for name, used in usage(cubin).items()
    }


if __name__ == "__main__":
    table = {}
    for file, definitions, architectures, wanted in BUILDS:
        for architecture in architectures:
            key = title(file, definitions, architecture)
            table[key] = measured(file, definitions, architecture, wanted)
            print(key)
    lines = [
        f"{json.dumps(key)}: {{\n"
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        + "\n}"
        for key, rows in table.items()
    ]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
