"""A folder of the transformers package with its tokenizer: the same text there and here."""

import json

import pytest

from tinygen.cli.main import main

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

TEXT = "the quick brown fox jumps over the lazy dog. Ünïcödé, too: 你好.\n" * 40
PROMPT = "the quick"


@pytest.fixture
def folder(tmp_path):
    """A random Llama and a byte-level BPE, as the packages write them."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<end>"], show_progress=False
    )
    bpe.train_from_iterator([TEXT], trainer)
    config = transformers.LlamaConfig(
        vocab_size=bpe.get_vocab_size(), hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
        bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    bpe.save(str(tmp_path / "model" / "tokenizer.json"))
    return tmp_path / "model"


@pytest.mark.parametrize("old", [False, True])
def test_the_likeliest_text_is_the_same(folder, old, capsys):
    bpe = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    if old:  # as GPT-2 keeps it
        bpe.model.save(str(folder))
        (folder / "tokenizer.json").unlink()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([bpe.encode(PROMPT).ids])
    written = model.generate(ids, max_new_tokens=20, do_sample=False)[0]
    expected = bpe.decode(written.tolist())
    options = ["--prompt", PROMPT, "--tokens", "20", "--temperature", "0", "--json"]
    assert main(["sample", str(folder), *options]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == [expected]


def test_an_exported_tokenizer_is_the_packages_too(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    data = ["--data", "text.txt", "--tokenizer", "bpe", "--data.vocab-size", "280"]
    sizes = ["--model.n-layer", "1", "--model.width", "16", "--model.n-head", "2", "--steps", "2"]
    sizes += ["--model.block-size", "8"]
    assert main(["train", "llama", *data, *sizes, "--out", "run"]) == 0
    assert main(["export", "run", "--out", "model"]) == 0
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file="model/tokenizer.json")
    model = transformers.AutoModelForCausalLM.from_pretrained("model").eval()
    ids = theirs(PROMPT, return_tensors="pt")["input_ids"]
    # From the last block_size tokens, as the run's own window is.
    written = model.generate(ids, max_new_tokens=8 - ids.shape[1], do_sample=False)[0]
    capsys.readouterr()
    count = str(8 - ids.shape[1])
    options = ["--prompt", PROMPT, "--tokens", count, "--temperature", "0", "--json"]
    assert main(["sample", "model", *options]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == [theirs.decode(written)]
