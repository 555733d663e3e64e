"""Every optimiser, and parameters of every kind of shape for it."""

import tinygen as tg
from tinygen import nn, optim

SHAPES = [(3, 4), (5,), (), (2, 1, 3), (0, 2)]


def generator(seed=0):
    return tg.random.Generator(seed)


def parameters(dtype="float64", seed="parameters"):
    rng = generator(seed)
    return [nn.Parameter(rng.normal(shape, dtype)) for shape in SHAPES]


def give_gradients(params, rng):
    for p in params:
        p.grad = tg.Tensor(rng.normal(p.shape, str(p.dtype)))


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "muon": lambda p: optim.Muon(
        [x for x in p if x.ndim > 1],
        weight_decay=0.1,
        rest=optim.AdamW([x for x in p if x.ndim <= 1], lr=0.01),
    ),
}
