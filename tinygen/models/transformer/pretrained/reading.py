"""A folder of the transformers package into a model."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.arguments import float_dtype
from tinygen.checkpoints.tensor_file import FLOATS, Entry, TensorFile, read_json
from tinygen.errors import CheckpointError
from tinygen.files import StrPath
from tinygen.models.transformer.estimate import estimate
from tinygen.models.transformer.gpt import GPT, GPTConfig
from tinygen.models.transformer.llama import Llama
from tinygen.models.transformer.pretrained.places import Place, places
from tinygen.models.transformer.pretrained.settings import SPECIAL_TOKENS, config_of
from tinygen.random import Generator

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_KEPT_BY_OLD_VERSIONS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Constants, causal masks and frequencies, that are computed and not learned."""

_MOST_FAULTS = 40
_SMALL = 10_000_000
"""Parameters of a model that is built whatever its files hold."""

Found = dict[str, tuple[TensorFile, str]]
"""By the name in our tables: the file of a tensor, and its name there."""


def from_pretrained(folder: StrPath, dtype: Any = None) -> GPT | Llama:
    """The model in a folder of GPT-2, Llama, Mistral, Qwen2 or Qwen3 type, in eval mode.

    The folder holds config.json and model.safetensors, or several files and their index, in
    float16, bfloat16, float32 or float64. `dtype` is "float32" or "float64", in which it computes;
    if left out, float64 where the folder has that and float32 otherwise. Neither PyTorch nor the
    transformers package is needed, and pickle files are not read. Memory holds the model and no
    second copy. The folder's special tokens are the model's `special_tokens`.

    Raises CheckpointError, which lists every tensor that is missing, surplus or misshapen, and
    every setting that these models do not have; also for damaged and for missing files.
    """
    folder = Path(folder)
    wanted = None if dtype is None else float_dtype("from_pretrained", dtype)
    path = folder / "config.json"
    settings = read_json(path)
    try:
        config = config_of(settings)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; it is not for these models") from error
    is_gpt = isinstance(config, GPTConfig)
    with ExitStack() as files:
        found = _tensors(folder, files, "transformer." if is_gpt else "model.")
        entries = {name: file.entries[stored] for name, (file, stored) in found.items()}
        _require_size(estimate(config).parameters, entries, path)
        if wanted is None:
            doubles = all(entry.dtype == "F64" for entry in entries.values())
            wanted = np.dtype("float64" if doubles and entries else "float32")
        network: Any = GPT if is_gpt else Llama
        model: GPT | Llama = network(config, rng=_Blank(0))
        model.to(dtype=wanted).eval()
        targets = places(model)
        tied = model.head is None and "lm_head.weight" in entries
        if tied:
            targets["lm_head.weight"] = Place(model.token_embedding.weight)
        _require_fitting(entries, targets, folder)
        for name, place in targets.items():
            file, stored = found[name]
            assert place.parameter is not None
            target = place.view(place.parameter.data)
            if tied and name == "lm_head.weight":
                _require_equal(file, stored, target)
            else:
                file.read_into(stored, target)
            place.parameter.version += 1
    model.special_tokens = {name: settings.get(name) for name in SPECIAL_TOKENS}
    return model


class _Blank(Generator):
    """Draws zeros, for weights that are read next: memory that nothing has touched yet."""

    def normal(self, shape: Any = (), dtype: Any = "float32", device: str = "cpu") -> Any:
        return np.zeros(shape, dtype)

    def uniform(
        self,
        shape: Any = (),
        low: float = 0.0,
        high: float = 1.0,
        dtype: Any = "float32",
        device: str = "cpu",
    ) -> Any:
        return np.zeros(shape, dtype)


def _tensors(folder: Path, files: ExitStack, prefix: str) -> Found:
    """The tensors of a folder, whose names get the `prefix` that the body of a model has alone."""
    found: Found = {}
    faults = []
    for file_name in _files(folder):
        try:
            file = files.enter_context(TensorFile(folder / file_name))
        except CheckpointError as error:
            faults.append(str(error))
            continue
        faults += [f"{name} is in {file_name} too" for name in file.entries if name in found]
        found |= {name: (file, name) for name in file.entries}
    if faults:
        raise CheckpointError(f"{folder}: {_listed(faults)}")
    found = {name: at for name, at in found.items() if not name.endswith(_KEPT_BY_OLD_VERSIONS)}
    if any(name.startswith(prefix) for name in found):
        return found
    return {name if name == "lm_head.weight" else prefix + name: at for name, at in found.items()}


def _files(folder: Path) -> list[str]:
    """The names of the safetensors files: one, or those that the index names."""
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    path = folder / INDEX
    if not path.exists():
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        raise CheckpointError(
            f"{folder} has neither {WEIGHTS} nor {INDEX}"
            + (f"; {', '.join(pickled)} is a pickle, which is not read" if pickled else "")
            + "; save it as safetensors"
        )
    index = read_json(path).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise CheckpointError(f"{path} is damaged: it has no weight_map; restore it")
    for name in index.values():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise CheckpointError(
                f"{path} is damaged: {name!r} is no file in this folder; restore it"
            )
    return sorted(set(index.values()))


def _require_size(parameters: int, entries: dict[str, Entry], path: Path) -> None:
    """Raise CheckpointError, before memory is taken, where a model would be far larger than its
    files; a few missing tensors are listed later."""
    there = sum(math.prod(entry.shape) for entry in entries.values())
    if parameters > 4 * there + _SMALL:
        raise CheckpointError(
            f"{path} describes a model of {parameters:,} parameters, and the files beside it hold "
            f"{there:,}; restore what is missing, or correct it"
        )


def _require_fitting(entries: dict[str, Entry], targets: dict[str, Place], folder: Path) -> None:
    faults = [f"missing {name} {p.shape}" for name, p in targets.items() if name not in entries]
    for name, entry in entries.items():
        if name not in targets:
            faults.append(f"surplus {name} {entry.shape}")
        elif entry.shape != targets[name].shape:
            faults.append(
                f"{name} has shape {entry.shape} where the model has {targets[name].shape}"
            )
        elif entry.dtype not in FLOATS:
            faults.append(f"{name} is of the dtype {entry.dtype}, not one of {', '.join(FLOATS)}")
    if faults:
        raise CheckpointError(
            f"{folder} does not hold the model of its config.json: {_listed(faults)}. "
            "Restore it, or correct its config.json"
        )


def _require_equal(file: TensorFile, name: str, expected: Any) -> None:
    """Raise CheckpointError where a head that is there, though it is tied, is another."""
    head = np.empty(expected.shape, expected.dtype)
    file.read_into(name, head)
    if not np.array_equal(head, expected):
        raise CheckpointError(
            f"{file.path}: {name} differs from the token embedding, to which config.json ties it; "
            "correct tie_word_embeddings"
        )


def _listed(faults: list[str]) -> str:
    more = len(faults) - _MOST_FAULTS
    return "; ".join(faults[:_MOST_FAULTS] + ([f"and {more} more"] if more > 0 else []))
