"""Folders of the transformers package, without it: there and back, and memory.

That the package reads them alike is tested in tests/oracle/test_transformers_models.py.
"""

import json
import tracemalloc

import numpy as np
import pytest
from folders import SIZES, built, llama_folder, rewritten, tokens

from tinygen.errors import DivergedError, DtypeError, OutputError, UsageError
from tinygen.models.transformer import (
    GPTConfig,
    LlamaConfig,
    from_pretrained,
    save_pretrained,
)
from tinygen.models.transformer.pretrained import writing
from tinygen.models.transformer.rope import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    YarnScaling,
)

CONFIGS = {
    "gpt2": GPTConfig(**SIZES, hidden=20, dropout=0.1),
    "untied gpt2": GPTConfig(**SIZES, tied=False, activation="relu", eps=1e-3),
    "llama": LlamaConfig(**SIZES, n_kv_head=2, hidden=24),
    "all biases": LlamaConfig(**SIZES, qkv_bias=True, out_bias=True, mlp_bias=True, tied=True),
    "linear": LlamaConfig(**SIZES, rope_scaling=LinearScaling(2.0)),
    "dynamic": LlamaConfig(**SIZES, rope_scaling=DynamicScaling(2.0, 8)),
    "llama3": LlamaConfig(**SIZES, rope_scaling=Llama3Scaling(8.0, 4, 1.0, 3.0)),
    "yarn": LlamaConfig(**SIZES, rope_scaling=YarnScaling(2.0, 4, attention_factor=1.2)),
    "mistral": LlamaConfig(**SIZES, window=3, eps=1e-5, rope_base=500.0),
    "qwen2": LlamaConfig(**SIZES, qkv_bias=True, window=(None, 2), head_dim=6),
    "qwen3": LlamaConfig(**SIZES, qk_norm=True, head_dim=10, window=(4, 4)),
}


