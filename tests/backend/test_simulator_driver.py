"""The simulator's driver: builds, arguments, schedules, errors."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.backend.simulator import KernelFault, Module, TensorMap, build, empty, toolchain
from tinygen.backend.simulator.toolchain import require_toolchain
from tinygen.errors import (
    DtypeError,
    KernelError,
    OutputError,
    ShapeError,
    UnavailableError,
    UsageError,
)

SOURCE = r"""
#ifndef FACTOR
#define FACTOR 1
#endif

#define SCALE(TYPE) \
  extern "C" __global__ void __launch_bounds__(64) \
  scale_##TYPE(TYPE* out, const TYPE* in, int n) { \
    const int i = blockIdx.x * blockDim.x + threadIdx.x; \
    if (i < n) out[i] = FACTOR * in[i]; \
  }
SCALE(float)
SCALE(double)
SCALE(int)

extern "C" __global__ void rows(float* out, const __nv_bfloat16* x, const __half* y, long offset) {
  out[threadIdx.x + offset] = __bfloat162float(x[threadIdx.x]) + __half2float(y[threadIdx.x]);
}

extern "C" __global__ void write_beyond(float* out, int n) { out[n + int(threadIdx.x)] = 0.0f; }

extern "C" __global__ void take_turns(int* order, int* count) {  // who comes when
  order[atomicAdd(count, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
}

extern "C" __global__ void indices(int* out) {
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = 1000 * block + thread;
}
"""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    try:
        require_toolchain()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "checked"])
def module(tools: None, request: pytest.FixtureRequest) -> Module:
    return Module(SOURCE, checking=request.param)


def filled(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    values = np.asarray(values, dtype)
    array = empty(values.shape, dtype)
    array[...] = values
    return array


# ---- builds --------------------------------------------------------------------------------------


def test_kernels_that_macros_make_are_found(module: Module) -> None:
    for dtype, name in ((np.float32, "float"), (np.float64, "double"), (np.int32, "int")):
        out, x = empty(100, dtype), filled(np.arange(100), dtype)
        module.launch(f"scale_{name}", (2,), (64,), [out, x, np.int32(100)])
        np.testing.assert_array_equal(out, x)


def test_defines_change_the_build(module: Module) -> None:
    out, x = empty(8, np.float32), filled(np.arange(8), np.float32)
    tripled = Module(SOURCE, {"FACTOR": 3}, module.checking)
    tripled.launch("scale_float", (1,), (64,), [out, x, np.int32(8)])
    np.testing.assert_array_equal(out, 3 * x)


def test_the_same_content_is_compiled_once(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a compiler was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert Module(SOURCE, checking=module.checking).kernels == module.kernels


def test_a_changed_header_is_compiled_again(tmp_path: Path) -> None:
    file, header = tmp_path / "constant.cu", tmp_path / "constant.cuh"
    file.write_text(
        '#include "constant.cuh"\nextern "C" __global__ void set(int* o) { *o = VALUE; }'
    )
    out = empty(1, np.int32)
    for value in (1, 2):
        header.write_text(f"#define VALUE {value}\n")
        Module(file, checking=False).launch("set", (1,), (1,), [out])
        assert out[0] == value


def test_an_error_of_the_compiler_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.cu"
    file.write_text('\nextern "C" __global__ void k(int* o) { *o = missing; }\n')
    with pytest.raises(KernelError, match=r"wrong\.cu:2:.*missing"):
        Module(file)


def test_a_file_without_kernels_is_an_error() -> None:
    with pytest.raises(KernelError, match="no kernel"):
        Module("__device__ int f() { return 1; }")


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("TINYGEN_SIM_CACHE", str(file / "cache"))
    with pytest.raises(OutputError, match=r"cannot write .*cache"):
        Module('extern "C" __global__ void unseen(int* o) { *o = 1; }')


def test_processes_that_need_the_same_file_make_it_once(tmp_path: Path) -> None:
    """Both get it; the compiler runs once for the kernel, whoever comes first."""
    made, count = tmp_path / "made", []

    def make() -> None:
        with build._making(made) as unfinished:
            if unfinished:
                count.append(unfinished)
                unfinished.write_text("content")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.read_text() == "content"
    assert len(count) == 1


def test_the_environment_asks_for_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, checking in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("TINYGEN_SIM_CHECK", value)
        assert Module(SOURCE).checking is checking
    monkeypatch.delenv("TINYGEN_SIM_CHECK")
    assert Module(SOURCE).checking is False


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("setenv", "CXX", "no-such-compiler"), r"g\+\+"),
        (("setattr", toolchain, "_folders", list), r"tinygen\[sim\]"),
        (("setattr", toolchain.platform, "machine", lambda: "aarch64"), "x86-64"),
    ],
)
def test_what_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, change: tuple[Any, ...], told: str
) -> None:
    getattr(monkeypatch, change[0])(*change[1:])
    require_toolchain.cache_clear()
    try:
        with pytest.raises(UnavailableError, match=told):
            require_toolchain()
    finally:
        monkeypatch.undo()
        require_toolchain.cache_clear()


# ---- arguments -----------------------------------------------------------------------------------


def test_arguments_of_another_type_are_refused(module: Module) -> None:
    out, x = empty(8, np.float32), empty(8, np.float64)
    n = np.int32(8)
    for args, told in (
        ([out, x, n], "'in' is a pointer to float32.*float64"),
        ([out, out, 8], r"'n' is int32.*int 8.*np\.int32"),
        ([out, out, np.int64(8)], "'n' is int32"),
        ([out, [1.0], n], "'in' is a pointer.*list"),
    ):
        with pytest.raises(DtypeError, match=told):
            module.launch("scale_float", (1,), (8,), args)
    with pytest.raises(ShapeError, match=r"takes 3 arguments, \(out, in, n\), and got 2"):
        module.launch("scale_float", (1,), (8,), [out, out])
    with pytest.raises(ShapeError, match="ascontiguousarray"):
        module.launch("scale_float", (1,), (4,), [out, empty(8, np.float32)[::2], np.int32(4)])


def test_sixteen_bit_numbers_travel_by_their_bits(module: Module) -> None:
    """bfloat16 as uint16, half as NumPy's own; wide scalars in their exact type."""
    x = filled([0x3F80, 0x4000, 0xC040, 0x7F80], np.uint16)  # 1, 2, -3, infinity
    y = filled([0.5, -2, 65504, 6e-8], np.float16)
    out = empty(6, np.float32)
    module.launch("rows", (1,), (4,), [out, x, y, np.int64(2)])
    bfloat = (x.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(out[2:], bfloat + y.astype(np.float32))
    assert np.isnan(out[:2]).all(), "new memory is NaN"


def test_a_tensor_map_is_checked() -> None:
    x = empty((4, 8), np.float32)
    with pytest.raises(ShapeError, match="a box of as many"):
        TensorMap(x, (8,))
    with pytest.raises(ShapeError, match="last axis"):
        TensorMap(x.T, (4, 4))
    packed = TensorMap(x, (2, 4), swizzle=0).packed()
    assert len(packed) == 128
    assert np.frombuffer(packed, np.uint32)[2:5].tolist() == [2, 4, 0]


def test_impossible_launches_are_refused(module: Module) -> None:
    out = empty(4, np.int32)
    for grid, block, shared, told in (
        ((1,), (1025,), 0, "block"),
        ((1,), (8, 8, 32), 0, "2048 threads"),
        ((1,), (1, 1, 65), 0, "block"),
        ((0,), (32,), 0, "grid"),
        ((1, 65536), (32,), 0, "grid"),
        ((1,), (32,), 1 << 20, "bytes of shared memory"),
    ):
        with pytest.raises(UsageError, match=told):
            module.launch("indices", grid, block, [out], shared)
    with pytest.raises(UsageError, match="no kernel 'index'; it has scale_float"):
        module.launch("index", (1,), (1,), [out])
    with pytest.raises(UsageError, match="scale_int: a block of 65 threads; 64 at most"):
        module.launch("scale_int", (1,), (65,), [out, out, np.int32(4)])


# ---- launches ------------------------------------------------------------------------------------


def test_indices_run_as_in_cuda(module: Module) -> None:
    grid, block = (3, 2, 2), (4, 3, 2)
    out = empty((12, 24), np.int32)
    module.launch("indices", grid, block, [out])
    np.testing.assert_array_equal(out, 1000 * np.arange(12)[:, None] + np.arange(24))


def turns(module: Module, **options: Any) -> list[int]:
    order, count = empty(64, np.int32), filled([0], np.int32)
    module.launch("take_turns", (4,), (16,), [order, count], **options)
    return order.tolist()


def test_schedules_order_threads_and_blocks(module: Module) -> None:
    assert turns(module) == list(range(64))
    assert turns(module, schedule="reverse") == list(range(64))[::-1]
    seen = {tuple(turns(module, schedule="random", seed=seed)) for seed in range(5)}
    assert len(seen) == 5
    assert all(sorted(order) == list(range(64)) for order in seen)
    again = turns(module, schedule="random", seed=3)
    assert again == turns(module, schedule="random", seed=3)


def test_guard_zones_are_watched(module: Module) -> None:
    """The checking build stops the write; the fast one says afterwards that there was one."""
    out = empty(16, np.float32)
    for n in (-2, 15):
        with pytest.raises(KernelFault) as caught:
            module.launch("write_beyond", (1,), (2,), [out, np.int32(n)])
        (finding,) = caught.value.findings
        assert finding.kind == "out-of-bounds"
        assert "'out'" in finding.message
    module.launch("write_beyond", (1,), (2,), [out, np.int32(14)])


def test_a_read_only_array_stays_as_it_is() -> None:
    checked = Module(SOURCE, checking=True)
    out = empty(4, np.float32)
    out.flags.writeable = False
    with pytest.raises(KernelFault, match="write-to-const"):
        checked.launch("write_beyond", (1,), (2,), [out, np.int32(0)])
    assert np.isnan(out).all()


def test_lines_that_no_launch_has_run_are_known(tmp_path: Path) -> None:
    file = tmp_path / "branches.cu"
    file.write_text(
        """#include "helper.cuh"
extern "C" __global__ void branches(int* out, int n) {
  if (n > 0) {
    out[threadIdx.x] = twice(n);
  } else {
    out[threadIdx.x] = -1;
  }
}
"""
    )
    helper = tmp_path / "helper.cuh"
    helper.write_text("inline int twice(int n) {\n  if (n > 5)\n    n++;\n  return 2 * n;\n}\n")
    out = empty(2, np.int32)
    for build_number, (n, missing) in enumerate(((1, ({6}, {3})), (-1, (set(), {3})), (6, ()))):
        module = Module(file, {"BUILD": build_number}, checking=True)
        module.launch("branches", (1,), (2,), [out, np.int32(n)])
        reached = Module.lines_reached()
        for path, lines in zip((file, helper), missing, strict=False):
            assert {line for line, run in reached[str(path)].items() if not run} == lines
    assert all(reached[str(file)].values())
    assert all(reached[str(helper)].values())


def test_counters_belong_to_checked_launches() -> None:
    for checking in (False, True):
        fresh = Module(SOURCE, checking=checking)
        with pytest.raises(UsageError, match="checking=True"):
            _ = fresh.counters
    out = empty(4, np.float32)
    fresh.launch("write_beyond", (1,), (4,), [out, np.int32(0)])
    assert fresh.counters.total("global").bytes == 16


# ---- the documentation ---------------------------------------------------------------------------


def test_the_example_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    example = (root / "docs" / "simulator.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(example, names)
    np.testing.assert_allclose(names["y"], 0.01, rtol=1e-6)
    reads = [u for (_, _, kind), u in names["module"].counters.uses.items() if kind == "read"]
    assert reads
    assert all(use.excess == 8 for use in reads)
