"""Models that the transformers package built and saved, against the same ones read here: logits,
every parameter's gradient, and the way back.

The package computes norms, angles and softmax in float32 in every model. Where a comparison is of
float64, it is made to compute in float64 too: see `in_float64`.
"""

import json
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

import tinygen as tg
from tinygen.models.transformer import (
    GPT,
    GPTConfig,
    Llama,
    LlamaConfig,
    from_pretrained,
    save_pretrained,
)
from tinygen.models.transformer.pretrained.places import places
from tinygen.models.transformer.pretrained.settings import config_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SIZES = {
    "vocab_size": 17,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "bos_token_id": None,
    "eos_token_id": 3,
}
GPT_SIZES = {"vocab_size": 17, "n_positions": 32, "n_embd": 24, "n_layer": 2, "n_head": 4}


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1000.0, **more}}


YARN = {"factor": 4.0, "original_max_position_embeddings": 8}
CASES = {
    "gpt2": ("GPT2", {}),
    "gpt2, untied, erf, other sizes": (
        "GPT2",
        {
            "n_inner": 30,
            "activation_function": "gelu",
            "layer_norm_epsilon": 1e-3,
            "tie_word_embeddings": False,
        },
    ),
    "llama": ("Llama", {}),
    "llama, one key/value head, tied": (
        "Llama",
        {"num_key_value_heads": 1, "tie_word_embeddings": True, "rms_norm_eps": 1e-3},
    ),
    "llama, biases, head_dim": (
        "Llama",
        {"attention_bias": True, "mlp_bias": True, "head_dim": 10, "num_key_value_heads": 4},
    ),
    "llama, linear": ("Llama", rope("linear", factor=3.0)),
    "llama, dynamic": ("Llama", {"max_position_embeddings": 8, **rope("dynamic", factor=2.0)}),
    "llama, llama3": (
        "Llama",
        rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=16,
        ),
    ),
    "llama, yarn": (  # whose ramp goes from pair 5.4 to pair 10.2
        "Llama",
        {
            "head_dim": 32,
            **rope(
                "yarn",
                factor=4.0,
                original_max_position_embeddings=256,
                beta_fast=4.0,
                beta_slow=0.5,
            ),
        },
    ),
    "mistral": ("Mistral", {"sliding_window": 5}),
    "mistral, no window": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2, a window in one layer": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3", {"head_dim": 10}),
}
BROAD = {
    "llama, yarn, whole pairs": ("Llama", rope("yarn", **YARN)),
    "llama, yarn, no truncation": ("Llama", rope("yarn", **YARN, truncate=False)),
    "llama, yarn, mscale": ("Llama", rope("yarn", **YARN, mscale=0.7, mscale_all_dim=0.4)),
    "llama, yarn, attention_factor": ("Llama", rope("yarn", **YARN, attention_factor=1.3)),
    "llama, dynamic, short": ("Llama", rope("dynamic", factor=2.0)),
    "llama, attention_bias": ("Llama", {"attention_bias": True}),
    "llama, mlp_bias": ("Llama", {"mlp_bias": True}),
    "mistral, llama3": (
        "Mistral",
        {
            "sliding_window": 7,
            "head_dim": 8,
            **rope(
                "llama3",
                factor=4.0,
                low_freq_factor=1.0,
                high_freq_factor=2.0,
                original_max_position_embeddings=8,
            ),
        },
    ),
    "qwen2, yarn": ("Qwen2", rope("yarn", **YARN)),
    "qwen3, biases, windows": (
        "Qwen3",
        {
            "head_dim": 8,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 3,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
}


def built(kind, changes, seed=0):
    """A model of the package, with weights that are large enough for every path to matter."""
    sizes = GPT_SIZES if kind == "GPT2" else SIZES
    config = getattr(transformers, f"{kind}Config")(**{**sizes, **changes})
    class_name = "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM"
    torch.manual_seed(seed)
    model = getattr(transformers, class_name)(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.3 * torch.randn(p.shape) + (p.ndim == 1 and name.endswith("weight")))
    return model


def loaded(folder, dtype):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    ).eval()


@contextmanager
def in_float64():
    """Inside, what the package asks to be float32 is float64."""
    with (
        mock.patch.object(torch, "float32", torch.float64),
        mock.patch.object(torch, "float", torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        yield


def gradients(model, tokens, targets):
    logits = model(torch.tensor(tokens)).logits
    flat = torch.tensor(targets).reshape(-1)
    torch.nn.functional.cross_entropy(logits.reshape(len(flat), -1), flat).backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return logits.detach().numpy(), grads


def compare(ours, theirs, tolerance):
    """Logits and the gradient of every parameter, relative to its largest entry."""
    rng = tg.random.Generator("tokens")
    tokens, targets = rng.integers(0, 17, (3, 20)), rng.integers(0, 17, (3, 20))
    expected, grads = gradients(theirs, tokens, targets)
    found = ours(tokens).numpy()
    assert abs(found - expected).max() <= tolerance * abs(expected).max()
    ours.loss(tokens, targets).backward()
    named = places(ours)
    assert named.keys() == grads.keys()
    for name, place in named.items():
        grad = place.view(place.parameter.grad.numpy())
        assert abs(grad - grads[name]).max() <= tolerance * abs(grads[name]).max(), name


def check(folder, kind, changes):
    saved = built(kind, changes)
    saved.save_pretrained(folder)
    with in_float64():
        exact = built(kind, changes).double()
        exact.load_state_dict(saved.state_dict())
        compare(from_pretrained(folder, dtype="float64"), exact, 1e-9)
    model = from_pretrained(folder)
    plain = loaded(folder, torch.float32)
    compare(model, plain, 1e-4)
    back = folder.parent / "back"
    save_pretrained(model, back)
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        back, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values())
    lesser = isinstance(plain, transformers.MistralForCausalLM) and not model.config.window
    assert type(again) is (transformers.LlamaForCausalLM if lesser else type(plain))
    assert again.dtype == torch.float32
    tokens = torch.arange(20)[None] % 17  # "dynamic" remembers the longest text of `compare`
    assert torch.equal(again.eval()(tokens).logits, plain(tokens).logits)
    assert again.config.eos_token_id == plain.config.eos_token_id


@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_and_the_way_back(case, tmp_path):
    check(tmp_path / "folder", *CASES[case])


@pytest.mark.deep
@pytest.mark.parametrize("case", BROAD)
def test_logits_and_gradients_and_the_way_back_of_more_settings(case, tmp_path):
    check(tmp_path / "folder", *BROAD[case])


def explicit(settings):
    """The configuration, with what is derived from its sizes written out."""
    config = config_of(settings)
    if isinstance(config, GPTConfig):
        return config
    return replace(config, head_dim=config.features, n_kv_head=config.n_groups)


@pytest.mark.parametrize("kind", ["GPT2", "Llama", "Mistral", "Qwen2", "Qwen3"])
def test_what_a_config_leaves_out_is_what_the_package_takes(kind):
    """All of the package's own defaults; GPT-2's are complete, the others' need sizes."""
    given = {"vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"}
    given |= {"max_position_embeddings", "num_attention_heads"}
    theirs = getattr(transformers, f"{kind}Config")()
    whole = theirs.to_dict()
    few = {name: whole[name] for name in given | {"model_type"} if name in whole}
    assert explicit(few) == explicit(whole)
    windowed = {"use_sliding_window": True}
    if kind.startswith("Qwen"):
        whole = getattr(transformers, f"{kind}Config")(**windowed).to_dict()
        assert explicit(few | windowed) == explicit(whole)
        assert explicit(few | windowed).windows[27:29] == (None, 4096)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_folders_are_widened_exactly(dtype, tmp_path):
    model = built("Qwen2", {}).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    ours = from_pretrained(tmp_path)
    assert {p.dtype.name for p in ours.parameters()} == {"float32"}
    state = model.state_dict()
    for name, place in places(ours).items():
        assert np.array_equal(place.view(place.parameter.data), state[name].float().numpy())


def test_a_folder_of_the_body_alone_and_old_names_are_read(tmp_path):
    """GPT-2 as it was first published: no prefix, and the causal mask among the tensors."""
    from safetensors.torch import load_file, save_file

    model = built("GPT2", {})
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors = {name.removeprefix("transformer."): x for name, x in tensors.items()}
    tensors["h.0.attn.bias"] = torch.ones(1, 1, 32, 32).tril()
    save_file(tensors, tmp_path / "model.safetensors")
    tokens = np.arange(17)[None]
    expected = model(torch.tensor(tokens)).logits.detach().numpy()
    assert np.allclose(from_pretrained(tmp_path)(tokens).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["GPT2", "Llama"])
def test_what_was_trained_here_goes_there(kind, tmp_path):
    """Without biases or with a window and biases: the nearest type, zeros for what it has more."""
    rng = tg.random.Generator(0)
    if kind == "GPT2":
        model = GPT(GPTConfig(17, 32, 2, 4, 24, bias=False, dropout=0.2), rng=rng).eval()
    else:
        model = Llama(LlamaConfig(17, 32, 2, 4, 24, window=(None, 6), n_kv_head=2), rng=rng)
    save_pretrained(model, tmp_path / "out", shard_bytes=8000)
    theirs = loaded(tmp_path / "out", "auto")
    tokens = np.arange(17)[None]
    expected = theirs(torch.tensor(tokens)).logits.detach().numpy()
    assert np.allclose(model(tokens).numpy(), expected, rtol=1e-4, atol=1e-6)
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["eos_token_id"] is None
    again = from_pretrained(tmp_path / "out")
    assert np.array_equal(again(tokens).numpy(), model(tokens).numpy())
