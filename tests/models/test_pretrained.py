"""Folders of the transformers package, without it: there and back, memory, and every kind of bad
folder. That the package reads them alike is tested in tests/oracle/test_transformers_models.py."""

import json
import shutil
import tracemalloc

import numpy as np
import pytest

import tinygen as tg
from tinygen.checkpoints import TensorFile, load_tensors, save_tensors
from tinygen.errors import CheckpointError, DivergedError, DtypeError, OutputError, UsageError
from tinygen.models.transformer import (
    GPT,
    GPTConfig,
    Llama,
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

SIZES = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 4, "width": 16}
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


def built(config, dtype="float32"):
    kind = GPT if isinstance(config, GPTConfig) else Llama
    model = kind(config, rng=tg.random.Generator(0)).to(dtype=dtype).eval()
    for name, p in model.named_parameters():
        p.data[...] += 0.3 * tg.random.Generator(name).normal(p.shape)
    return model


def tokens(*shape):
    return tg.random.Generator("tokens").integers(0, SIZES["vocab_size"], shape)


@pytest.fixture
def folder(tmp_path):
    """A Llama in several files."""
    save_pretrained(built(CONFIGS["llama"]), tmp_path / "model", shard_bytes=6000)
    return tmp_path / "model"


def rewritten(path, change):
    """`change` edits the tensors of a file, or the table of a JSON file, in place."""
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return
    content = {name: x.copy() for name, x in load_tensors(path).items()}
    change(content)
    save_tensors(path, content)


# ---- there and back ------------------------------------------------------------------------------


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


# ---- bad folders ---------------------------------------------------------------------------------


def test_every_tensor_that_does_not_fit_is_listed(folder):
    first, second, *_ = sorted(folder.glob("*.safetensors"))
    shutil.copy(folder / "config.json", folder / "kept.json")

    def change(tensors):
        name = min(tensors)
        tensors[name] = tensors[name][..., :-1]
        tensors["model.layers.0.more"] = np.zeros(3)

    index = folder / "model.safetensors.index.json"
    rewritten(first, change)
    gone = json.loads(index.read_text())["weight_map"]
    left_out = [name for name, file in gone.items() if file == second.name]
    rewritten(
        index,
        lambda i: (
            i["weight_map"].update({"model.layers.0.more": first.name})
            or [i["weight_map"].pop(name) for name in left_out]
        ),
    )
    with pytest.raises(CheckpointError) as caught:
        from_pretrained(folder)
    message = str(caught.value)
    assert "surplus model.layers.0.more (3,)" in message
    assert "model.embed_tokens.weight has shape (11, 15) where the model has (11, 16)" in message
    assert all(f"missing {name}" in message for name in left_out)
    assert "config.json" in message
    assert "\n" not in message


def test_integers_are_no_weights(folder):
    for path in folder.glob("*.safetensors"):
        rewritten(path, lambda x: x.update({name: a.astype(np.int8) for name, a in x.items()}))
    with pytest.raises(CheckpointError, match="is of the dtype I8"):
        from_pretrained(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none_here_are_refused(value, tmp_path):
    save_pretrained(built(CONFIGS["gpt2"], "float64"), tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    rewritten(path, lambda x: x["transformer.wte.weight"].__setitem__((2, 3), value))
    with pytest.raises(CheckpointError, match=r"wte\.weight .* not finite in float32"):
        from_pretrained(tmp_path / "out", "float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert', none of gpt2, llama"),
        ({"model_type": None}, "model_type is None"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', and only 'silu'"),
        ({"hidden_act": "tanh"}, "activation 'tanh' is none of"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "rope_type is 'longrope'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor is missing"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "two"}}, "factor is 'two'"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor is 0"),
        ({"rope_scaling": "linear"}, "no table of settings"),
        ({"rope_scaling": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is not 1"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is"),
        ({"num_attention_heads": 3}, "cannot be cut into 3 heads|n_kv_head is 2"),
        ({"num_key_value_heads": 0}, "n_kv_head is 0"),
        ({"hidden_size": "big"}, "width is 'big'"),
        ({"head_dim": 3}, "head_dim is 3"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["chunked"] * 2},
            "chunked",
        ),
        ({"model_type": "mistral", "sliding_window": 0}, "window is 0"),
    ],
)
def test_settings_that_are_not_there_are_named(folder, changes, message):
    rewritten(folder / "config.json", lambda s: s.update(changes))
    with pytest.raises(CheckpointError, match=message) as caught:
        from_pretrained(folder)
    assert "config.json" in str(caught.value)


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_hidden_layers"])
def test_sizes_that_are_missing_are_named(folder, key):
    rewritten(folder / "config.json", lambda s: s.pop(key))
    with pytest.raises(CheckpointError, match=f"{key} is missing"):
        from_pretrained(folder)


