"""What DDPM, EDM and flow matching share: gradients, every sampler, and what they refuse."""

import math

import numpy as np
import pytest
from mixture import last
from networks import SCHEDULE, TIMES, N, Network, draw, generator

import tinygen as tg
from tinygen import nn
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.diffusion import (
    DDPM,
    EDM,
    Flow,
    Prediction,
    flow_times,
    karras_sigmas,
    sample_dpmpp_2m,
    sample_euler,
    sample_heun,
)
from tinygen.models.diffusion.coupling import optimal_assignment

MODELS = {
    "ddpm": lambda network: DDPM(network, SCHEDULE, Prediction.V),
    "min_snr": lambda network: DDPM(network, SCHEDULE, min_snr=5.0),
    "edm": EDM,
    "flow": Flow,
    "flow_ot": lambda network: Flow(network, logit_normal=(0, 1), optimal_transport=True),
}


BY_NAME = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


class Linear(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(2, 2, rng=generator("weights"))

    def forward(self, x, t, y=None):
        return self.layer(x)


@BY_NAME
def test_the_loss_reaches_the_networks_parameters(make):
    model = make(Linear())
    assert [name for name, _ in model.named_parameters()] == [
        "network.layer.weight",
        "network.layer.bias",
    ]
    x0 = generator().normal((N, 2))
    loss = model.loss(x0, rng=generator(1))
    assert loss.shape == ()
    assert loss.dtype == np.float32
    loss.backward()
    assert all(abs(p.grad.numpy()).max() > 0 for p in model.parameters())
    assert model.loss(x0, rng=generator(1)).item() == loss.item()
    assert model.loss(tg.tensor(x0), rng=generator(1)).item() == loss.item()
    assert model.loss(x0, rng=generator(2)).item() != loss.item()


@BY_NAME
def test_the_slope_of_the_loss(make):
    """d loss / d weight against central differences, in float64."""
    model = make(Linear()).to(dtype="float64")
    x0 = generator().normal((N, 2), "float64")
    model.loss(x0, rng=generator(1)).backward()
    weight = model.network.layer.weight
    h = 1e-5
    for index in np.ndindex(2, 2):
        values = []
        for sign in (1, -1):
            weight.data[index] += sign * h
            values.append(model.loss(x0, rng=generator(1)).item())
            weight.data[index] -= sign * h
        found = (values[0] - values[1]) / (2 * h)
        assert math.isclose(weight.grad.numpy()[index], found, rel_tol=1e-6, abs_tol=1e-8)


@BY_NAME
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_models_serve_every_sampler(make, dtype):
    model = make(Linear()).to(dtype=dtype)
    sigmas = karras_sigmas(4, 0.05, 3.0)
    x = 3 * generator().normal((3, 2), dtype)
    for sampler in (sample_euler, sample_heun, sample_dpmpp_2m):
        step = last(sampler(model.denoise, x, sigmas))
        assert type(step.x) is np.ndarray
        assert step.x.dtype == dtype
        assert np.isfinite(step.x).all()
    assert np.array_equal(  # one level for all, or one an example
        model.denoise(x, 0.5).numpy(), model.denoise(x, np.full(3, 0.5)).numpy()
    )
    assert np.array_equal(model(x, 0.5).numpy(), model.denoise(x, 0.5).numpy())


# ---- bad input


EMPTY = ShapeError, r"shape \(0, 2\)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: DDPM(Network(), SCHEDULE).loss(x), UsageError, "rng"),
        (lambda x: DDPM(Network(), SCHEDULE).loss(x, t=TIMES), UsageError, "rng"),
        (lambda x: DDPM(Network(), SCHEDULE).loss(x, t=TIMES + 1, noise=x), OutOfRangeError, "40"),
        (lambda x: DDPM(Network(), SCHEDULE).loss(x, t=TIMES[:2], noise=x), ShapeError, r"\(2,\)"),
        (lambda x: DDPM(Network(), SCHEDULE).loss(x, t=TIMES, noise=x[:1]), ShapeError, "noise"),
        (lambda x: DDPM(Network(), SCHEDULE).loss(x.astype(int), t=TIMES), DtypeError, "int64"),
        (
            lambda x: DDPM(Network(), SCHEDULE.zero_terminal_snr()),
            UsageError,
            "predict Prediction.V",
        ),
        (lambda x: DDPM(Network(), SCHEDULE, min_snr=0), UsageError, r"min_snr .* is 0"),
        (lambda x: DDPM(Network(), SCHEDULE, min_snr="a"), UsageError, "'a'"),
        (lambda x: DDPM(Network(), SCHEDULE).loss(x[:0], t=TIMES[:0], noise=x[:0]), *EMPTY),
        (lambda x: EDM(Network()).loss(x[:0], sigma=1.0, noise=x[:0]), *EMPTY),
        (lambda x: Flow(Network()).loss(x[:0], t=0.5, noise=x[:0]), *EMPTY),
        (lambda x: EDM(Network(), log_mean=math.nan), UsageError, "log_mean is nan"),
        (lambda x: EDM(Network(), log_std="a"), UsageError, "log_std is 'a'"),
        (lambda x: EDM(Network()).denoise(x, "a"), UsageError, "'a'"),
        (lambda x: Flow(Network()).denoise(x, None), UsageError, "None"),
        (lambda x: EDM(Network(), sigma_data=0), UsageError, "sigma_data is 0"),
        (lambda x: EDM(Network()).loss(x), UsageError, "rng"),
        (lambda x: EDM(Network()).denoise(x, 0.0), UsageError, "sigma > 0"),
        (lambda x: EDM(Network()).loss(x, sigma=math.inf, noise=x), UsageError, "finite"),
        (lambda x: DDPM(Network(), SCHEDULE).denoise(x, -1.0), UsageError, "0 or more"),
        (lambda x: Flow(Network()).denoise(x, -1.0), UsageError, "0 or more"),
        (lambda x: Flow(Network()).denoise_at(x, 1.5), UsageError, "1.5"),
        (lambda x: Flow(Network()).denoise_at(x, "a"), UsageError, "these are a"),
        (lambda x: Flow(Network()).loss(x, t=-0.1, noise=x), UsageError, "-0.1"),
        (lambda x: EDM(Network()).denoise(x, np.array([1.0])), ShapeError, r"\(1,\)"),
        (lambda x: Flow(Network()).loss(x), UsageError, "rng"),
        (lambda x: Flow(Network(), logit_normal=(0, 0)), UsageError, "logit_normal"),
        (lambda x: flow_times(0), UsageError, "n is 0"),
        (lambda x: flow_times(3, shift=-1), UsageError, "shift is -1"),
        (lambda x: flow_times(1.5), UsageError, "n is 1.5"),
        (lambda x: optimal_assignment(x), ShapeError, r"\(6, 2\)"),
        (lambda x: optimal_assignment(np.full((2, 2), np.nan)), ShapeError, "finite"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call(draw()[0])
