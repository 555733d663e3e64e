"""What all optimisers share: parameter groups, flat buffers, the step, and the state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np

from tinygen import trace
from tinygen.arguments import integer, is_finite, saved_array
from tinygen.backend import backend_of
from tinygen.errors import CheckpointError, UsageError
from tinygen.optim.flat import FlatParameters
from tinygen.tensor import Tensor, as_numpy

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

    nonnegative: ClassVar[tuple[str, ...]] = ()
    """Those among them that are means of squares."""

    def __init__(self, parameters: Iterable[Any], **defaults: Any) -> None:
        self.groups = [_group(given, defaults) for given in _as_groups(parameters)]
        _require_distinct(self.parameters)
        for group in self.groups:
            self._check(group)
        self._flats = [_flatten(group["params"], self._kept(group)) for group in self.groups]

    @property
    def parameters(self) -> list[Tensor]:
        """All of them, group by group, in the order given."""
        return [p for group in self.groups for p in group["params"]]

    def _check(self, group: Group) -> None:
        """Raise UsageError where a setting is out of range."""
        for name, (low, high) in RANGES.items():
            values = group.get(name, low)
            if not _within(values, low, high):
                limits = "finite and at least 0" if high == math.inf else f"in [{low}, {high})"
                raise UsageError(
                    f"{type(self).__name__}: {name} is {values!r}; it must be {limits}."
                )
        if not isinstance(group.get("nesterov", False), bool):
            raise UsageError(
                f"{type(self).__name__}: nesterov is {group['nesterov']!r}; give True or False."
            )

    def _kept(self, group: Group) -> tuple[str, ...]:
        """The moments that the settings of a group need."""
        return self.moments

    # ---- the step

    def zero_grad(self) -> None:
        """Forget all gradients (None, not zeros: no memory is touched)."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self, lr_factor: float = 1.0) -> None:
        """Update every parameter that has a gradient, with `lr_factor` times its learning rate."""
        if not (is_finite(lr_factor) and lr_factor >= 0):
            raise UsageError(f"step: lr_factor is {lr_factor!r}; it must be finite and at least 0.")
        recorded = (
            nullcontext()
            if trace.active is None
            else trace.active.optimizer(type(self).__name__, self.parameters)
        )
        with recorded:
            for group, flats in zip(self.groups, self._flats, strict=True):
                self._check(group)
                for flat in flats:
                    flat.keep(self._kept(group))
                    self._update(flat, group, group["lr"] * lr_factor)

    def _update(self, flat: FlatParameters, group: Group, lr: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not define _update")

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """The kind of optimiser, settings by group, steps and moments by parameter (numbered in
        the order given). Nested dicts of arrays (copies) and JSON values; loading it restores every
        bit."""
        settings = [_settings(group) for group in self.groups]
        return {
            "kind": type(self).__name__,
            "groups": {str(i): group for i, group in enumerate(settings)},
            "parameters": {
                str(i): {"step": flat.steps[j]}
                | {name: as_numpy(moment).copy() for name, moment in _moments(flat, j).items()}
                for i, (flat, j) in enumerate(self._places())
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, which is copied. Raises CheckpointError, changing nothing, where
        it belongs to another kind of optimiser or other parameters, or holds what cannot be."""
        settings, entries = self._fitting(state)
        for group, loaded, flats in zip(self.groups, settings, self._flats, strict=True):
            group |= loaded
            for flat in flats:
                flat.keep(self._kept(group))
        for (flat, j), entry in zip(self._places(), entries, strict=True):
            flat.steps[j] = entry["step"]
            for name, moment in _moments(flat, j).items():
                moment[...] = backend_of([moment]).asarray(entry[name])

    def _fitting(self, state: Mapping[str, Any]) -> tuple[list[Group], list[dict[str, Any]]]:
        """The settings by group and the entries by parameter in `state`, checked."""
        try:
            kind = state["kind"]
            settings = [dict(state["groups"][key]) for key in sorted(state["groups"], key=int)]
            entries = [dict(state["parameters"][k]) for k in sorted(state["parameters"], key=int)]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"this is not the state of an optimiser ({error!r}); load what state_dict() gave."
            ) from error
        settings = [
            {k: tuple(v) if isinstance(v, list) else v for k, v in loaded.items()}
            for loaded in settings
        ]
        n = len(self.parameters)
        faults = [f"it is the state of {kind}"] if kind != type(self).__name__ else []
        faults += [f"it has {len(settings)} groups"] if len(settings) != len(self.groups) else []
        faults += [f"it has {len(entries)} parameters"] if len(entries) != n else []
        for i, (group, loaded) in enumerate(zip(self.groups, settings, strict=False)):
            faults += [f"group {i} {fault}" for fault in self._group_faults(group, loaded)]
        if not faults:
            kept = [self._kept(loaded) for loaded in settings]
            of_parameter = [kept[i] for i, g in enumerate(self.groups) for _ in g["params"]]
            for i, (p, names) in enumerate(zip(self.parameters, of_parameter, strict=True)):
                faults += [f"parameter {i} {f}" for f in self._entry_faults(p, names, entries[i])]
        if faults:
            raise CheckpointError(
                f"this state does not fit this {type(self).__name__} of {len(self.groups)} groups "
                f"and {n} parameters: {'; '.join(faults)}."
            )
        return settings, entries

    def _group_faults(self, group: Group, loaded: Group) -> Iterator[str]:
        """What keeps the settings `loaded` from being those of `group`."""
        if _settings(group).keys() != loaded.keys():
            yield f"has the settings {', '.join(loaded)}"
            return
        try:
            self._check({**loaded, "params": group["params"]})
        except UsageError as error:
            yield f"cannot be: {error}"

    def _entry_faults(
        self, p: Tensor, names: Sequence[str], entry: dict[str, Any]
    ) -> Iterator[str]:
        """What keeps `entry` from being the step and the moments of `p`; casts its arrays."""
        if entry.keys() != {"step", *names}:
            yield f"has {', '.join(entry)} where {', '.join(('step', *names))} are kept"
            return
        try:
            entry["step"] = integer("step", entry["step"], least=0)
        except UsageError as error:
            yield f"cannot be: {error}"
        for name in names:
            try:
                entry[name] = saved_array(entry[name], p.shape, p.dtype)
            except CheckpointError as fault:
                yield f"{name} {fault}"
                continue
            if name in self.nonnegative and (entry[name] < 0).any():
                yield f"{name} has negative numbers, and is a mean of squares"

    def _places(self) -> list[tuple[FlatParameters, int]]:
        """Where each parameter lies: (flat array, index in it), in the order they were given."""
        lying = {
            p: (flat, j)
            for flats in self._flats
            for flat in flats
            for j, p in enumerate(flat.parameters)
        }
        return [lying[p] for p in self.parameters]


def _within(values: Any, low: float, high: float) -> bool:
    several = values if isinstance(values, (tuple, list)) else (values,)
    try:
        return all(low <= value < high for value in several)
    except (TypeError, ValueError):  # no numbers
        return False


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
                f"parameter {i} of a group is {found}; an optimiser takes leaf Tensors of float32 "
                "or another of NumPy's floats, such as model.parameters(): for bfloat16 use "
                'w.astype("bfloat16") in the forward pass.'
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
    """The settings of a group as JSON values."""
    return {name: _plain(value) for name, value in group.items() if name != "params"}


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value
