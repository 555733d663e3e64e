"""Measuring: a harness that compares programs on a noisy machine, and the ladders of the kernels,
counted on the simulator and timed on a GPU.

A `Benchmark` is one piece of work with its contenders (`suite`); they run by turns in processes of
their own (`worker`, `interleave`); paired samples become a `verdict`, with the `provenance` that
makes a figure worth keeping (`result`, `report`).
"""

from tinygen.measure.ladder import Rung
from tinygen.measure.ladders import LADDERS, ladder
from tinygen.measure.rungs import Cost, cost_of, seconds_of
from tinygen.measure.suite import Benchmark

__all__ = ["LADDERS", "Benchmark", "Cost", "Rung", "cost_of", "ladder", "seconds_of"]
