"""VQ-VAE and FSQ: codes, straight-through gradients, the running codebook, dead codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.errors import DivergedError, DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.vae import FSQ, VQVAE, Bernoulli, VectorQuantizer, VQVAEConfig, usage


def generator(seed=0):
    return tg.random.Generator(seed)


def normal(*shape, seed="z"):
    return generator(seed).normal(shape, "float64")


def quantizer64(codes=5, width=3, **options):
    return VectorQuantizer(codes, width, rng=generator(), **options).to(dtype="float64")


def plain_nearest(z, codebook):
    distances = ((z[..., None, :] - codebook) ** 2).sum(-1)
    return distances.argmin(-1)


# ---- vector quantisation -------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(0,), (1,), (7,), (2, 3, 4)])
def test_each_vector_gets_its_nearest_code(lead):
    quantizer = quantizer64().eval()
    z = normal(*lead, 3)
    found = quantizer(z)
    assert np.array_equal(found.indices, plain_nearest(z, quantizer.codebook.data))
    assert np.allclose(found.codes, quantizer.lookup(found.indices), rtol=0, atol=1e-15)


@pytest.mark.parametrize("quantizer", [quantizer64(), quantizer64(decay=None), FSQ((3, 4, 5))])
def test_the_straight_through_gradient_is_the_identity(quantizer):
    z = tg.tensor(normal(4, 3), requires_grad=True)
    g = normal(4, 3, seed="g")
    (grad,) = tg.grad(quantizer.eval()(z).codes, z, g)
    if isinstance(quantizer, FSQ):  # of the tanh before it, that is
        slope = 1 - np.tanh(z.numpy()) ** 2
        assert np.allclose(grad.numpy(), g * slope, rtol=1e-14)
    else:
        assert np.array_equal(grad.numpy(), g)


def test_the_commitment_pulls_z_and_the_codebook_loss_its_codes():
    quantizer = quantizer64(decay=None, commitment=0.5)
    z = tg.tensor(normal(6, 3), requires_grad=True)
    found = quantizer(z)
    gap = z.numpy() - quantizer.lookup(found.indices)
    assert found.loss.item() == pytest.approx(1.5 * (gap**2).sum(), rel=1e-13)
    found.loss.backward()
    assert np.allclose(z.grad.numpy(), 2 * 0.5 * gap, rtol=1e-13)
    expected = np.zeros((5, 3))
    np.add.at(expected, found.indices, -2 * gap)
    assert np.allclose(quantizer.codebook.grad.numpy(), expected, rtol=1e-13)


def test_one_step_of_the_running_codebook_is_its_closed_form():
    quantizer = quantizer64(decay=0.9)
    assert quantizer.parameters() == []
    before = quantizer.codebook.data.copy()
    counts, z = np.ones(5), normal(40, 3)
    indices = quantizer(z).indices
    chosen = np.eye(5)[indices]
    counts = 0.9 * counts + 0.1 * chosen.sum(0)
    sums = 0.9 * before + 0.1 * chosen.T @ z
    assert np.allclose(quantizer.counts.data, counts, rtol=1e-14)
    assert np.allclose(quantizer.codebook.data, sums / counts[:, None], rtol=1e-13)
    # Many steps on one batch: every code in use is the mean of what it is given.
    for _ in range(400):
        indices = quantizer(z).indices
    for k in np.unique(indices):
        assert np.allclose(quantizer.codebook.data[k], z[indices == k].mean(0), rtol=1e-10)


def test_the_codebook_rests_when_evaluating_or_frozen():
    quantizer, z = quantizer64(), normal(40, 3)
    state = quantizer.state_dict()
    quantizer.eval()(z, rng=generator())
    quantizer.train()
    with tg.freeze(quantizer):
        quantizer(z, rng=generator())
    assert all(np.array_equal(v, state[k]) for k, v in quantizer.state_dict().items())
    quantizer(z)
    assert not np.array_equal(quantizer.codebook.data, state["codebook"])


def test_dead_codes_come_back_to_life_in_the_batch():
    quantizer = quantizer64(codes=64, decay=0.5)
    z = normal(300, 3)
    quantizer.codebook.data[1:] += 100  # all but one are out of reach
    quantizer.sums.data[...] = quantizer.codebook.data
    for _ in range(5):
        indices = quantizer(z).indices
    assert usage(indices, 64) == (1.0, 1 / 64)
    quantizer(z, rng=generator())
    revived = quantizer.codebook.data[1:]
    assert (abs(revived[:, None] - z).sum(-1).min(-1) == 0).all()  # each is a z of the batch
    assert (quantizer.counts.data[1:] == 1).all()
    perplexity, used = usage(quantizer(z).indices, 64)
    assert used > 0.8
    assert perplexity > 20
    assert np.isfinite(quantizer.codebook.data).all()


def test_usage():
    assert usage(np.array([[0, 1], [2, 3]]), 8) == (pytest.approx(4.0), 0.5)
    assert usage(np.array([1, 1, 1]), 4) == (1.0, 0.25)


# ---- finite scalar quantisation ------------------------------------------------------------------


@given(st.lists(st.integers(2, 7), min_size=1, max_size=4))
def test_indices_and_codes_are_one_to_one(levels):
    quantizer = FSQ(tuple(levels))
    indices = np.arange(quantizer.codes)
    codes = quantizer.lookup(indices)
    assert len(np.unique(codes, axis=0)) == quantizer.codes == np.prod(levels)
    assert abs(codes).max() == 1
    assert np.array_equal(quantizer.index(codes), indices)
    digits = np.stack(np.unravel_index(indices, levels[::-1])[::-1], axis=-1)  # first one fastest
    assert np.allclose(codes, 2 * digits / (np.array(levels) - 1) - 1, atol=1e-7)
    # A z whose tanh is the code, or far beyond the ends, comes back as that code.
    z = np.arctanh(np.clip(codes.astype("float64"), -1 + 1e-9, 1 - 1e-9))
    found = quantizer(z)
    assert np.array_equal(found.indices, indices)
    assert np.allclose(found.codes, codes, atol=1e-7)
    assert found.loss is None


@given(st.integers(2, 8), st.floats(-20, 20))
def test_a_component_goes_to_its_nearest_level(levels, z):
    codes = FSQ((levels,))(np.array([z])).codes
    grid = np.linspace(-1, 1, levels)
    assert abs(codes[0] - np.tanh(z)) <= abs(grid - np.tanh(z)).min() + 1e-12


# ---- the model -----------------------------------------------------------------------------------


def quantizers():
    rng = generator("quantizers")
    return [
        VectorQuantizer(16, 4, rng=rng),
        VectorQuantizer(16, 4, decay=None, rng=rng),
        FSQ((4, 3, 3)),
    ]


@pytest.mark.parametrize("quantizer", quantizers(), ids=["ema", "learned", "fsq"])
def test_a_vq_vae_learns_and_every_parameter_takes_part(quantizer):
    model = VQVAE(VQVAEConfig((8, 4, 1), (6, 8), 1), quantizer, Bernoulli(), rng=generator())
    rng = generator("training")
    top = (rng.uniform((32, 4, 4, 1)) < 0.5).astype("float32")
    x = np.concat([top, 1 - top], axis=1)  # (32, 8, 4, 1), half of it told by the other
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(80):
        loss = model.loss(x, rng=rng)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and abs(p.grad.data).max() > 0 for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1
    indices = model.encode(x)
    assert indices.shape == (32, 2, 1)
    assert np.array_equal(model.reconstruct(x), model.decode(indices))
    assert model.decode(indices).shape == x.shape
    assert model.training
    recon, quantised = model.eval()(x)
    assert recon.shape == (32,)
    total = recon.numpy().sum() + (quantised.loss.item() if quantised.loss is not None else 0)
    assert model.loss(x).item() == pytest.approx(total / 32, rel=1e-5)


def vqvae():
    return VQVAE(VQVAEConfig((8, 4, 1), (4,)), FSQ((3, 3)), Bernoulli(), rng=generator())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantizer64()(np.zeros((2, 4))), ShapeError, r"\(2, 4\)"),
        (lambda: quantizer64().lookup(np.array([5])), OutOfRangeError, "5 codes"),
        (lambda: quantizer64()(np.array([[0.0, np.nan, 0.0]])), DivergedError, "NaN or infinity"),
        (lambda: quantizer64().lookup(np.array([1.5])), DtypeError, "integers, not float64"),
        (lambda: quantizer64().lookup(np.array([True])), DtypeError, "integers, not bool"),
        (lambda: quantizer64().lookup([1]), DtypeError, "integers, not list"),
        (lambda: quantizer64(decay=1.0), UsageError, r"decay is 1\.0"),
        (lambda: quantizer64(decay="a"), UsageError, "decay is 'a'"),
        (lambda: quantizer64(commitment=-1), UsageError, "commitment is -1"),
        (lambda: quantizer64(commitment=np.nan), UsageError, "commitment is nan"),
        (lambda: quantizer64(reset_below=np.nan), UsageError, "reset_below is nan"),
        (lambda: quantizer64(codes=2.5), UsageError, r"codes is 2\.5"),
        (lambda: usage(np.array([1.5]), 4), DtypeError, "integers"),
        (lambda: usage(np.array([4]), 4), OutOfRangeError, "4 codes"),
        (lambda: usage(np.array([0]), 0), UsageError, "codes is 0"),
        (lambda: FSQ((3, 3))(np.zeros((2, 3))), ShapeError, "2 components"),
        (lambda: FSQ((3, 3))(np.array([[np.nan, 0.0]])), DivergedError, "NaN or infinity"),
        (lambda: FSQ((3, 3)).index(np.array([[np.nan, 0.0]])), DivergedError, "NaN or infinity"),
        (lambda: FSQ((3, 3)).index(np.array([[9.0, 0.0]])), OutOfRangeError, r"\[-1, 1\]"),
        (lambda: FSQ((3, 3)).lookup(np.array([1.5])), DtypeError, "integers, not float64"),
        (lambda: FSQ((3, 3)).lookup(np.array([9])), OutOfRangeError, "9 codes"),
        (lambda: FSQ((3, 1)), UsageError, r"levels\[1\] is 1"),
        (lambda: FSQ((3.5, 3)), UsageError, r"levels\[0\] is 3\.5"),
        (lambda: FSQ(3), UsageError, "levels are 3"),
        (lambda: FSQ(()), UsageError, r"\(\)"),
        (lambda: VQVAEConfig((8, 6, 1), (4, 4)), UsageError, "no multiples of 4"),
        (lambda: VQVAEConfig((8, 8, 1), ()), UsageError, "channels"),
        (lambda: VQVAEConfig((8, 8, 1), (4.5,)), UsageError, r"channels\[0\] is 4\.5"),
        (lambda: VQVAEConfig((8, 8, 1), 4), UsageError, "channels is 4"),
        (lambda: VQVAEConfig((8, 8, 1), residual=-1), UsageError, "residual is -1"),
        (lambda: vqvae().loss(np.zeros((0, 8, 4, 1), "float32")), ShapeError, "none"),
        (lambda: vqvae().encode(np.full((1, 8, 4, 1), np.nan)), OutOfRangeError, "nan"),
        (lambda: vqvae().decode(np.zeros((1, 2, 2), int)), ShapeError, r"\(N, 4, 2\)"),
        (lambda: vqvae().decode(np.zeros((1, 4, 2))), DtypeError, "integers"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
