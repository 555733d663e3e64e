"""DDPM, EDM and flow matching: their losses against the papers, their denoisers against the truth.

The truth is a network that knows a mixture's E[x0 | x] and answers in whatever terms it is asked.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture import PLANE, THREE, last

import tinygen as tg
from tinygen import nn
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.diffusion import (
    DDPM,
    EDM,
    Flow,
    Prediction,
    Schedule,
    flow_times,
    karras_sigmas,
    sample_dpmpp_2m,
    sample_euler,
    sample_heun,
)
from tinygen.models.diffusion.coupling import optimal_assignment

KINDS = list(Prediction)
N = 6


def generator(seed=0):
    return tg.random.Generator(seed)


def draw(shape=(N, 2), seed=0):
    rng = generator(seed)
    return rng.normal(shape, "float64"), rng.normal(shape, "float64")


class Network(nn.Module):
    """Some smooth function of its inputs, which it remembers."""

    def forward(self, x, t, y=None):
        self.seen = x, t, y
        return 0.3 * x + np.cos(t)[(...,) + (None,) * (x.ndim - 1)]


class Oracle(nn.Module):
    """The best prediction of `kind` at the scales (alpha, sigma) of its time, for PLANE."""

    def __init__(self, kind, scales):
        self.kind, self.scales = kind, scales

    def forward(self, x, t, y=None):
        rows = []
        for row, time in zip(x, t, strict=True):
            alpha, sigma = self.scales(time)
            x0 = PLANE.denoise(row[None] / alpha, sigma / alpha)
            rows.append(Prediction.X0.convert(x0, row[None], alpha, sigma, to=self.kind))
        return np.concatenate(rows)


# ---- DDPM

SCHEDULE = Schedule.cosine(40)
TIMES = np.array([0, 3, 9, 20, 30, 39])


def ideal_ddpm(kind, **options):
    return DDPM(Oracle(kind, lambda t: SCHEDULE.scales(int(t))), SCHEDULE, kind, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ddpm_loss_is_the_mean_square_of_the_prediction(kind):
    network = Network()
    model = DDPM(network, SCHEDULE, kind)
    x0, noise = draw((N, 4, 4, 3))
    y = np.arange(N)
    found = model.loss(x0, y, t=TIMES, noise=noise)
    total = 0.0
    for i, t in enumerate(TIMES):
        alpha, sigma = math.sqrt(SCHEDULE.alpha_bar[t]), math.sqrt(1 - SCHEDULE.alpha_bar[t])
        xt = alpha * x0[i] + sigma * noise[i]
        target = {
            Prediction.NOISE: noise[i],
            Prediction.X0: x0[i],
            Prediction.V: alpha * noise[i] - sigma * x0[i],
            Prediction.FLOW: noise[i] - x0[i],
        }[kind]
        assert np.allclose(network.seen[0][i], xt, rtol=1e-13, atol=1e-14)
        total += np.square(0.3 * xt + math.cos(t) - target).mean()
    assert math.isclose(found, total / N, rel_tol=1e-12)
    assert np.array_equal(network.seen[1], TIMES)
    assert network.seen[1].dtype == np.float64
    assert network.seen[2] is y


def test_min_snr_weights_are_those_of_the_paper():
    """Hang et al. 2023, section 3.4, with gamma = 5."""
    snr = SCHEDULE.snr
    t = np.arange(40)
    clipped = np.minimum(snr, 5)
    expected = {
        Prediction.X0: clipped,
        Prediction.NOISE: clipped / snr,
        Prediction.V: clipped / (snr + 1),
    }
    for kind, weights in expected.items():
        model = DDPM(Network(), SCHEDULE, kind, min_snr=5.0)
        assert np.allclose(model.weights(t), weights, rtol=1e-10)
    assert (DDPM(Network(), SCHEDULE).weights(t) == 1).all()


def test_with_min_snr_weights_it_does_not_matter_what_is_predicted():
    """The same estimate of x0, put in four ways, has the same loss; without them it does not."""
    x0, noise = draw()
    weighted = [ideal_ddpm(k, min_snr=5.0).loss(x0, t=TIMES, noise=noise) for k in KINDS]
    plain = [ideal_ddpm(k).loss(x0, t=TIMES, noise=noise) for k in KINDS]
    assert np.allclose(weighted, weighted[0], rtol=1e-8)
    assert np.ptp(plain) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_ddpm_denoises_in_both_coordinates(kind):
    model = ideal_ddpm(kind)
    x, _ = draw()
    for t in TIMES:
        alpha, sigma = SCHEDULE.scales(int(t)), SCHEDULE.sigmas[t]
        truth = PLANE.denoise(x * sigma, sigma)
        xt = x * sigma * alpha[0]
        assert np.allclose(model.denoise_at(xt, int(t)), truth, rtol=1e-6, atol=1e-8)
        # the time of this sigma is t up to rounding; the oracle wants it whole
        model.network.scales = lambda time: SCHEDULE.scales(round(float(time)))
        assert np.allclose(model.denoise(x * sigma, sigma), truth, rtol=1e-6, atol=1e-8)
    each = model.denoise_at(x, TIMES)
    for i, t in enumerate(TIMES):
        assert np.allclose(each[i], model.denoise_at(x[i : i + 1], int(t))[0], rtol=1e-12)


def test_between_two_times_the_network_gets_a_fraction():
    network = Network()
    model = DDPM(network, SCHEDULE, Prediction.V)
    sigma = math.sqrt(SCHEDULE.sigmas[10] * SCHEDULE.sigmas[11])
    x, _ = draw()
    model.denoise(x, sigma)
    assert np.allclose(network.seen[1], 10.5)
    assert np.allclose(network.seen[0], x / math.sqrt(1 + sigma**2), rtol=1e-14)


# ---- EDM


@given(st.floats(1e-3, 1e3), st.floats(0.05, 5))
def test_edm_coefficients(sigma, s):
    """What table 1 is made to satisfy (Karras et al. 2022, appendix B.6)."""
    c = EDM(Network(), sigma_data=s).preconditioning(sigma)
    assert math.isclose(c.c_in**2 * (sigma**2 + s**2), 1, rel_tol=1e-12)  # inputs of variance 1
    target = ((1 - c.c_skip) ** 2 * s**2 + c.c_skip**2 * sigma**2) / c.c_out**2
    assert math.isclose(target, 1, rel_tol=1e-6)  # targets of variance 1
    for other in (0.9, 1.1):  # c_skip is where c_out is least
        skip = c.c_skip * other
        assert (1 - skip) ** 2 * s**2 + skip**2 * sigma**2 >= c.c_out**2 * (1 - 1e-9)
    assert math.isclose(c.c_noise, math.log(sigma) / 4, rel_tol=1e-12, abs_tol=1e-12)
    weight = EDM(Network(), sigma_data=s).weight(sigma)
    assert math.isclose(weight * c.c_out**2, 1, rel_tol=1e-12)


def test_the_edm_loss_is_the_weighted_error_of_the_denoiser():
    """Eq. 2, computed from `denoise`, is eq. 8, which `loss` computes."""
    network = Network()
    model = EDM(network, sigma_data=0.7)
    x0, noise = draw((N, 3, 3, 1))
    sigma = np.array([0.002, 0.1, 0.5, 1.0, 7.0, 80.0])
    found = model.loss(x0, np.arange(N), sigma=sigma, noise=noise)
    assert np.array_equal(network.seen[2], np.arange(N))
    total = 0.0
    for i in range(N):
        x = (x0[i] + sigma[i] * noise[i])[None]
        error = np.square(model.denoise(x, sigma[i]) - x0[i]).mean()
        total += (sigma[i] ** 2 + 0.49) / (sigma[i] * 0.7) ** 2 * error
    assert math.isclose(found, total / N, rel_tol=1e-8)


def test_an_edm_network_that_predicts_nothing_is_the_best_linear_denoiser():
    """c_skip x is E[x0 | x] for x0 ~ N(0, s^2): the network learns what is not Gaussian."""

    class Nothing(nn.Module):
        def forward(self, x, t, y=None):
            return np.zeros_like(x)

    x, _ = draw()
    found = EDM(Nothing(), sigma_data=0.5).denoise(x, 0.8)
    assert np.allclose(found, x * 0.25 / (0.25 + 0.64), rtol=1e-14)


def test_edm_noise_levels_are_log_normal():
    network = Network()
    model = EDM(network, log_mean=-0.4, log_std=0.9)
    n = 20_000
    model.loss(np.zeros((n, 1)), rng=generator())
    logs = 4 * network.seen[1] / 1000  # the network's time is 1000 log(sigma) / 4
    assert abs(logs.mean() + 0.4) <= 5 * 0.9 / math.sqrt(n)
    assert abs(logs.std() - 0.9) <= 5 * 0.9 / math.sqrt(2 * n)


# ---- flow matching


def ideal_flow():
    return Flow(Oracle(Prediction.FLOW, lambda t: (1 - t / 1000, t / 1000)))


def test_the_flow_loss_is_the_error_of_the_velocity():
    network = Network()
    x0, noise = draw((N, 2, 3))
    t = np.linspace(0, 1, N)
    found = Flow(network).loss(x0, t=t, noise=noise)
    total = 0.0
    for i in range(N):
        xt = (1 - t[i]) * x0[i] + t[i] * noise[i]
        total += np.square(0.3 * xt + math.cos(1000 * t[i]) - (noise[i] - x0[i])).mean()
    assert math.isclose(found, total / N, rel_tol=1e-9)
    assert np.allclose(network.seen[1], 1000 * t, rtol=1e-15)


def test_flow_denoises_in_both_coordinates():
    model = ideal_flow()
    x, _ = draw()
    for sigma in (0.01, 0.3, 1.0, 20.0):
        truth = PLANE.denoise(x, sigma)
        assert np.allclose(model.denoise(x, sigma), truth, rtol=1e-9)
        t = sigma / (1 + sigma)
        assert np.allclose(model.denoise_at(x * (1 - t), t), truth, rtol=1e-9)


def even(n):
    return flow_times(n)


def shrinking(n):
    """Steps that shrink towards the data: DPM-Solver's, in log t, would else stay large there."""
    return [t * t for t in flow_times(n)]


