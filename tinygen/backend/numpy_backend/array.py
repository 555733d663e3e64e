"""The one type that the fast CPU primitives work on: a NumPy array of any dtype and shape."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
