"""config.json of a folder and our configurations, each from the other.

What a file leaves out has the default of the transformers package, whose configurations (version
5.24, `models/*/configuration_*.py`) these names and defaults are. What it asks for and we do not
have is refused by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygen.errors import CheckpointError, TinygenError, UsageError
from tinygen.models.transformer.gpt import GPTConfig
from tinygen.models.transformer.llama import LlamaConfig
from tinygen.models.transformer.pretrained.scaling import rope_of, rope_settings

Settings = Mapping[str, Any]
Config = GPTConfig | LlamaConfig

ARCHITECTURES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
"""The types of folders, and the classes that the transformers package has for them."""

SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")

_MOST_LAYERS = 10_000

_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_PLAIN = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
"""Settings that change what a model computes, and their values in the models that we have."""


def config_of(settings: Settings) -> Config:
    """The configuration that config.json describes. Raises CheckpointError, naming what in it is
    missing, impossible, or more than these models do."""
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise CheckpointError(f"its model_type is {kind!r}, none of {', '.join(ARCHITECTURES)}")
    faults = [
        f"{name} is {settings[name]!r}, and only {plain!r} is there"
        for name, plain in _PLAIN.items()
        if settings.get(name, plain) not in (plain, None)
    ]
    try:
        config = _gpt(settings) if kind == "gpt2" else _llama(settings, kind)
    except KeyError as error:
        faults.append(f"{error.args[0]} is missing")
    except (TinygenError, TypeError, ValueError, AttributeError) as error:  # of any JSON value
        faults.append(str(error).rstrip("."))
    if faults:
        raise CheckpointError("; ".join(faults))
    return config


def _gpt(settings: Settings) -> GPTConfig:
    return GPTConfig(
        vocab_size=settings.get("vocab_size", 50257),
        block_size=settings.get("n_positions", 1024),
        n_layer=_layers(settings.get("n_layer", 12)),
        n_head=settings.get("n_head", 12),
        width=settings.get("n_embd", 768),
        dropout=settings.get("resid_pdrop", 0.1),
        hidden=settings.get("n_inner"),
        activation=_activation(settings.get("activation_function", "gelu_new")),
        eps=settings.get("layer_norm_epsilon", 1e-5),
        tied=_flag(settings, "tie_word_embeddings", True),
    )


def _llama(settings: Settings, kind: str) -> LlamaConfig:
    if _activation(settings.get("hidden_act", "silu")) != "silu":
        raise CheckpointError(f"hidden_act is {settings['hidden_act']!r}, and only 'silu' is there")
    bias = kind in ("llama", "qwen3") and _flag(settings, "attention_bias")
    groups = {"mistral": 8, "qwen2": 32, "qwen3": 32}.get(kind)
    base, scaling = rope_of(settings)
    return LlamaConfig(
        vocab_size=settings["vocab_size"],
        block_size=settings["max_position_embeddings"],
        n_layer=_layers(settings["num_hidden_layers"]),
        n_head=settings["num_attention_heads"],
        width=settings["hidden_size"],
        n_kv_head=settings.get("num_key_value_heads", groups),
        head_dim=settings.get("head_dim", 128 if kind == "qwen3" else None),
        hidden=settings["intermediate_size"],
        rope_base=base,
        rope_scaling=scaling,
        window=_window(settings, kind),
        qkv_bias=kind == "qwen2" or bias,
        out_bias=bias,
        mlp_bias=kind == "llama" and _flag(settings, "mlp_bias"),
        qk_norm=kind == "qwen3",
        eps=settings.get("rms_norm_eps", 1e-6),
        tied=_flag(settings, "tie_word_embeddings"),
    )


def _flag(settings: Settings, name: str, default: bool = False) -> bool:
    value = settings.get(name)
    if not isinstance(value, bool | None):
        raise CheckpointError(f"{name} is {value!r}, neither true nor false")
    return default if value is None else value


def _layers(value: Any) -> Any:
    """A number of layers, which is a number of entries of several tables."""
    if isinstance(value, int) and value > _MOST_LAYERS:
        raise CheckpointError(f"it has {value} layers, and no more than {_MOST_LAYERS} are read")
    return value


def _activation(name: Any) -> str:
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise CheckpointError(f"the activation {name!r} is none of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def _window(settings: Settings, kind: str) -> int | tuple[int | None, ...] | None:
    """What each layer's queries see: one number or None for Mistral, one a layer for Qwen."""
    window = settings.get("sliding_window", 4096)
    if kind == "llama":
        return None
    if kind == "mistral":
        return window
    if not _flag(settings, "use_sliding_window"):
        window = None
    n_layer, full = settings["num_hidden_layers"], settings.get("max_window_layers", 28)
    types = settings.get("layer_types")
    if types is None:
        types = ["full_attention"] * min(full, n_layer)
        types += ["sliding_attention"] * (n_layer - len(types))
    for name in types:
        if name not in ("full_attention", "sliding_attention"):
            raise CheckpointError(f"layer_types has {name!r}, which is not there")
    windows = tuple(window if kind == "sliding_attention" else None for kind in types)
    return windows if any(windows) else None


