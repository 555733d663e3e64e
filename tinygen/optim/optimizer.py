"""What all optimisers share: parameter groups, flat buffers, the step, and the state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np

from tinygen import trace
from tinygen.backend import backend_of
from tinygen.errors import CheckpointError, UsageError
from tinygen.optim.flat import FlatParameters
from tinygen.tensor import Tensor

Group = dict[str, Any]
"""A parameter group: its settings (`lr`, `weight_decay`, ...) and "params", its parameters."""

RANGES: dict[str, tuple[float, float]] = {
    "lr": (0, math.inf),
    "eps": (0, math.inf),
    "weight_decay": (0, math.inf),
    "momentum": (0, 1),
    "betas": (0, 1),
}
"""Each setting lies in [low, high), which NaN does not."""


class Optimizer:
    """Updates parameters in place from their `.grad`; a parameter without one is left alone.

    `parameters` is a list of them, or a list of groups, dicts with "params" and the settings in
    which that group differs. At construction the parameters of a group move into one flat array
    (see `FlatParameters`); they stay the same Tensor objects.

    A schedule is applied by `step(lr_factor=schedule(i))`: each group's `lr` is multiplied by it
    for this step, and nothing is changed for good. To change it for good, set
    `optimizer.groups[0]["lr"]`.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    """Names of the running arrays kept for each parameter."""

    def __init__(self, parameters: Iterable[Any], **defaults: Any) -> None:
        self.groups = [_group(given, defaults) for given in _as_groups(parameters)]
        _require_distinct(self.parameters)
        for group in self.groups:
            self._check(group)
        self._flats = [_flatten(group["params"], self.moments) for group in self.groups]

    @property
    def parameters(self) -> list[Tensor]:
        return [p for group in self.groups for p in group["params"]]

    def _check(self, group: Group) -> None:
        """Raise UsageError where a setting is out of range."""
        for name, (low, high) in RANGES.items():
            values = group.get(name, low)
            for value in values if isinstance(values, (tuple, list)) else (values,):
                if not low <= value < high:
                    limits = "finite and at least 0" if high == math.inf else f"in [{low}, {high})"
                    raise UsageError(
                        f"{type(self).__name__}: {name} is {values}; it must be {limits}."
                    )

    # ---- the step

    def zero_grad(self) -> None:
        """Forget all gradients (None, not zeros: no memory is touched)."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, lr_factor: float = 1.0) -> None:
        """Update every parameter that has a gradient, with `lr_factor` times its learning rate."""
        if not (math.isfinite(lr_factor) and lr_factor >= 0):
            raise UsageError(f"step: lr_factor is {lr_factor}; it must be finite and at least 0.")
        recorded = (
            nullcontext()
            if trace.active is None
            else trace.active.optimizer(type(self).__name__, self.parameters)
        )
        with recorded:
            for group, flats in zip(self.groups, self._flats, strict=True):
                self._check(group)
                for flat in flats:
                    self._update(flat, group, group["lr"] * lr_factor)

    def _update(self, flat: FlatParameters, group: Group, lr: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define _update")

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Settings by group, steps and moments by parameter (numbered in the order given). Nested
        dicts of arrays (copies) and JSON values; loading it restores every bit."""
        settings = [_settings(group) for group in self.groups]
        return {
            "groups": {str(i): group for i, group in enumerate(settings)},
            "parameters": {
                str(i): {"step": flat.steps[j]}
                | {name: _to_numpy(moment).copy() for name, moment in _moments(flat, j).items()}
                for i, (flat, j) in enumerate(self._places())
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, which is copied. Raises CheckpointError, changing nothing, where
        it belongs to another optimiser or other parameters."""
        settings, entries = self._fitting(state)
        for group, loaded in zip(self.groups, settings, strict=True):
            group |= {k: tuple(v) if isinstance(v, list) else v for k, v in loaded.items()}
        for (flat, j), entry in zip(self._places(), entries, strict=True):
            flat.steps[j] = int(entry["step"])
            for name, moment in _moments(flat, j).items():
                moment[...] = backend_of([moment]).asarray(entry[name])

    def _fitting(self, state: Mapping[str, Any]) -> tuple[list[Group], list[dict[str, Any]]]:
        """The settings by group and the entries by parameter in `state`, checked."""
        places = self._places()
        try:
            settings = [dict(state["groups"][key]) for key in sorted(state["groups"], key=int)]
            entries = [dict(state["parameters"][k]) for k in sorted(state["parameters"], key=int)]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"this is not the state of an optimiser ({error!r}); load what state_dict() gave."
            ) from error
        faults = [f"it has {len(settings)} groups"] if len(settings) != len(self.groups) else []
        faults += [f"it has {len(entries)} parameters"] if len(entries) != len(places) else []
        for i, (group, loaded) in enumerate(zip(self.groups, settings, strict=False)):
            if _settings(group).keys() != loaded.keys():
                faults.append(f"group {i} has the settings {', '.join(loaded)}")
        for i, ((flat, j), entry) in enumerate(zip(places, entries, strict=False)):
            wanted = {name: moment.shape for name, moment in _moments(flat, j).items()}
            found = {name: np.shape(value) for name, value in entry.items() if name != "step"}
            if found != wanted or "step" not in entry:
                faults.append(f"parameter {i} has {found or 'no moments'} where {wanted} is kept")
        if faults:
            raise CheckpointError(
                f"this state does not fit this {type(self).__name__} of {len(self.groups)} groups "
                f"and {len(places)} parameters: {'; '.join(faults)}."
            )
        return settings, entries

    def _places(self) -> list[tuple[FlatParameters, int]]:
        """Where each parameter lies: (flat array, index in it), in the order they were given."""
        lying = {
            p: (flat, j)
            for flats in self._flats
            for flat in flats
            for j, p in enumerate(flat.parameters)
        }
        return [lying[p] for p in self.parameters]


def _as_groups(parameters: Iterable[Any]) -> list[Group]:
    if isinstance(parameters, Tensor):
        raise UsageError("an optimiser takes a list of parameters; put this one in a list.")
    given = list(parameters)
    if not given:
        raise UsageError("an optimiser needs at least one parameter, and the list is empty.")
    grouped = [isinstance(entry, dict) for entry in given]
    if any(grouped) and not all(grouped):
        raise UsageError("give parameters, or groups (dicts), not both in one list.")
    return given if all(grouped) else [{"params": given}]


def _group(given: Group, defaults: Group) -> Group:
    unknown = given.keys() - defaults.keys() - {"params"}
    if unknown or "params" not in given:
        raise UsageError(
            f"a parameter group has the keys {', '.join(sorted(given))}; it needs 'params' and may "
            f"have {', '.join(defaults)}."
        )
    params = list(given["params"])
    for i, p in enumerate(params):
        if not isinstance(p, Tensor) or p.node is not None or p.dtype.kind != "f":
            found = f"{p.dtype}{list(p.shape)}" if isinstance(p, Tensor) else type(p).__name__
            raise UsageError(
                f"parameter {i} of a group is {found}; an optimiser takes floating-point leaf "
                "Tensors, such as model.parameters()."
            )
    return {**defaults, **given, "params": params}


def _require_distinct(parameters: list[Tensor]) -> None:
    seen: set[Tensor] = set()
    for i, parameter in enumerate(parameters):
        if parameter in seen:
            raise UsageError(
                f"parameter {i}, of shape {parameter.shape}, is given twice, and would be updated "
                "twice a step. Leave it in one group only."
            )
        seen.add(parameter)


def _flatten(parameters: list[Tensor], moments: tuple[str, ...]) -> list[FlatParameters]:
    """One flat array for each dtype (and device) among `parameters`."""
    kinds: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    return [FlatParameters(alike, moments) for alike in kinds.values()]


def _moments(flat: FlatParameters, j: int) -> dict[str, Any]:
    """The moments of parameter `j` of `flat`, as views of its shape."""
    shape = flat.parameters[j].shape
    return {name: whole[flat.places[j]].reshape(shape) for name, whole in flat.moments.items()}


def _settings(group: Group) -> Group:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in group.items()
        if name != "params"
    }


def _to_numpy(array: Any) -> np.ndarray[Any, Any]:
    return backend_of([array]).to_numpy(array)
