"""Small models, and folders of them that a test can damage."""

import json

import tinygen as tg
from tinygen.checkpoints import load_tensors, save_tensors
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig, save_pretrained

SIZES = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 4, "width": 16}


def built(config, dtype="float32"):
    kind = GPT if isinstance(config, GPTConfig) else Llama
    model = kind(config, rng=tg.random.Generator(0)).to(dtype=dtype).eval()
    for name, p in model.named_parameters():
        p.data[...] += 0.3 * tg.random.Generator(name).normal(p.shape)
    return model


def tokens(*shape):
    return tg.random.Generator("tokens").integers(0, SIZES["vocab_size"], shape)


def llama_folder(parent):
    """A Llama in several files."""
    model = built(LlamaConfig(**SIZES, n_kv_head=2, hidden=24))
    save_pretrained(model, parent / "model", shard_bytes=6000)
    return parent / "model"


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
