"""Every way to sample draws texts with exactly the probabilities that enumeration gives them."""

import numpy as np
import pytest
from tables import TableModel, TableSession, assert_distributed, log_prob, texts

import tinygen as tg
from tinygen.decoding import (
    FrequencyPenalty,
    LogitBias,
    NoRepeatNGram,
    Prefixed,
    RepetitionPenalty,
    Sampler,
    Watermark,
    sample,
    sample_speculatively,
)
from tinygen.decoding.processors import Context, processed

V, LENGTH, PROMPT = 3, 3, (2, 0)
MODEL, DRAFT = TableModel(V, "large"), TableModel(V, "small", states=5)


def enumerated(sampler, processors=(), ended=lambda added: False, model=MODEL):
    def step(text):
        context = Context(np.array(text), len(PROMPT), LENGTH + len(PROMPT) - len(text))
        logits = model.logits(np.array([text]))[:, -1]
        return sampler.probabilities(processed(processors, [context], logits))[0]

    return texts(step, PROMPT, LENGTH, V, ended)


def drawn(n, rows=1, way=sample, **options):
    """n texts, `rows` at a time from one generator."""
    rng, found = tg.random.Generator("texts"), []
    prompt = np.array([PROMPT] * rows)
    while len(found) < n:
        steps = list(way(prompts=prompt, max_new_tokens=LENGTH, rng=rng, **options))
        columns = np.stack([step.tokens for step in steps], axis=1)
        found += [tuple(int(t) for t in row if t >= 0) for row in columns]
    return found


WAYS = {
    "the model's own": (Sampler(), ()),
    "temperature": (Sampler(0.6), ()),
    "top-k": (Sampler(top_k=2), ()),
    "top-p": (Sampler(1.3, top_p=0.7), ()),
    "min-p": (Sampler(min_p=0.3), ()),
    "repetition penalty": (Sampler(), (RepetitionPenalty(1.7),)),
    "frequency and presence": (Sampler(), (FrequencyPenalty(0.5, 0.8),)),
    "no repeated pairs": (Sampler(), (NoRepeatNGram(2),)),
    "bias": (Sampler(), (LogitBias({1: 1.0, 2: -np.inf}),)),
    "watermark": (Sampler(), (Watermark("key", V, green=0.5),)),
}


@pytest.mark.parametrize("name", WAYS)
def test_sampling_is_distributed_as_enumerated(name):
    sampler, processors = WAYS[name]
    found = drawn(4000, rows=1000, model=MODEL, sampler=sampler, processors=processors)
    assert_distributed(found, enumerated(sampler, processors))


@pytest.mark.parametrize(
    ("name", "proposals"),
    [("the model's own", 1), ("top-p", 2), ("frequency and presence", 2), ("the model's own", 5)],
)
def test_speculation_is_distributed_as_enumerated(name, proposals):
    sampler, processors = WAYS[name]
    options = {"model": MODEL, "draft": DRAFT, "sampler": sampler, "processors": processors}
    found = drawn(1000, way=sample_speculatively, proposals=proposals, **options)
    assert_distributed(found, enumerated(sampler, processors))


@pytest.mark.parametrize("draft", [MODEL, DRAFT, TableModel(V, "far off", spread=4)])
def test_rows_that_speculate_together_are_distributed_as_enumerated(draft):
    options = {"model": MODEL, "draft": draft, "proposals": 2}
    found = drawn(900, rows=3, way=sample_speculatively, **options)
    for row in range(3):
        assert_distributed(found[row::3], enumerated(Sampler()), level=3e-4)


@pytest.mark.parametrize("way", [sample, sample_speculatively])
def test_rows_that_end_are_distributed_as_enumerated(way):
    """Token 1 ends a text, in a batch whose other rows go on."""
    options = {"draft": DRAFT, "proposals": 3} if way is sample_speculatively else {}
    found = drawn(1500, rows=3, way=way, model=MODEL, end=1, **options)
    assert_distributed(found, enumerated(Sampler(), ended=lambda added: added[-1:] == (1,)))


def test_a_speculation_with_the_model_itself_keeps_every_proposal():
    """q = p is never refused: each round reads all proposals and adds one token more."""
    model = TableModel(V, "large")
    sessions = []
    model.session = lambda: sessions.append(TableSession(model)) or sessions[-1]
    rng = tg.random.Generator(0)
    steps = sample_speculatively(
        model, MODEL, np.array([PROMPT]), max_new_tokens=12, proposals=3, rng=rng
    )
    assert len(list(steps)) == 12
    assert sessions[0].reads == [len(PROMPT) + 3, 4, 4]


