"""Launching a kernel: where it is found, what is compiled once, which arguments it refuses."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.backend import backend_named
from tinygen.backend.launch import (
    INCLUDE,
    Kernel,
    digest,
    inlined,
    kernels_folder,
    launch,
    translation,
)
from tinygen.backend.nvrtc import CompileError, compile_cubin
from tinygen.backend.signature import Parameter, signature
from tinygen.errors import DeviceError, DtypeError, ShapeError, UnavailableError

SIM = backend_named("sim")
SILU = Kernel("activation.cu", "activation_naive", TYPE="float", VECTOR=1)


class NeverRuns:
    """A device that has SIM's arrays and no kernels: what it refuses, `launch` has refused."""

    array_type = SIM.array_type

    def run(self, *_: object) -> None:
        raise AssertionError("a kernel would have run on arguments that it cannot read")


needs_simulator = pytest.mark.skipif(not SIM.launches, reason="no compiler or NVIDIA's headers")


def test_headers_stand_in_their_places_once() -> None:
    text = inlined("norm.cu")
    assert "#include" in text  # NVIDIA's own
    assert '#include "' not in text
    assert text.count("#define DEVICE __device__") == 1
    for path in kernels_folder().glob("*.cu"):
        assert '#include "' not in inlined(path.name)


def test_what_is_compiled_is_known_by_its_content() -> None:
    other = Kernel("activation.cu", "activation_forward", VECTOR=1, TYPE="float")
    assert other.module == SILU.module
    assert "#define TYPE float\n" in translation(SILU)
    wider = Kernel("activation.cu", "activation_naive", TYPE="float", VECTOR=4)
    texts = [digest(translation(k), "sm_80") for k in (SILU, wider)]
    assert len({*texts, digest(translation(SILU), "sm_90a")}) == 3


@needs_simulator
def test_a_launch_runs_on_the_arrays_of_the_device() -> None:
    x = SIM.asarray(np.linspace(-3, 3, 70, dtype="float32"))
    y, slope = (SIM.empty((70,), "float32") for _ in range(2))
    launch(SIM, SILU, (3,), (32,), [y, slope, x, np.int64(70)])
    here = SIM.to_numpy(x).astype(float)
    relu_gelu_or_silu = SIM.to_numpy(y)
    assert np.isfinite(relu_gelu_or_silu).all()
    assert np.abs(relu_gelu_or_silu - np.maximum(here, 0)).max() < 0.3  # whichever is the default
    launch(SIM, SILU, (3,), (32,), [y, None, x, np.int64(70)])
    np.testing.assert_array_equal(SIM.to_numpy(y), relu_gelu_or_silu)
    launch(SIM, SILU, (0,), (32,), [])  # no work


def test_arguments_that_do_not_fit_are_refused() -> None:
    x = SIM.asarray(np.ones((4, 6), "float32"))
    y = SIM.empty((24,), "float32")
    for arguments, error, told in [
        ([y, None, x.T, np.int64(24)], ShapeError, "'u' has strides"),
        ([y, None, x, 24], DtypeError, "'n' is int64, and got int 24; wrap"),
        ([y, None, x, np.int32(24)], DtypeError, "'n' is int64"),
        ([y, None, SIM.asarray(np.ones(24)), np.int64(24)], DtypeError, "'u' is a pointer to fl"),
        ([y, None, np.ones(24, "float32"), np.int64(24)], DeviceError, "'u' is a ndarray"),
        ([y, 7, x, np.int64(24)], DtypeError, "'slope' is a pointer to float32, and got int 7"),
        ([y, None, x], ShapeError, r"takes 4 arguments, \(h, slope, u, n\), and got 3"),
    ]:
        with pytest.raises(error, match=told):
            launch(NeverRuns(), SILU, (1,), (32,), arguments)


def test_parameters_are_read_from_the_text() -> None:
    text = """
    #define WIDE double  // a comment, with ( and ,
    using T = TYPE;
    extern "C" __global__ void __launch_bounds__(64 * (2), 1) f(const T* __restrict__ x, WIDE* y,
        /* of the grid */ const __grid_constant__ tensor_map map, unsigned int n, const void *any,
        unsigned long long seed, adamw_state* state, bool last) { }
    """
    for name, code, size in (("float", "f", 4), ("bf16", "x", 2)):
        definitions = f"#define TYPE {name}\nusing bf16 = __nv_bfloat16;\n"
        assert signature(definitions + text, "f") == [
            Parameter("c", code, size, "x"),
            Parameter("m", "d", 8, "y"),
            Parameter("v", "x", 0, "map"),
            Parameter("v", "I", 4, "n"),
            Parameter("c", "v", 1, "any"),
            Parameter("v", "L", 8, "seed"),
            Parameter("m", "x", 0, "state"),
            Parameter("v", "?", 1, "last"),
        ]
    assert signature(text, "g") is None


@needs_simulator
def test_a_trace_names_the_kernels_of_each_op() -> None:
    x = tg.tensor(np.ones((3, 5), "float32"), device="sim", requires_grad=True)
    with tg.trace.record() as t:
        launch(SIM, SILU, (3,), (32,), [SIM.empty((15,), "float32"), None, x.data, np.int64(15)])
        y = ops.softmax(x)
        (y * y).sum().backward()
    kernels = {(e.op, e.phase): e.kernels for e in t.events}
    assert kernels["Softmax", "forward"] == ["softmax_online"]
    assert kernels["Softmax", "backward"] == ["softmax_backward_long"]
    assert kernels["Multiply", "forward"] == []
    assert t.table().splitlines()[0].endswith("kernels")


@needs_simulator
def test_delays_change_the_pace_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    schedules = []
    module = SIM.module(SILU)
    monkeypatch.setattr(module, "launch", lambda *args, **how: schedules.append(how))
    for given in ("", "3"):
        monkeypatch.setenv("TINYGEN_DELAYS", given)
        launch(SIM, SILU, (1,), (32,), [SIM.empty((1,), "float32")] * 3 + [np.int64(1)])
    assert schedules == [
        {"schedule": "forward", "seed": 0},
        {"schedule": "random", "seed": 3},
    ]


def test_a_cubin_is_made_without_a_gpu() -> None:
    try:
        cubin = compile_cubin(translation(SILU), "sm_80")
    except UnavailableError as error:
        pytest.skip(str(error))
    assert cubin.startswith(b"\x7fELF")
    assert b"activation_naive" in cubin
    waits = (
        '#include "hopper.cuh"\nextern "C" __global__ void f() { __syncthreads(); __syncwarp(); }'
    )
    text = INCLUDE.sub(lambda found: inlined(found[1]), waits)
    assert compile_cubin(text, "sm_90a") != compile_cubin(f"#define DELAYS 3u\n{text}", "sm_90a")
    with pytest.raises(CompileError, match="no_such_thing"):
        compile_cubin('extern "C" __global__ void f() { no_such_thing(); }', "sm_80")
