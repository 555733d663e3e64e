"""The simulator finds every planted bug, at its line and by its name, and passes what is sound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.backend.simulator import KernelFault, Module, TensorMap, empty, require_toolchain
from tinygen.errors import UnavailableError

SOURCE = Path(__file__).with_name("simulator_bugs.cu")
KERNELS = Path(__file__).parents[2] / "kernels"

SPANS = re.split(r'(?m)^extern "C" __global__ void (\w+)', SOURCE.read_text())
NAMES = SPANS[1::2]
FOUND = {  # line and kind of the bugs of each kernel
    name: [
        (sum(part.count("\n") for part in SPANS[: 2 * i + 2]) + line, kind)
        for line, text in enumerate(SPANS[2 * i + 2].splitlines(), 1)
        for kinds in re.findall(r"// BUG: (.+)", text)
        for kind in kinds.split(" or ")
    ]
    for i, name in enumerate(NAMES)
}
BLOCKS = {name: 4 for name in NAMES if "block" in name and "barrier" not in name}
COUNTED = ["ok_bank_conflicts", "ok_uncoalesced", "ok_vector_loads"]
RINGS = ("ok_wgmma_ring", "wgmma_released_too_early")
THREADS = {name: 128 + 32 * (name in RINGS) for name in NAMES if "wgmma" in name} | dict.fromkeys(
    COUNTED, 32
)
SHARED = 64 * 64 * 2 + 16

SCHEDULES: list[dict[str, Any]] = [
    {"schedule": "forward"},
    {"schedule": "reverse"},
    *({"schedule": "random", "seed": seed} for seed in range(4)),
]


@pytest.fixture(scope="module", autouse=True)
def toolchain() -> None:
    try:
        require_toolchain()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def checked(toolchain: None) -> Module:
    return Module(SOURCE, checking=True, include=[KERNELS])


@pytest.fixture(scope="module")
def fast(toolchain: None) -> Module:
    return Module(SOURCE, checking=False, include=[KERNELS])


def launch(module: Module, name: str, **options: Any) -> np.ndarray[Any, Any]:
    out = empty(64, np.float32)
    out[:] = 0
    text = SPANS[2 * NAMES.index(name) + 2].split("{")[0]
    args: list[Any] = [out]
    if "tensor_map map" in text:
        rows = empty((4, 64), np.float32)
        rows[:] = np.arange(4)[:, None]
        tiles = empty((3 * 64, 64), np.uint16)
        tiles[:] = 0x3F80  # 1 in bfloat16
        wide = "wgmma" in name
        args.append(TensorMap(tiles, (64, 64)) if wide else TensorMap(rows, (1, 64), swizzle=0))
    elif "bias" in text:
        args.append(None)
    elif "in)" in text:
        ones = empty(256, np.float32)
        ones[:] = 1
        args.append(ones)
    shared = 64 * 4 if name.startswith(("dynamic", "uninit")) else SHARED
    grid, block = (BLOCKS.get(name, 1),), (THREADS.get(name, 64),)
    module.launch(name, grid, block, args, shared, **options)
    return out


@pytest.mark.parametrize("options", SCHEDULES, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("ok_")])
def test_planted_bugs_are_found(checked: Module, name: str, options: dict[str, Any]) -> None:
    """Under every schedule: by what is ordered before what, not by what happened to go wrong."""
    with pytest.raises(KernelFault) as caught:
        launch(checked, name, patience=0.2 if name == "endless" else 10.0, **options)
    assert FOUND[name], "the kernel has no line that says BUG"
    found = {(finding.line.line, finding.kind) for finding in caught.value.findings}
    assert found & set(FOUND[name]), str(caught.value)
    for finding in caught.value.findings:
        assert Path(finding.line.file) == SOURCE
        assert str(finding.line.line) in str(caught.value)


FOUND_WITHOUT_CHECKS = {
    *("divergent-barrier", "barrier-after-exit", "named-barrier", "mbarrier", "deadlock"),
    *("warp-mask", "shuffle", "trap", "assert", "tma", "null-pointer", "endless"),
    "stack-overflow",
}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if name in ("far_beyond", "division_by_zero")
        or (FOUND[name] and {kind for _, kind in FOUND[name]} <= FOUND_WITHOUT_CHECKS)
    ],
)
def test_the_fast_build_finds_misused_operations(fast: Module, name: str) -> None:
    with pytest.raises(KernelFault) as caught:
        launch(fast, name, patience=0.2)
    assert {(f.line.line, f.kind) for f in caught.value.findings} & set(FOUND[name])


@pytest.mark.parametrize("options", SCHEDULES, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ok_")])
def test_sound_kernels_are_silent(
    checked: Module, fast: Module, name: str, options: dict[str, Any]
) -> None:
    """And both builds compute the same."""
    assert not FOUND[name]
    out = launch(checked, name, **options)
    np.testing.assert_array_equal(out, launch(fast, name, **options))


def test_every_kind_of_finding_is_planted_and_documented() -> None:
    root = Path(__file__).parents[2]
    runtime = (root / "tinygen" / "backend" / "simulator" / "runtime").glob("*.?pp")
    calls = re.compile(r'\b(?:note|stop|report|trap)\(\s*"([a-z-]+)"')
    kinds = {kind for path in runtime for kind in calls.findall(path.read_text())}
    assert "race" in kinds
    assert kinds <= {kind for bugs in FOUND.values() for _, kind in bugs}
    assert kinds <= set(re.findall(r"`([a-z-]+)`", (root / "docs" / "simulator.md").read_text()))


@pytest.mark.parametrize("name", COUNTED)
def test_counters_tell_the_cost_of_a_line(checked: Module, name: str) -> None:
    """Bank conflicts and uncoalesced accesses, against what the kernel's comments say by hand."""
    launch(checked, name)
    uses = {
        (line.line, f"{space} {kind}"): u
        for (line, space, kind), u in checked.counters.uses.items()
    }
    first = SOURCE.read_text().split(f"void {name}(")[0].count("\n") + 1
    told = re.findall(r"(?m)^.*// COUNT: (.*), excess (\d+)|^.*$", SPANS[2 * NAMES.index(name) + 2])
    for i, (kind, excess) in enumerate(told):
        if kind:
            use = uses[first + i, kind]
            assert use.excess == int(excess)
            assert use.accesses == use.requests * 32
            assert use.transactions == use.ideal * int(excess)


def test_counters_sum_up(checked: Module) -> None:
    launch(checked, "ok_barriers")
    counters = checked.counters
    assert counters.total("shared", "write").accesses == 2 * 64
    assert counters.total("shared").bytes == 2 * 2 * 64 * 4
    assert (
        counters.total("global").accesses == counters.total("global", "write").requests * 32 == 64
    )
    assert counters.barriers["__syncthreads"] == 4
    assert str(counters.total("shared").requests) in counters.table()
