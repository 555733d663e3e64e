"""Sessions of the transformers: cached logits are the full ones, and a row of a ragged batch has
what it has alone, at every split, in float64 to 1e-12."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.decoding import (
    Prefixed,
    RepetitionPenalty,
    Sampler,
    beam_search,
    sample,
    sample_speculatively,
)
from tinygen.decoding.prompts import filled
from tinygen.errors import OutOfRangeError, ShapeError
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig
from tinygen.models.transformer.rope import DynamicScaling

SIZES = {"vocab_size": 11, "block_size": 12, "n_layer": 2, "n_head": 4, "width": 16}
CONFIGS = {
    "gpt": GPTConfig(**SIZES),
    "llama": LlamaConfig(**SIZES, n_kv_head=2, qk_norm=True),
    "mistral": LlamaConfig(**SIZES, n_kv_head=1, window=4),
    "mixed windows": LlamaConfig(**SIZES, window=(3, None)),
    "dynamic": LlamaConfig(**SIZES, rope_scaling=DynamicScaling(2.0, 6)),
}


def built(name):
    model = (GPT if name == "gpt" else Llama)(CONFIGS[name], rng=tg.random.Generator(0))
    model.to(dtype="float64")
    for p in model.parameters():  # large enough for every path to matter
        p.data[...] += 0.2 * tg.random.Generator(f"{p.shape}").normal(p.shape, "float64")
    return model


MODELS = {name: built(name) for name in CONFIGS}
NAMES = st.sampled_from(list(CONFIGS))


def tokens(*shape, seed=0):
    return tg.random.Generator(f"tokens {seed}").integers(0, 11, shape)


def alone(model, text, last=1):
    """The logits after the last tokens of one text, by the whole model, each from its block."""
    found = []
    for back in range(last)[::-1]:
        window = text[: len(text) - back][-model.config.block_size :]
        with model.inference():
            found.append(model(window[None]).numpy()[0, -1])
    return np.stack(found)


def close(found, expected):
    assert abs(found - expected).max() <= 1e-12 * abs(expected).max()


@given(NAMES, st.data())
def test_a_ragged_batch_cut_anywhere_has_the_logits_of_each_text_alone(name, data):
    """Reads of any lengths, first of different prompts, beyond the block and back again."""
    model, session = MODELS[name], MODELS[name].session()
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    texts = [tokens(n, seed=i) for i, n in enumerate(lengths)]
    prompts = filled(texts)
    close(
        session.read(prompts.tokens, padding=prompts.padding)[:, -1],
        np.concatenate([alone(model, text) for text in texts]),
    )
    for turn in range(data.draw(st.integers(1, 4))):
        what = data.draw(st.sampled_from(["read", "rewind", "select", "fork", "ragged"]))
        if what == "rewind":
            n = data.draw(st.integers(0, min(len(text) for text in texts) - 1))
            session.rewind(n)
            texts = [text[: len(text) - n] for text in texts]
        elif what == "select":
            rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=3))
            session.select(np.array(rows))
            texts = [texts[i] for i in rows]
        elif what == "fork":
            other = session
            session = session.fork()
            other.read(tokens(len(texts), 2))  # which the fork must not notice
        T = data.draw(st.integers(1, 5))
        fresh = tokens(len(texts), T, seed=f"{turn}")
        padding = None
        if what == "ragged":
            padding = np.array([data.draw(st.integers(0, T - 1)) for _ in texts])
        last = data.draw(st.integers(1, T if padding is None else T - int(padding.max())))
        found = session.read(fresh, last=last, padding=padding)
        left = np.zeros(len(texts), int) if padding is None else padding
        texts = [np.append(a, b[n:]) for a, b, n in zip(texts, fresh, left, strict=True)]
        close(found, np.stack([alone(model, text, last) for text in texts]))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seeded", [False, True])
def test_generation_is_the_same_without_a_cache(name, seeded):
    model = MODELS[name]
    options = {"temperature": 0.9, "top_k": 7} if seeded else {"temperature": 0}
    prompts = [tokens(n, seed=n) for n in (3, 1, 7)]

    def run(cache):
        rng = tg.random.Generator("seed") if seeded else None
        return [
            t.tolist()
            for t in model.generate(prompts, max_new_tokens=14, rng=rng, cache=cache, **options)
        ]

    assert run(True) == run(False)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_way_to_decode_works_on_it_as_without_a_cache(name):
    model, draft = MODELS[name], MODELS["gpt"]
    prompt = tokens(1, 4)
    greedy = {"max_new_tokens": 12, "sampler": Sampler(0), "processors": [RepetitionPenalty(1.2)]}
    plain = [int(s.tokens[0]) for s in sample(model, prompt, **greedy)]
    steps = sample_speculatively(model, draft, prompt, proposals=3, **greedy)
    assert [int(s.tokens[0]) for s in steps] == plain
    prefixed = Prefixed(model, prompt[:, :3])
    for _ in range(2):
        assert [int(s.tokens[0]) for s in sample(prefixed, prompt, **greedy)] == plain
    one = beam_search(model, prompt, max_new_tokens=12, beams=1)
    free = sample(model, prompt, max_new_tokens=12, sampler=Sampler(0))
    assert [int(s.tokens[0]) for s in one] == [int(s.tokens[0]) for s in free]


def test_a_sliding_cache_has_the_memory_of_its_window():
    cache = nn.KeyValueCache(10**6, window=5)
    k = np.arange(3000.0).reshape(1, 1, 3000, 1)
    for i in range(3000):
        keys, values = cache.append(k[:, :, i : i + 1], -k[:, :, i : i + 1])
        assert keys.ravel().tolist() == list(range(max(0, i - 4), i + 1))
        assert np.array_equal(keys, -values)
    assert cache.keys.shape[2] < 400
    assert cache.length == 3000
    cache.rewind(60)
    keys, _ = cache.append(k[:, :, :3], k[:, :, :3])
    assert keys.ravel().tolist() == [2936, 2937, 2938, 2939, 0, 1, 2]
    with pytest.raises(ShapeError, match="cannot forget 2000"):
        cache.rewind(2000)


def test_bad_input_is_explained():
    model = MODELS["gpt"]
    for prompt in (np.array([[0, 11]]), [np.array([3]), np.array([-1, 2])]):
        with pytest.raises(OutOfRangeError, match=r"0 \.\.\. 10"):
            model.generate(prompt, max_new_tokens=1, temperature=0)
    long = tokens(1, 40)
    found = list(model.generate(long, max_new_tokens=1, temperature=0))
    assert found[0][0] == alone(model, long[0]).argmax()
