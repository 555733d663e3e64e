"""How a convolution's kernel moves over its image: what the op checks and the back end reads."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Pair: TypeAlias = tuple[int, int]
"""A number for the rows and one for the columns of an image."""


class Geometry(NamedTuple):
    """Tap i of output row p reads input row  p stride + i dilation - padding;  columns likewise.

    `groups` cuts the channels into that many convolutions side by side.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def reach(self, kernel: Pair) -> Pair:
        """The rows and columns of the input that one output element sees, ends included."""
        (dh, dw), (kh, kw) = self.dilation, kernel
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def sides_after(self, sides: Pair, kernel: Pair) -> Pair:
        """The rows and columns that a convolution leaves of an image; below 1 if it has no room."""
        reach = self.reach(kernel)
        h, w = (
            (n + 2 * p - r) // s + 1
            for n, p, r, s in zip(sides, self.padding, reach, self.stride, strict=True)
        )
        return h, w

    def sides_before(self, sides: Pair, kernel: Pair) -> Pair:
        """The fewest rows and columns of an image of which a convolution leaves `sides`."""
        reach = self.reach(kernel)
        h, w = (
            (n - 1) * s - 2 * p + r
            for n, p, r, s in zip(sides, self.padding, reach, self.stride, strict=True)
        )
        return h, w
