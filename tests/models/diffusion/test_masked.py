"""Masked diffusion on a small Markov chain, where every probability is known by enumeration."""

import itertools
import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops, optim
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.diffusion.masked import MaskedConfig, MaskedDiffusion, MaskedTransformer

V, T = 3, 4
START = np.array([0.5, 0.3, 0.2])
MOVE = np.array([[0.8, 0.15, 0.05], [0.1, 0.1, 0.8], [0.45, 0.5, 0.05]])
ALL = np.array(list(itertools.product(range(V), repeat=T)))  # (81, 4)
P = START[ALL[:, 0]] * np.prod(MOVE[ALL[:, :-1], ALL[:, 1:]], axis=1)  # (81,)
ENTROPY = -(P * np.log(P)).sum()
PATTERNS = np.array(list(itertools.product([False, True], repeat=T)))[1:]  # all masks but none


def generator(seed=0):
    return tg.random.Generator(seed)


STATES = np.array(list(itertools.product(range(V + 1), repeat=T)))  # with masks, (256, 4)
FITS = ((STATES[:, None] == ALL) | (STATES[:, None] == V)).all(axis=-1)  # (256, 81)
JOINT = ((FITS * P) @ np.eye(V)[ALL].reshape(len(ALL), -1)).reshape(-1, T, V)
TABLE = np.log(np.maximum(JOINT / JOINT.sum(axis=-1, keepdims=True), 1e-300))


class Conditionals(nn.Module):
    """The best network there is: log p(token_i | the tokens seen), by enumeration."""

    def forward(self, tokens):
        return TABLE[tokens @ (V + 1) ** np.arange(T)[::-1]]


class Wrong(Conditionals):
    """The same, bent."""

    def forward(self, tokens):
        return super().forward(tokens) * 0.7 + generator("bend").normal((T, V), "float64")


TRUE = MaskedDiffusion(Conditionals(), V)
BENT = MaskedDiffusion(Wrong(), V)


def exact_nelbo(model, tokens):
    """The bound of each sequence (B,), without sampling: the masks are enumerated, and the integral
    over t of t^k (1 - t)^(T - k) / t, for k masked tokens, is Beta(k, T - k + 1)."""
    total = np.zeros(len(tokens))
    for pattern in PATTERNS:
        k = int(pattern.sum())
        weight = math.gamma(k) * math.gamma(T - k + 1) / math.gamma(T + 1)
        uniform = np.tile(np.where(pattern, 0.0, 1.0), (len(tokens), 1))  # below t = 1: masked
        with model.inference():
            losses = model.losses(tokens, t=1.0, uniform=uniform)
        total += weight * np.asarray(losses, np.float64).sum(axis=1)
    return total


def test_with_the_true_conditionals_the_bound_is_the_likelihood():
    assert np.allclose(exact_nelbo(TRUE, ALL), -np.log(P), rtol=1e-12)


def test_no_other_network_is_below_the_entropy():
    """E[NELBO] >= E[-log p], and here well above it; for each order of guessing the gap is a KL."""
    expected = (P * exact_nelbo(BENT, ALL)).sum()
    assert expected >= ENTROPY + 0.1
    assert (P * exact_nelbo(TRUE, ALL)).sum() <= ENTROPY * (1 + 1e-12)


@pytest.mark.parametrize("model", [TRUE, BENT], ids=["true", "bent"])
def test_the_loss_is_an_unbiased_estimate_of_the_bound(model):
    rng, n = generator(1), 4000
    row = np.array([0, 1, 2, 1])
    truth = exact_nelbo(model, row[None])[0]
    estimates = model.nelbo(np.tile(row, (n, 1)), rng=rng)
    error = estimates.std() / math.sqrt(n)
    assert abs(estimates.mean() - truth) <= 5 * error
    assert error <= 0.1 * truth
    loss = float(model.loss(np.tile(row, (n, 1)), rng=generator(1)))
    assert math.isclose(loss * T, estimates.mean(), rel_tol=1e-12)


def test_a_mask_counts_by_one_over_its_time():
    tokens, uniform = ALL[:5], generator().uniform((5, T), dtype="float64") * 0.5
    t = np.array([0.5, 0.6, 0.7, 0.8, 1.0])  # everything is masked at all of these
    at_one = BENT.losses(tokens, t=1.0, uniform=uniform)
    assert np.allclose(BENT.losses(tokens, t=t, uniform=uniform), at_one / t[:, None], rtol=1e-14)
    assert math.isclose(BENT.loss(tokens, t=1.0, uniform=uniform), at_one.mean(), rel_tol=1e-14)
    nothing_masked = np.ones((5, T))
    assert float(BENT.loss(tokens, t=t * 0.9, uniform=nothing_masked)) == 0