@pytest.mark.parametrize(
    ("sampler", "order", "grid"),
    [(sample_euler, 1, even), (sample_heun, 2, even), (sample_dpmpp_2m, 2, shrinking)],
)
def test_the_samplers_solve_the_flow_in_its_own_time(sampler, order, grid):
    """From pure noise at t = 1 to data at t = 0, at the stated order: in one dimension the flow
    carries quantiles of N(0, 1) to those of the data."""
    x = np.linspace(-2.5, 2.5, 31)[:, None]

    def denoise(xt, t):
        if t == 1:
            return np.full_like(xt, THREE.weights @ THREE.means[:, 0])
        return THREE.denoise(xt / (1 - t), t / (1 - t))

    truth = THREE.flow(1e7 * x, 1e7, 0.0)
    counts = [32, 64, 128, 256]
    errors = [abs(last(sampler(denoise, x, grid(n))).x - truth).max() for n in counts]
    found = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order - 0.15 <= found <= order + 0.3
    assert errors[-1] <= {1: 2e-2, 2: 1e-3}[order]


def test_an_euler_step_of_the_flow_follows_the_velocity():
    model = Flow(Network())
    x, _ = draw()
    times = flow_times(3)
    for step, (t, s) in zip(
        sample_euler(model.denoise_at, x, times), itertools.pairwise(times), strict=True
    ):
        velocity = 0.3 * x + math.cos(1000 * t)
        assert np.allclose(step.x, x + (s - t) * velocity, rtol=1e-12, atol=1e-13)
        x = step.x


