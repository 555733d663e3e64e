"""Launching a kernel: where it is found, what is compiled once, which arguments it refuses."""

import numpy as np
import pytest

from tinygen.backend import backend_named
from tinygen.backend.launch import Kernel, digest, inlined, kernels_folder, launch, translation
from tinygen.backend.nvrtc import CompileError, compile_cubin
from tinygen.errors import DeviceError, DtypeError, ShapeError, UnavailableError

SIM = backend_named("sim")
SILU = Kernel("activation.cu", "activation_naive", TYPE="float", VECTOR=1)

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


@needs_simulator
def test_arguments_that_do_not_fit_are_refused() -> None:
    x = SIM.asarray(np.ones((4, 6), "float32"))
    y = SIM.empty((24,), "float32")
    for arguments, error in [
        ([y, None, x.T, np.int64(24)], ShapeError),
        ([y, None, x, 24], DtypeError),
        ([y, None, x, np.int32(24)], DtypeError),
        ([y, None, SIM.asarray(np.ones(24)), np.int64(24)], DtypeError),
        ([y, None, np.ones(24, "float32"), np.int64(24)], DeviceError),
        ([y, None, x], ShapeError),
    ]:
        with pytest.raises(error):
            launch(SIM, SILU, (1,), (32,), arguments)


def test_a_cubin_is_made_without_a_gpu() -> None:
    try:
        cubin = compile_cubin(translation(SILU), "sm_80")
    except UnavailableError as error:
        pytest.skip(str(error))
    assert cubin.startswith(b"\x7fELF")
    assert b"activation_naive" in cubin
    with pytest.raises(CompileError, match="no_such_thing"):
        compile_cubin('extern "C" __global__ void f() { no_such_thing(); }', "sm_80")