def test_times_are_spread_over_the_batch():
    seen = []

    class Spy(nn.Module):
        def forward(self, tokens):
            seen.append((tokens == V).mean(axis=1))
            return np.zeros((*tokens.shape, V))

    spy = MaskedDiffusion(Spy(), V)
    spy.loss(np.zeros((8, 5000), np.int64), rng=generator())
    shares = np.sort(seen[0])
    assert (abs(np.diff(shares) - 1 / 8) <= 0.04).all()


def test_seen_tokens_are_certain_and_the_mask_is_never_guessed():
    tokens = np.array([[V, 0, V, 2], [1, 1, 1, 1]])
    probs = BENT.probabilities(tokens)
    assert probs.shape == (2, T, V)
    assert np.allclose(probs.sum(-1), 1, rtol=1e-14)
    assert (probs[tokens != V] == np.eye(V)[tokens[tokens != V]]).all()
    assert (probs[0, [0, 2]] > 0).all()


# ---- sampling


def test_a_temperature_sharpens_the_guess_and_keeps_what_is_seen():
    tokens = np.array([[V, 0, V, 2]])
    plain, cold = BENT.probabilities(tokens), BENT.probabilities(tokens, 0.5)
    np.testing.assert_allclose(cold, plain**2 / (plain**2).sum(-1, keepdims=True), atol=1e-12)
    assert (cold != plain).any()
    with pytest.raises(UsageError, match="temperature is 0"):
        BENT.sample(tokens, 2, temperature=0, rng=generator())


def frequencies(tokens):
    return np.bincount(tokens @ V ** np.arange(T)[::-1], minlength=V**T)


def chi_squared(found, expected):
    """(statistic - degrees of freedom) / its standard deviation."""
    n = found.sum()
    kept = expected * n > 1
    statistic = ((found - n * expected)[kept] ** 2 / (n * expected)[kept]).sum()
    return (statistic - kept.sum()) / math.sqrt(2 * kept.sum())


def test_many_steps_sample_the_chain():
    n = 10_000
    *_, end = TRUE.sample(np.full((n, T), V), 200, rng=generator(2))
    assert abs(chi_squared(frequencies(end.tokens), P)) <= 5


def test_one_step_samples_the_product_of_the_marginals():
    n = 20_000
    marginals = (P @ np.eye(V)[ALL].reshape(len(ALL), -1)).reshape(T, V)
    product = np.prod(marginals[np.arange(T), ALL], axis=1)
    (end,) = TRUE.sample(np.full((n, T), V), 1, rng=generator(3))
    assert abs(chi_squared(frequencies(end.tokens), product)) <= 5
    assert chi_squared(frequencies(end.tokens), P) >= 50  # and the chain is told apart


def test_what_is_seen_is_kept_and_the_rest_is_its_posterior():
    n = 20_000
    start = np.tile([V, 1, V, 0], (n, 1))
    steps = list(TRUE.sample(start, 60, rng=generator(4)))
    fits = (ALL[:, 1] == 1) & (ALL[:, 3] == 0)
    posterior = np.where(fits, P, 0) / P[fits].sum()
    assert ((steps[-1].tokens[:, [1, 3]]) == [1, 0]).all()
    assert abs(chi_squared(frequencies(steps[-1].tokens), posterior)) <= 5


def test_steps_only_ever_fill_masks_at_the_stated_rate():
    n = 5000
    times = [1.0, 0.9, 0.5, 0.2, 0.0]
    before = np.full((n, T), V)
    for i, (step, t, tokens) in enumerate(TRUE.sample(before, times, rng=generator(5))):
        assert (step, t) == (i, times[i + 1])
        kept = before != V
        assert (tokens[kept] == before[kept]).all()
        share = (tokens == V).mean()
        assert abs(share - t) <= 5 * math.sqrt(t * (1 - t) / (n * T))
        before = tokens
    assert (before < V).all()


def test_sampling_is_lazy_and_reproducible():
    steps = TRUE.sample(np.full((2, T), V), 10**6, rng=generator())
    assert len(list(itertools.islice(steps, 3))) == 3
    one, two = (list(TRUE.sample(np.full((5, T), V), 9, rng=generator(6)))[-1] for _ in range(2))
    assert np.array_equal(one.tokens, two.tokens)


# ---- the transformer


def transformer(n_layer=1):
    config = MaskedConfig(V, T, n_layer=n_layer, n_head=2, width=32)
    return MaskedTransformer(config, rng=generator())