def test_logit_normal_times():
    network = Network()
    n = 20_000
    Flow(network, logit_normal=(0.3, 1.4)).loss(np.zeros((n, 1)), rng=generator())
    t = network.seen[1] / 1000
    logits = np.log(t / (1 - t))
    assert abs(logits.mean() - 0.3) <= 5 * 1.4 / math.sqrt(n)
    assert abs(logits.std() - 1.4) <= 5 * 1.4 / math.sqrt(2 * n)
    Flow(network).loss(np.zeros((n, 1)), rng=generator())
    counts = np.histogram(network.seen[1] / 1000, np.linspace(0, 1, 11))[0]
    assert (abs(counts - n / 10) <= 5 * math.sqrt(n * 0.09)).all()


@given(st.integers(1, 50), st.floats(0.1, 20))
def test_flow_times(n, shift):
    times = flow_times(n, shift=shift)
    assert len(times) == n + 1
    assert (times[0], times[-1]) == (1, 0)
    assert all(a > b for a, b in itertools.pairwise(times))
    if n % 2 == 0:  # Esser et al. 2024, eq. 23: sigma = t / (1 - t) is multiplied by the shift
        middle = times[n // 2]
        assert math.isclose(middle / (1 - middle), shift, rel_tol=1e-9)


# ---- optimal transport


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_assignment_is_the_best_of_all(n, seed):
    cost = generator(seed).normal((n, n), "float64").round(1)  # ties happen
    found = optimal_assignment(cost)
    assert sorted(found) == list(range(n))
    best = min(cost[np.arange(n), list(p)].sum() for p in itertools.permutations(range(n)))
    assert cost[np.arange(n), found].sum() <= best + 1e-12


@pytest.mark.parametrize("n", [17, 64])
def test_on_a_line_the_best_pairing_is_sorted(n):
    a, b = (generator(seed).normal((n,), "float64") for seed in range(2))
    found = optimal_assignment(np.square(a[:, None] - b))
    assert np.array_equal(np.argsort(b[found]), np.argsort(a))


def test_optimal_transport_pairs_noise_with_data():
    network = Network()
    x0, noise = draw((16, 3))
    Flow(network, optimal_transport=True).loss(x0, t=np.ones(16), noise=noise)
    paired = network.seen[0]  # at t = 1 the network sees the noise itself
    assert np.array_equal(np.sort(paired, axis=0), np.sort(noise, axis=0))
    assert np.square(x0 - paired).sum() < np.square(x0 - noise).sum()


# ---- what they share

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
