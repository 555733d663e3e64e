"""Small models of every likelihood in float64, with data that suit them."""

import tinygen as tg
from tinygen.models.vae import VAE, VAEConfig

KINDS = {
    "bernoulli": {},
    "gaussian": {"sigma": "shared"},
    "gaussian, decoded": {"sigma": "decoded"},
    "gaussian, fixed": {"sigma": 0.5},
    "categorical": {"levels": 4},
    "logistic": {"levels": 4},
}


def generator(seed=0):
    return tg.random.Generator(seed)


def model64(shape=(5,), latent=2, hidden=(7,), likelihood="bernoulli", **options):
    """A model in float64 whose weights are large enough for every path to matter."""
    name = likelihood.split(",")[0]
    config = VAEConfig(shape, latent, hidden, likelihood=name, **{"activation": "tanh", **options})
    model = VAE(config, rng=generator()).to(dtype="float64")
    for name, p in model.named_parameters():
        p.data[...] += 0.3 * generator(name).normal(p.shape, "float64")
    return model


def data_for(model, n, seed="data"):
    shape = (n, *model.config.data_shape)
    rng = generator(seed)
    if model.config.likelihood in ("categorical", "logistic"):
        return rng.integers(0, model.config.levels, shape)
    if model.config.likelihood == "bernoulli":
        return (rng.uniform(shape) < 0.5).astype("float64")
    return rng.normal(shape, "float64")


def normal(*shape, seed="noise"):
    return generator(seed).normal(shape, "float64")
