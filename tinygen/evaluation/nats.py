"""Nats of an example as bits of a dimension."""

from __future__ import annotations

import math

from tinygen.arguments import integer


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """nats / (dimensions log 2): the unit of image likelihoods, comparable between image sizes.

    A continuous model's -log p(x) must first be made one of the discrete pixels (see
    `data.images.dequantise`). `dimensions` is H W C.
    """
    integer("bits_per_dimension: dimensions", dimensions, least=1)
    return nats / (dimensions * math.log(2))
