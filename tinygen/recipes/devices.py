"""Where a run computes: its models, their optimisers, and every batch that they are given.

Data are read, drawn and batched on the CPU, whatever the device, so that a run sees the same ones
everywhere; checkpoints hold arrays of the CPU. A step takes its batch `placed` on the device, and
what a painter shows comes back by `as_numpy`.
"""

from typing import Any

from tinygen.backend import backend_named
from tinygen.errors import DeviceError, UsageError
from tinygen.training.recipe import TrainingSettings


def training_device(settings: TrainingSettings) -> str:
    """The device of a run. Raises UsageError, UnavailableError."""
    return usable_device(settings.device)


def usable_device(name: str) -> str:
    """The full name of a device. Raises UsageError for a name that is none, UnavailableError for
    one that this machine lacks."""
    try:
        return backend_named(name).name
    except DeviceError as error:
        raise UsageError(str(error)) from error


def placed(batch: Any, device: str) -> Any:
    """The arrays of a batch on `device`: an array, or several with None for what is left out."""
    if batch is None:
        return None
    if isinstance(batch, (tuple, list)):
        return type(batch)(placed(part, device) for part in batch)
    return backend_named(device).asarray(batch)
