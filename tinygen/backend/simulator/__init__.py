"""Runs CUDA kernels on the CPU: the same .cu text, every thread a fiber, every access checked.

    module = Module(Path("matmul.cu"), {"BM": 64}, checking=True)
    out = empty((m, n), np.float32)
    module.launch("matmul", (4, 4), (256,), [a, b, out, np.int32(n)], shared=0)
    print(module.counters.table())

`docs/simulator.md` says how it works, what it finds, and what it cannot.
"""

from tinygen.backend.simulator.arguments import TensorMap
from tinygen.backend.simulator.counters import Counters, Use
from tinygen.backend.simulator.faults import Finding, KernelFault
from tinygen.backend.simulator.memory import empty
from tinygen.backend.simulator.module import Module
from tinygen.backend.simulator.toolchain import require_toolchain

__all__ = [
    "Counters",
    "Finding",
    "KernelFault",
    "Module",
    "TensorMap",
    "Use",
    "empty",
    "require_toolchain",
]