@pytest.mark.parametrize("proposals", [1, 3])
def test_both_models_read_the_text_that_was_written(proposals):
    """A draft model that proposes after another text is no less exact, and of no use."""
    model, draft, sessions = TableModel(V, "large"), TableModel(V, "small"), []
    for each in (model, draft):
        each.session = lambda each=each: sessions.append(TableSession(each)) or sessions[-1]
    rng = tg.random.Generator(3)
    options = {"max_new_tokens": 30, "proposals": proposals, "rng": rng}
    steps = sample_speculatively(model, draft, np.array([PROMPT]), **options)
    text = [*PROMPT, *(int(s.tokens[0]) for s in steps)]
    proposed = sessions[1].text[0].tolist()
    assert len(proposed) > len(text) - proposals - 3
    assert (
        proposed[: len(text)] == text[: len(proposed)] or proposed[:-1] == text[: len(proposed) - 1]
    )


@pytest.mark.parametrize("proposals", [1, 3, 8])
@pytest.mark.parametrize("processors", [(), (NoRepeatNGram(3), RepetitionPenalty(1.3))])
def test_greedy_speculation_is_greedy_sampling(proposals, processors):
    options = {"max_new_tokens": 8, "sampler": Sampler(0), "processors": processors}
    prompt = np.array([[0, 1], [2, 2], [1, 0]])
    plain = [s.tokens.tolist() for s in sample(MODEL, prompt, **options)]
    steps = sample_speculatively(MODEL, DRAFT, prompt, proposals=proposals, **options)
    assert [s.tokens.tolist() for s in steps] == plain


@pytest.mark.parametrize("way", [sample, sample_speculatively])
def test_log_probabilities_are_the_models_own(way):
    options = {"draft": DRAFT} if way is sample_speculatively else {}
    steps = list(
        way(
            MODEL,
            prompts=np.array([PROMPT] * 4),
            max_new_tokens=5,
            sampler=Sampler(0.5, top_k=2),
            rng=tg.random.Generator(1),
            processors=[FrequencyPenalty(1.0)],
            end=1,
            **options,
        )
    )
    for row in range(4):
        added = [int(s.tokens[row]) for s in steps if s.tokens[row] >= 0]
        total = sum(s.log_probs[row] for s in steps)
        assert abs(total - log_prob(MODEL, PROMPT, added)) < 1e-12


def test_a_stream_for_each_row_draws_what_the_row_would_alone():
    prompt, seeds = np.array([[0, 1], [2, 2], [1, 0]]), [5, 6, 7]

    def run(rows):
        streams = [tg.random.Generator(seeds[i]) for i in rows]
        steps = sample(MODEL, prompt[rows], max_new_tokens=9, rng=streams, end=1)
        return np.stack([s.tokens for s in steps], axis=1)

    together = run([0, 1, 2])
    for row in range(3):
        alone = run([row])[0]
        assert np.array_equal(together[row][: len(alone)], alone)
        assert (together[row][len(alone) :] == -1).all()


def test_a_prefix_is_read_once_and_changes_nothing():
    """Of prompts that go on after it, that end within it or with it, and that depart from it."""
    prefixed = Prefixed(MODEL, np.array([[1, 1, 0]]))
    reads = []
    after = prefixed.after
    prefixed.after = lambda n: reads.append(n) or after(n)
    cases = [([[1, 1, 0, 2]], 3), ([[1, 1, 0]], 2), ([[1]], 0), ([[1, 1]], 1), ([[1, 2, 0, 0]], 1)]
    cases += [([[0, 1]], 0), ([[1, 1, 0, 2], [1, 1, 0, 0]], 3), ([[1, 1, 0, 2], [1, 1, 1, 1]], 2)]
    for prompt, shared in cases:
        options = {"max_new_tokens": 6, "sampler": Sampler(0)}
        options["processors"] = [RepetitionPenalty(1.3)]  # which sees the prefix too
        found = sample(prefixed, np.array(prompt), **options)
        plain = sample(MODEL, np.array(prompt), **options)
        assert [s.tokens.tolist() for s in found] == [s.tokens.tolist() for s in plain]
        assert reads.pop() == shared