def test_every_position_sees_every_other():
    model = transformer().to(dtype="float64")
    embedded = []
    model.token_embedding.register_forward_hook(
        lambda module, args, result: (
            embedded.append(result.detach().requires_grad_()) or embedded[-1]
        )
    )
    logits = model(np.array([[V, 0, V, 1]]))
    assert logits.shape == (1, T, V)
    for i in range(T):
        weight = generator(i).normal((V,), "float64")
        (grad,) = tg.grad((logits[0, i] * weight).sum(), embedded[0], retain_graph=True)
        assert (abs(grad.numpy()[0]).max(axis=-1) > 0).all()
    swapped = model(np.array([[0, V, V, 1]])).numpy()  # position matters
    assert not np.allclose(swapped[0, 0], logits.numpy()[0, 1])


def test_an_untrained_network_guesses_uniformly_on_average():
    model = MaskedDiffusion(transformer(), V)
    nelbo = exact_nelbo(model, ALL[:9]).mean()
    assert abs(nelbo - T * math.log(V)) <= 0.5


def trained(n_layer, steps, lr):
    rng = generator("train")
    model = MaskedDiffusion(transformer(n_layer), V)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = optim.Cosine(steps, warmup=20)
    cumulative = np.cumsum(P)
    for step in range(steps):
        chosen = np.searchsorted(cumulative, rng.uniform((256,), dtype="float64") * cumulative[-1])
        loss = model.loss(ALL[chosen], rng=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(schedule(step))
    return (P * exact_nelbo(model, ALL)).sum()


def test_training_closes_the_gap():
    """The exact bound of a transformer that learns the chain comes down towards the entropy."""
    assert ENTROPY <= trained(1, 200, 5e-3) <= ENTROPY + 0.07 * (T * math.log(V) - ENTROPY)


@pytest.mark.deep
def test_long_training_leaves_no_gap():
    assert ENTROPY <= trained(2, 2000, 2e-3) <= ENTROPY + 0.015


# ---- bad input

TOKENS = np.zeros((2, T), np.int64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TRUE.loss(TOKENS), UsageError, "rng"),
        (lambda: TRUE.loss(TOKENS + V, rng=generator()), OutOfRangeError, "0 ... 2"),
        (lambda: TRUE.loss(TOKENS - 1, rng=generator()), OutOfRangeError, "-1"),
        (lambda: TRUE.loss(TOKENS[0], rng=generator()), ShapeError, r"\(B, T\)"),
        (lambda: TRUE.loss(TOKENS[:0], rng=generator()), ShapeError, "mean over none"),
        (lambda: TRUE.sample(TOKENS, ["a"], rng=generator()), UsageError, "sequence of numbers"),
        (lambda: TRUE.loss(TOKENS * 1.0, rng=generator()), DtypeError, "float64"),
        (lambda: TRUE.loss([[1]], rng=generator()), DtypeError, "list"),
        (lambda: TRUE.loss(TOKENS, t="a", rng=generator()), UsageError, "these are a"),
        (lambda: TRUE.loss(TOKENS, t=0.0, uniform=TOKENS * 0.5), UsageError, r"\(0, 1\]"),
        (lambda: TRUE.loss(TOKENS, t=np.array([0.5, 1.1]), rng=generator()), UsageError, "1.1"),
        (lambda: TRUE.loss(TOKENS, t=np.ones(3), uniform=TOKENS * 0.5), ShapeError, r"\(3,\)"),
        (lambda: TRUE.sample(TOKENS + V + 1, 3, rng=generator()), OutOfRangeError, "0 ... 3"),
        (lambda: TRUE.sample(TOKENS, 0, rng=generator()), UsageError, "times is 0"),
        (lambda: TRUE.sample(TOKENS, [1.0], rng=generator()), UsageError, "one step or more"),
        (lambda: TRUE.sample(TOKENS, [1, 0.5], rng=generator()), UsageError, "from 1 to 0"),
        (lambda: TRUE.sample(TOKENS, [1, 0.5, 0.5, 0], rng=generator()), UsageError, "strictly"),
        (lambda: TRUE.nelbo(TOKENS, rng=generator(), samples=0), UsageError, "samples"),
        (lambda: transformer()(np.zeros((1, T + 1), np.int64)), ShapeError, "5 positions"),
        (lambda: MaskedConfig(0, 1, 1, 1, 1), UsageError, "vocab_size is 0"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_gradients_reach_every_parameter():
    model = MaskedDiffusion(transformer(), V)
    model.loss(ALL, rng=generator()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert np.isfinite(p.grad.numpy()).all()
    assert ops.sum(ops.abs(model.network.head.weight.grad)).item() > 0
