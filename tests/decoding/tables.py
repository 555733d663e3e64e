"""Models so small that all their texts can be listed, and the exact test of a sample of texts."""

import itertools

import numpy as np

import tinygen as tg
from tinygen.decoding.rows import log_softmax


class TableModel:
    """Logits from a table: row h, where h mixes the text read so far. A session, and a model."""

    def __init__(self, vocab_size, seed=0, states=7, spread=1.5):
        self.vocab_size, self.states = vocab_size, states
        rng = tg.random.Generator(f"table {seed}")
        self.table = spread * rng.normal((states, vocab_size), "float64")

    def logits(self, tokens):
        """(B, T) -> (B, T, V)."""
        state, found = np.zeros(len(tokens), int), []
        for column in tokens.T:
            state = (3 * state + column + 1) % self.states
            found.append(self.table[state])
        return np.stack(found, axis=1)

    def session(self):
        return TableSession(self)


class TableSession:
    def __init__(self, model):
        self.model, self.text, self.reads = model, None, []

    def read(self, tokens, last=1, padding=None):
        assert padding is None
        assert last <= tokens.shape[1]
        self.reads.append(tokens.shape[1])
        if self.text is not None:
            tokens = np.concatenate(
                [np.repeat(self.text, len(tokens) // len(self.text), 0), tokens], 1
            )
        self.text = tokens
        return self.model.logits(tokens)[:, -last:]

    def rewind(self, n):
        self.text = self.text[:, : self.text.shape[1] - n]

    def select(self, rows):
        self.text = self.text[rows]

    def fork(self):
        other = TableSession(self.model)
        other.text = self.text.copy()
        return other


def texts(step_probs, prompt, length, vocab_size, ended=lambda added: False):
    """{added tokens: probability} of every text, by `step_probs(prompt + added) -> (V,)`."""
    found = {}

    def grow(added, p):
        if len(added) == length or ended(added):
            found[added] = found.get(added, 0) + p
            return
        for token, q in enumerate(step_probs((*prompt, *added))):
            if q:
                grow((*added, token), p * q)

    grow((), 1.0)
    return found


def multinomial_p_value(counts, probabilities, seed=0, simulations=2000):
    """The exact test of multinomial counts, by simulation: how often counts drawn from the
    distribution are as unlikely by the likelihood ratio as those that were found."""
    counts, probabilities = np.asarray(counts), np.asarray(probabilities, float)
    n = counts.sum()
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, probabilities / probabilities.sum(), size=simulations)

    def deviance(c):
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(c > 0, c * np.log(c / (n * probabilities)), 0)
        return terms.sum(axis=-1)

    return (1 + (deviance(drawn) >= deviance(counts) - 1e-9).sum()) / (1 + simulations)


def assert_distributed(samples, expected, level=1e-3):
    """Samples (tuples of tokens) against {text: probability}."""
    unexpected = set(samples) - expected.keys()
    assert not unexpected, f"texts of probability 0: {unexpected}"
    keys = list(expected)
    assert abs(sum(expected.values()) - 1) < 1e-9
    counts = [samples.count(key) for key in keys]
    assert multinomial_p_value(counts, [expected[key] for key in keys]) > level


def all_texts(vocab_size, length):
    return list(itertools.product(range(vocab_size), repeat=length))


def log_prob(model, prompt, added):
    """log p of the added tokens after the prompt."""
    text = np.array([[*prompt, *added]])
    found = log_softmax(model.logits(text)[0])
    return sum(found[len(prompt) - 1 + i, token] for i, token in enumerate(added))
