"""A model into a folder that the transformers package loads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.arguments import integer
from tinygen.checkpoints.tensor_file import write_tensors
from tinygen.errors import DivergedError, OutputError
from tinygen.files import StrPath, atomic_folder, output_errors
from tinygen.models.transformer.gpt import GPT
from tinygen.models.transformer.llama import Llama, LlamaConfig
from tinygen.models.transformer.pretrained.places import Place, places
from tinygen.models.transformer.pretrained.reading import INDEX, WEIGHTS
from tinygen.models.transformer.pretrained.settings import (
    SPECIAL_TOKENS,
    biases_of,
    kind_of,
    settings_of,
)
from tinygen.tensor import as_numpy

SHARD_BYTES = 5_000_000_000

Array = np.ndarray[Any, Any]


def save_pretrained(model: GPT | Llama, folder: StrPath, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write `model` as a folder of config.json and safetensors files, in the model's dtype, which
    `from_pretrained` and the transformers package load with equal logits.

    A Llama becomes a folder of Llama, Mistral, Qwen2 or Qwen3 type, whichever has its windows,
    biases and norms; biases that the type has and the model lacks are zeros. Tensors of more than
    `shard_bytes` together go to several files with an index. Dropout is kept where the type has it,
    in GPT-2's. The model's `special_tokens` are written, None where it has none, so that nothing
    ends a text that the model did not learn to end.

    The folder appears whole or not at all. It may exist if it holds no model: a tokenizer's files
    stay. Raises UsageError for a Llama that no type can say, OutputError, and DivergedError where
    a parameter is not finite.
    """
    shard_bytes = integer("shard_bytes", shard_bytes, least=1)
    kind = kind_of(model.config)
    config = model.config
    biases = biases_of(config, kind) if isinstance(config, LlamaConfig) else None
    found = places(model, biases)
    dtype = model.token_embedding.weight.dtype
    settings = settings_of(config, kind, dtype.name)
    settings |= {name: model.special_tokens.get(name) for name in SPECIAL_TOKENS}
    for name, parameter in model.named_parameters():
        if not np.isfinite(as_numpy(parameter)).all():
            raise DivergedError(f"{name} is not finite, so that the model is not saved")
    target = Path(folder)
    if not os.path.lexists(target):
        with atomic_folder(target) as unfinished:
            _write(unfinished, settings, found, dtype, shard_bytes)
        return
    _require_free(target)
    inner = target / ".unfinished-model"
    with output_errors(folder), atomic_folder(inner) as unfinished:
        _write(unfinished, settings, found, dtype, shard_bytes)
    _move_up(inner, target)


def _write(
    folder: Path,
    settings: Mapping[str, Any],
    found: Mapping[str, Place],
    dtype: np.dtype[Any],
    shard_bytes: int,
) -> None:
    shards = list(_shards(found, dtype.itemsize, shard_bytes))
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = WEIGHTS
        if len(shards) > 1:
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_tensors(folder / file, _Arrays({name: found[name] for name in names}, dtype))
        weight_map |= dict.fromkeys(names, file)
    if len(shards) > 1:
        total = sum(_size(place) for place in found.values()) * dtype.itemsize
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        _write_json(folder / INDEX, index)
    _write_json(folder / "config.json", settings)


class _Arrays(Mapping[str, Array]):
    """The arrays of places, each made when it is asked for: a model on a device comes to the CPU
    one parameter at a time."""

    def __init__(self, found: Mapping[str, Place], dtype: np.dtype[Any]) -> None:
        self.found, self.dtype = found, dtype

    def __getitem__(self, name: str) -> Array:
        place = self.found[name]
        if place.parameter is None:
            return np.zeros(place.shape, self.dtype)
        return place.view(as_numpy(place.parameter))

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def _shards(found: Mapping[str, Place], itemsize: int, shard_bytes: int) -> Iterator[list[str]]:
    """Names in their order, so many together as fit `shard_bytes`, and one at least."""
    names: list[str] = []
    used = 0
    for name, place in found.items():
        size = _size(place) * itemsize
        if names and used + size > shard_bytes:
            yield names
            names, used = [], 0
        names.append(name)
        used += size
    yield names


def _size(place: Place) -> int:
    return int(np.prod(place.shape))


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _require_free(folder: Path) -> None:
    """Raise OutputError where a folder that exists is no folder, or has a model in it."""
    if not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is no folder; choose another path")
    there = [path.name for path in folder.iterdir()]
    models = [n for n in there if n in ("config.json", INDEX) or n.endswith(".safetensors")]
    if models:
        raise OutputError(
            f"cannot write {folder}: it holds a model already ({', '.join(sorted(models))}); "
            "remove it or choose another folder"
        )


def _move_up(inner: Path, folder: Path) -> None:
    """The files of `inner` into `folder`, config.json last: without it there is no model yet."""
    with output_errors(folder):
        names = sorted((path.name for path in inner.iterdir()), key=lambda n: n == "config.json")
        for name in names:
            os.rename(inner / name, folder / name)
        inner.rmdir()
