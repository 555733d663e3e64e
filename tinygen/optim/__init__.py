"""Optimisers, schedules, clipping and averages."""

from tinygen.optim.adam import Adam, AdamW
from tinygen.optim.clip import clip_grad_norm, clip_grad_value
from tinygen.optim.ema import EMA, warm_decay
from tinygen.optim.muon import Muon
from tinygen.optim.optimizer import Optimizer
from tinygen.optim.schedule import WSD, Constant, Cosine, Linear
from tinygen.optim.sgd import SGD

__all__ = [
    "EMA",
    "SGD",
    "WSD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Linear",
    "Muon",
    "Optimizer",
    "clip_grad_norm",
    "clip_grad_value",
    "warm_decay",
]
