"""A plugin of pytest for sanitizers: every array in memory of its own, so that reading beyond one is
seen, which CuPy's pool would hide."""

from tinygen.backend import backend_named
from tinygen.errors import UnavailableError

try:
    backend_named("cuda:0").cupy.cuda.set_allocator(None)
except UnavailableError:
    pass  # the simulator has no pool
