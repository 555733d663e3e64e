"""Measuring: what the rungs of a kernel's ladder move on the simulator, and how long they take on a
GPU."""

from tinygen.measure.ladder import Rung
from tinygen.measure.ladders import LADDERS, ladder
from tinygen.measure.rungs import Cost, cost_of, seconds_of

__all__ = ["LADDERS", "Cost", "Rung", "cost_of", "ladder", "seconds_of"]