@pytest.fixture
def folder(tmp_path):
    """A Llama in several files."""
    return llama_folder(tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("shard_bytes", [10**9, 3000])
def test_what_was_saved_comes_back(name, shard_bytes, tmp_path):
    model = built(CONFIGS[name])
    model.special_tokens = {"eos_token_id": [3, 4]}
    save_pretrained(model, tmp_path / "out", shard_bytes=shard_bytes)
    back = from_pretrained(tmp_path / "out")
    assert not back.training
    before, after = model.state_dict(), back.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert np.array_equal(model(tokens(2, 8)).numpy(), back(tokens(2, 8)).numpy())
    assert back.config.dropout == model.config.dropout
    assert back.special_tokens == {
        "bos_token_id": None,
        "eos_token_id": [3, 4],
        "pad_token_id": None,
    }
    many = shard_bytes == 3000
    assert (tmp_path / "out" / "model.safetensors.index.json").exists() == many
    assert (len(list((tmp_path / "out").glob("*.safetensors"))) > 1) == many


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (CONFIGS["gpt2"], "gpt2"),
        (CONFIGS["llama"], "llama"),
        (CONFIGS["all biases"], "llama"),
        (LlamaConfig(**SIZES, qkv_bias=True, mlp_bias=True), "llama"),
        (CONFIGS["mistral"], "mistral"),
        (CONFIGS["qwen2"], "qwen2"),
        (LlamaConfig(**SIZES, window=(2, None)), "qwen2"),
        (LlamaConfig(**SIZES, window=2, qkv_bias=True), "qwen2"),
        (CONFIGS["qwen3"], "qwen3"),
        (LlamaConfig(**SIZES, qk_norm=True, qkv_bias=True), "qwen3"),
    ],
)
def test_a_folder_is_of_the_type_that_can_say_it(config, kind, tmp_path):
    model = built(config)
    save_pretrained(model, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "config.json").read_text())
    assert settings["model_type"] == kind
    back = from_pretrained(tmp_path / "out")
    x = tokens(2, 8)
    assert np.allclose(model(x).numpy(), back(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": (2, 3)},
        {"window": 2, "out_bias": True},
        {"window": 2, "mlp_bias": True},
        {"qk_norm": True, "mlp_bias": True},
    ],
)
def test_a_mixture_that_no_type_has_is_refused(changes, tmp_path):
    with pytest.raises(UsageError, match=r"no type .* has this mixture"):
        save_pretrained(built(LlamaConfig(**SIZES, **changes)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dtypes(tmp_path):
    single, double = built(CONFIGS["llama"]), built(CONFIGS["llama"], "float64")
    save_pretrained(single, tmp_path / "single")
    save_pretrained(double, tmp_path / "double")
    for folder, dtype, found in [
        ("single", None, "float32"),
        ("single", "float64", "float64"),
        ("double", None, "float64"),
        ("double", np.float32, "float32"),
    ]:
        model = from_pretrained(tmp_path / folder, dtype)
        assert {p.dtype.name for p in model.parameters()} == {found}
        assert model(tokens(1, 3)).dtype == found
    with pytest.raises(DtypeError, match="float32 or float64, not float16"):
        from_pretrained(tmp_path / "single", "float16")


def test_half_precision_files_are_widened_exactly(folder):
    wide = from_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        rewritten(path, lambda x: x.update({name: a.astype(np.float16) for name, a in x.items()}))
    narrow = from_pretrained(folder)
    for p, q in zip(wide.parameters(), narrow.parameters(), strict=True):
        assert np.array_equal(p.data.astype(np.float16).astype(np.float32), q.data)


def test_old_names_of_rotary_settings_mean_the_same(folder):
    expected = from_pretrained(folder).config
    for keys in (["rope_parameters"], ["rope_theta", "rope_scaling"]):
        rewritten(folder / "config.json", lambda s, keys=keys: s.update(_without(s, keys)))
        assert from_pretrained(folder).config == expected
    rewritten(
        folder / "config.json",
        lambda s: s.update(rope_parameters=None, rope_scaling={"type": "linear", "factor": 2}),
    )
    assert from_pretrained(folder).config.rope_scaling == LinearScaling(2)


def _without(settings, keys):
    return {key: None if key in keys else value for key, value in settings.items()}


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_memory_holds_the_model_and_one_parameter_more(name, tmp_path):
    sizes = {**SIZES, "width": 128, "n_layer": 6, "vocab_size": 512}
    config = type(CONFIGS[name])(**sizes)
    model = built(config)
    save_pretrained(model, tmp_path / "out", shard_bytes=10**6)
    largest = max(p.data.nbytes for p in model.parameters())
    total = sum(p.data.nbytes for p in model.parameters())
    tracemalloc.start()
    kept = from_pretrained(tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    base = tracemalloc.get_traced_memory()[0]
    save_pretrained(kept, tmp_path / "again")
    writing_peak = tracemalloc.get_traced_memory()[1] - base
    tracemalloc.stop()
    assert total <= peak <= total + 2 * largest + 400_000
    assert writing_peak <= largest + 400_000


def test_an_existing_folder_gets_a_model_if_it_has_none(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    model = built(CONFIGS["llama"])
    save_pretrained(model, tmp_path, shard_bytes=6000)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tokenizer.json", "config.json", "model.safetensors.index.json"} < names
    assert not any("unfinished" in name for name in names)
    assert np.array_equal(
        from_pretrained(tmp_path)(tokens(1, 8)).numpy(), model(tokens(1, 8)).numpy()
    )
    with pytest.raises(OutputError, match="holds a model already"):
        save_pretrained(model, tmp_path)


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch):
    model = built(CONFIGS["llama"])

    def full(path, tensors):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_tensors", full)
    (tmp_path / "there").mkdir()
    for folder in ("new", "there"):
        with pytest.raises(OutputError, match="no space left"):
            save_pretrained(model, tmp_path / folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    model.norm.weight.data[0] = np.nan
    with pytest.raises(DivergedError, match=r"norm\.weight is not finite"):
        save_pretrained(model, tmp_path / "new")
