"""Bad folders of the transformers package: each gives one error that names what is wrong."""

import json

import numpy as np
import pytest
from folders import SIZES, built, llama_folder, rewritten, tokens
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.checkpoints import load_tensors
from tinygen.errors import CheckpointError
from tinygen.models.transformer import (
    GPTConfig,
    from_pretrained,
    save_pretrained,
)


@pytest.fixture
def folder(tmp_path):
    """A Llama in several files."""
    return llama_folder(tmp_path)


@settings(max_examples=40)
@given(data=st.data())
def test_a_folder_that_was_damaged_at_random_loads_or_is_refused(tmp_path_factory, data):
    """A byte or a setting of one file is another, or the file is cut: never another error."""
    folder = llama_folder(tmp_path_factory.mktemp("damaged"))
    names = sorted(path.name for path in folder.iterdir())
    path = folder / data.draw(st.sampled_from([*names, "config.json", "config.json"]))
    content = bytearray(path.read_bytes())
    if path.name == "config.json" and data.draw(st.booleans()):
        table = json.loads(content)
        value = data.draw(
            st.sampled_from([None, -1, 0, 1, 2.5, 1e300, 10**30, "x", "", [], {}, True, [None]])
        )
        table[data.draw(st.sampled_from(sorted(table)))] = value
        content = bytearray(json.dumps(table).encode())
    elif data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, min(len(content), 1500) - 1))
        content[place] = data.draw(st.sampled_from(list(b'0123456789-.eE{}[]",:ntf \xff\x00')))
    path.write_bytes(content)
    message = ""
    try:
        from_pretrained(folder)
    except CheckpointError as error:
        message = str(error)
    assert "\n" not in message


def test_every_tensor_that_does_not_fit_is_listed(folder):
    first, second, third, *_ = sorted(folder.glob("*.safetensors"))
    lost = sorted(load_tensors(second))

    def change(tensors):
        name = min(tensors)
        tensors[name] = tensors[name][..., :-1]
        tensors["model.layers.0.more"] = np.zeros(3)

    rewritten(first, change)
    rewritten(second, lambda tensors: [tensors.pop(name) for name in lost])
    with pytest.raises(CheckpointError) as caught:
        from_pretrained(folder)
    message = str(caught.value)
    assert "surplus model.layers.0.more (3,)" in message
    assert "model.embed_tokens.weight has shape (11, 15) where the model has (11, 16)" in message
    assert all(f"missing {name} (" in message for name in lost)
    assert "config.json" in message
    assert "\n" not in message
    more = {lost[0]: np.zeros(2), "model.layers.0.more": np.zeros(3)}
    rewritten(second, lambda tensors: tensors.update(more))
    rewritten(third, lambda tensors: tensors.update(more))
    with pytest.raises(CheckpointError) as caught:
        from_pretrained(folder)
    assert f"{lost[0]} is in {third.name} too" in str(caught.value)
    assert f"model.layers.0.more is in {second.name} too" in str(caught.value)


def test_integers_are_no_weights(folder):
    for path in folder.glob("*.safetensors"):
        rewritten(path, lambda x: x.update({name: a.astype(np.int8) for name, a in x.items()}))
    with pytest.raises(CheckpointError, match="is of the dtype I8"):
        from_pretrained(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none_here_are_refused(value, tmp_path):
    save_pretrained(built(GPTConfig(**SIZES), "float64"), tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    rewritten(path, lambda x: x["transformer.wte.weight"].__setitem__((2, 3), value))
    with pytest.raises(CheckpointError, match=r"wte\.weight .* not finite in float32"):
        from_pretrained(tmp_path / "out", "float32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type is 'bert', none of gpt2, llama"),
        ({"model_type": None}, "model_type is None"),
        ({"model_type": ["llama"]}, r"model_type is \['llama'\]"),
        ({"hidden_act": ["silu"]}, r"activation \['silu'\] is none of"),
        ({"mlp_bias": {}}, "mlp_bias is {}, neither true nor false"),
        ({"tie_word_embeddings": 2}, "tie_word_embeddings is 2, neither"),
        ({"num_hidden_layers": 10**30}, "and no more than 10000 are read"),
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
    model = built(GPTConfig(**SIZES))
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
