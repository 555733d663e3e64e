"""An exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygen.arguments import number, saved_array
from tinygen.backend import backend_of
from tinygen.errors import CheckpointError
from tinygen.tensor import Tensor, as_numpy


class EMA:
    """average = decay average + (1 - decay) weight, at each `update()`, from the weights of now.

        ema = EMA(model, decay=0.999)
        ...; optimizer.step(); ema.update()
        with ema.swap():
            evaluate(model)          # with the average weights

    Floating-point parameters and buffers are averaged, others copied (Polyak and Juditsky 1992).
    `module` is anything with `named_parameters()` and `named_buffers()`.
    """

    def __init__(self, module: Any, decay: float = 0.999) -> None:
        self.decay = number("EMA: decay", decay, least=0, below=1)
        self._sources: dict[str, Tensor] = dict(module.named_parameters() + module.named_buffers())
        self._averages = {name: source.data.copy() for name, source in self._sources.items()}

    def update(self) -> None:
        """Move the averages towards the weights."""
        for name, source in self._sources.items():
            average = self._averages[name]
            if source.dtype.kind == "f":
                average += (1 - self.decay) * (source.data - average)
            else:
                average[...] = source.data

    @contextmanager
    def swap(self) -> Iterator[None]:
        """Inside, the model has the average weights; afterwards its own again."""
        own = {name: source.data.copy() for name, source in self._sources.items()}
        try:
            self._put(self._averages)
            yield
        finally:
            self._put(own)

    def _put(self, values: Mapping[str, Any]) -> None:
        for name, source in self._sources.items():
            source.data[...] = values[name]
            source.version += 1

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """The averages by name, as copies."""
        return {name: np.array(as_numpy(average)) for name, average in self._averages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copies the averages from `state`. Raises CheckpointError, changing nothing, where names,
        shapes or kinds of numbers differ from the model's."""
        faults = [f"{name} is surplus" for name in state if name not in self._averages]
        found = {}
        for name, average in self._averages.items():
            if name not in state:
                faults.append(f"{name} is missing")
                continue
            try:
                found[name] = saved_array(state[name], average.shape, average.dtype)
            except CheckpointError as fault:
                faults.append(f"{name} {fault}")
        if faults:
            raise CheckpointError(
                f"these averages belong to another model: {'; '.join(faults)}. Build the model "
                "with the configuration that the state was saved with."
            )
        for name, average in self._averages.items():
            average[...] = backend_of([average]).asarray(found[name])


def warm_decay(decay: float, step: int) -> float:
    """min(decay, (1 + step) / (10 + step)), for the update after step 0, 1, ...: an average that
    begins short and lengthens, so that the first, random weights are soon forgotten. Set
    `ema.decay` to it before each `update()`."""
    return min(decay, (1 + step) / (10 + step))