def test_files_that_are_missing_or_elsewhere(folder):
    index = folder / "model.safetensors.index.json"
    first, second, *_ = sorted(folder.glob("*.safetensors"))
    whole = index.read_text()
    first.unlink()
    second.unlink()
    with pytest.raises(CheckpointError) as caught:
        from_pretrained(folder)
    assert first.name in str(caught.value)
    assert second.name in str(caught.value)
    for name in ("../model.safetensors", "/etc/passwd", 3):
        rewritten(index, lambda i, name=name: i["weight_map"].update({"x": name}))
        with pytest.raises(CheckpointError, match="is no file in this folder"):
            from_pretrained(folder)
    for text in ("{", "[]", '{"weight_map": 3}', '{"weight_map": {}}', '{"a": 1, "a": 2}'):
        index.write_text(text)
        with pytest.raises(CheckpointError, match=r"index\.json is damaged"):
            from_pretrained(folder)
    index.write_text(whole)
    index.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle, which is not read"):
        from_pretrained(folder)
    with pytest.raises(CheckpointError, match="is missing"):
        from_pretrained(folder / "nowhere")
    (folder / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        from_pretrained(folder)


def test_a_tied_head_that_differs_is_refused(tmp_path):
    model = built(CONFIGS["gpt2"])
    save_pretrained(model, tmp_path)
    path = tmp_path / "model.safetensors"
    rewritten(path, lambda x: x.update({"lm_head.weight": x["transformer.wte.weight"]}))
    assert np.array_equal(
        from_pretrained(tmp_path)(tokens(1, 4)).numpy(), model(tokens(1, 4)).numpy()
    )
    rewritten(path, lambda x: x.update({"lm_head.weight": x["transformer.wte.weight"] + 1}))
    with pytest.raises(CheckpointError, match="differs from the token embedding"):
        from_pretrained(tmp_path)


def test_a_model_far_larger_than_its_files_is_not_built(folder):
    rewritten(folder / "config.json", lambda s: s.update(intermediate_size=10**9))
    with pytest.raises(CheckpointError, match=r"describes .* parameters"):
        from_pretrained(folder)


# ---- files ---------------------------------------------------------------------------------------


def test_every_truncation_and_every_longer_file_is_found(tmp_path):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)})
    whole = path.read_bytes()
    for length in [*range(len(whole)), len(whole) + 1]:
        path.write_bytes((whole + b"\0")[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            TensorFile(path)


def test_a_file_that_lies_is_found(tmp_path):
    path = tmp_path / "t.safetensors"
    a = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    b = {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}
    lies = [
        {"a": a, "b": {**b, "data_offsets": [4, 8]}},  # an overlap
        {"a": a, "b": {**b, "data_offsets": [9, 13]}},  # a gap
        {"a": a},  # bytes of nobody
        {"a": {**a, "shape": [3]}, "b": b},
        {"a": {**a, "shape": [-2]}, "b": b},
        {"a": {**a, "shape": [2.0]}, "b": b},
        {"a": {**a, "shape": None}, "b": b},
        {"a": {**a, "dtype": "F8_E4M3"}, "b": b},
        {"a": {**a, "data_offsets": [8, 0]}, "b": b},
        {"a": {**a, "data_offsets": [0]}, "b": b},
        {"a": 3},
        [],
    ]
    good = {"a": a, "b": b}
    for header in [good, *lies]:
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
        if header is good:
            with TensorFile(path) as file:
                assert file.entries["b"].shape == (1,)
            continue
        with pytest.raises(CheckpointError, match="damaged"):
            TensorFile(path)
    twice = json.dumps({"a": a, "b": b})[:-1] + ', "a": 1}'
    path.write_bytes(len(twice).to_bytes(8, "little") + twice.encode() + bytes(12))
    with pytest.raises(CheckpointError, match="twice"):
        TensorFile(path)


def test_any_view_and_any_size_of_block_is_read(tmp_path, monkeypatch):
    from tinygen.checkpoints import tensor_file

    monkeypatch.setattr(tensor_file, "BLOCK", 40)
    values = tg.random.Generator(0).normal((7, 3, 2))
    path = tmp_path / "t.safetensors"
    tensor_file.write_tensors(path, {"a": values, "t": values.T, "none": values[:0]})
    expected = load_tensors(path)
    assert np.array_equal(expected["t"], values.T)
    with TensorFile(path) as file:
        out = np.zeros((2, 3, 7))
        file.read_into("a", out.T)
        assert np.array_equal(out.T, values)
        file.read_into("none", np.zeros((0, 3, 2)))
