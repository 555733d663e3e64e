"""Rotary positions in config.json: `rope_parameters`, or `rope_theta` beside `rope_scaling`, as
they were called before transformers 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygen.errors import CheckpointError
from tinygen.models.transformer.llama import LlamaConfig
from tinygen.models.transformer.rope import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    RopeScaling,
    YarnScaling,
)

_TRAINED = "original_max_position_embeddings"


def rope_of(settings: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """The base and the scaling. Raises CheckpointError for a kind that is not there, KeyError for
    what is missing."""
    given = settings.get("rope_scaling") or settings.get("rope_parameters") or {}
    if not isinstance(given, dict):
        raise CheckpointError(f"rope_parameters is {given!r}, and no table of settings")
    base = given.get("rope_theta", settings.get("rope_theta"))
    base = 10000.0 if base is None else base
    if given.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError("partial_rotary_factor is not 1, and only whole heads are turned")
    kind = given.get("rope_type", given.get("type", "default"))
    longest: Any = settings.get("max_position_embeddings")
    trained = settings.get(_TRAINED, given.get(_TRAINED, longest))
    if kind == "default":
        return base, None
    if kind == "linear":
        return base, LinearScaling(given["factor"])
    if kind == "dynamic":
        return base, DynamicScaling(given["factor"], longest)
    if kind == "llama3":
        low, high = given["low_freq_factor"], given["high_freq_factor"]
        return base, Llama3Scaling(given["factor"], trained, low, high)
    if kind == "yarn":
        factor = given.get("factor")
        return base, YarnScaling(
            factor=longest / trained if factor is None else factor,
            trained=trained,
            fast=given.get("beta_fast") or 32.0,
            slow=given.get("beta_slow") or 1.0,
            attention_factor=given.get("attention_factor"),
            mscale=given.get("mscale"),
            mscale_all_dim=given.get("mscale_all_dim"),
            truncate=given.get("truncate", True),
        )
    raise CheckpointError(
        f"rope_type is {kind!r}, none of default, linear, dynamic, llama3 and yarn"
    )


def rope_settings(config: LlamaConfig) -> dict[str, Any]:
    """Both ways to write them, which every version reads alike."""
    scaling = _scaling_settings(config.rope_scaling)
    theta = {"rope_theta": float(config.rope_base)}
    settings: dict[str, Any] = {
        **theta,
        "rope_scaling": scaling,
        "rope_parameters": theta | (scaling or {"rope_type": "default"}),
    }
    if isinstance(config.rope_scaling, DynamicScaling):  # its length has no name of its own
        settings["max_position_embeddings"] = config.rope_scaling.trained
    return settings


def _scaling_settings(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    factor = {"factor": float(scaling.factor)}
    if isinstance(scaling, LinearScaling):
        return {"rope_type": "linear", **factor}
    if isinstance(scaling, DynamicScaling):
        return {"rope_type": "dynamic", **factor}
    if isinstance(scaling, Llama3Scaling):
        return {
            "rope_type": "llama3",
            **factor,
            "low_freq_factor": float(scaling.low),
            "high_freq_factor": float(scaling.high),
            _TRAINED: scaling.trained,
        }
    assert isinstance(scaling, YarnScaling)
    return {
        "rope_type": "yarn",
        **factor,
        "beta_fast": float(scaling.fast),
        "beta_slow": float(scaling.slow),
        "attention_factor": float(scaling.magnitude),
        "truncate": scaling.truncate,
        _TRAINED: scaling.trained,
    }