# ---- the way back --------------------------------------------------------------------------------


def kind_of(config: Config) -> str:
    """The type of folder that can say all of a configuration. Raises UsageError if none can."""
    if isinstance(config, GPTConfig):
        return "gpt2"
    c, windows = config, set(config.windows)
    one_window = len(windows) == 1 and None not in windows
    if c.qk_norm and not c.mlp_bias and len(windows - {None}) <= 1:
        return "qwen3"
    if not c.qk_norm and one_window and not (c.qkv_bias or c.out_bias or c.mlp_bias):
        return "mistral"
    windowed_or_biased = c.qkv_bias or windows != {None}
    rest = c.qk_norm or c.out_bias or c.mlp_bias or len(windows - {None}) > 1
    if windowed_or_biased and not rest:
        return "qwen2"
    if not c.qk_norm and windows == {None}:
        return "llama"
    raise UsageError(
        "no type of the transformers package has this mixture of windows, biases and qk_norm; "
        f"it is kept by a run's own checkpoints: {config}"
    )


def biases_of(config: LlamaConfig, kind: str) -> tuple[bool, bool, bool]:
    """Whether a folder of that type has biases of queries, keys and values, of attention's output,
    and of the MLP."""
    either = config.qkv_bias or config.out_bias
    if kind == "qwen2":
        return True, False, False
    return either, either, config.mlp_bias


def settings_of(config: Config, kind: str, dtype: str) -> dict[str, Any]:
    """config.json for a configuration, of the type that `kind_of` found."""
    common = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "dtype": dtype,
        "torch_dtype": dtype,  # what `dtype` is called before transformers 5
        "initializer_range": 0.02,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "vocab_size": config.vocab_size,
    }
    if isinstance(config, GPTConfig):
        return common | _gpt_settings(config)
    return common | _llama_settings(config, kind)


def _gpt_settings(c: GPTConfig) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in reversed(_ACTIVATIONS.items())}
    return {
        "activation_function": names[c.activation],
        "attn_pdrop": 0.0,
        "embd_pdrop": c.dropout,
        "resid_pdrop": c.dropout,
        "layer_norm_epsilon": c.eps,
        "n_embd": c.width,
        "n_head": c.n_head,
        "n_inner": c.hidden,
        "n_layer": c.n_layer,
        "n_positions": c.block_size,
    }


def _llama_settings(c: LlamaConfig, kind: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "attention_dropout": 0.0,
        "head_dim": c.features,
        "hidden_act": "silu",
        "hidden_size": c.width,
        "intermediate_size": c.mlp_width,
        "max_position_embeddings": c.block_size,
        "num_attention_heads": c.n_head,
        "num_hidden_layers": c.n_layer,
        "num_key_value_heads": c.n_groups,
        "rms_norm_eps": c.eps,
        **rope_settings(c),
    }
    window = next((w for w in c.windows if w is not None), None)
    if kind in ("llama", "qwen3"):
        settings["attention_bias"] = biases_of(c, kind)[0]
    if kind == "llama":
        settings["mlp_bias"] = c.mlp_bias
    else:
        settings["sliding_window"] = window
    if kind in ("qwen2", "qwen3"):
        settings["use_sliding_window"] = window is not None
        settings["max_window_layers"] = c.n_layer
        settings["layer_types"] = [
            "full_attention" if w is None else "sliding_attention" for w in c.windows
        ]
    return settings
