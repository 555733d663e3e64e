"""The ladders of what waits for memory: each a primitive of a device, on one array after another.

What a rung reads and writes beside the arrays (weights, statistics, indices) is counted in what it
moves and not in the least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.device.cross_entropy import cross_entropy_in_place
from tinygen.backend.device.launching import bias_gradient
from tinygen.backend.device.rungs import RUNGS
from tinygen.measure.ladder import Rung, is_small, own_copy, random_array, taking

Array = Any

EPS = 1e-5
KEY = 2**96 + 1
"""Of a random stream."""


class Work(NamedTuple):
    size: str
    run: Callable[[], Any]
    flops: float
    arrays: float
    """Of so many elements, each read or written once."""


def _climbed(
    operation: str, ladder: str, prepare: Callable[[Any, Array], Work], backend: Any
) -> Iterator[Rung]:
    """Every rung of `operation`, on a matrix as large as a batch of GPT-2's activations."""
    x = random_array(backend, *((128, 768) if is_small(backend) else (8192, 768)))
    work = prepare(backend, x)

    def run(name: str) -> Any:
        with taking(backend, operation, name):
            return work.run()

    for name in RUNGS[operation]:
        least = work.arrays * 4 * x.size
        yield Rung(ladder, name, work.size, partial(run, name), work.flops * x.size, least)


def _size(x: Array) -> str:
    return f"{' x '.join(map(str, x.shape))} {x.dtype}"


def _layer_norm(backend: Any, x: Array) -> Work:
    weight, bias = own_copy(backend, x[0]), own_copy(backend, x[1])
    return Work(_size(x), lambda: backend.layer_norm_forward(x, weight, bias, EPS), 8, 2)


def _layer_norm_backward(backend: Any, x: Array) -> Work:
    weight, needs = own_copy(backend, x[0]), (True, True, True)
    _, *statistics = backend.layer_norm_forward(x, weight, None, EPS)
    g = own_copy(backend, x[::-1])
    return Work(
        _size(x), lambda: backend.layer_norm_backward(g, x, weight, *statistics, needs), 14, 3
    )


def _add_layer_norm(backend: Any, x: Array) -> Work:
    weight, bias, residual = (own_copy(backend, a) for a in (x[0], x[1], x[::-1]))
    size = f"{_size(x)}, of a sum that is made apart, and not counted, below registers"
    args = x, residual, weight, bias, EPS
    return Work(size, lambda: backend.add_layer_norm_forward(*args), 9, 4)


def _rms_norm(backend: Any, x: Array) -> Work:
    weight = own_copy(backend, x[0])
    return Work(_size(x), lambda: backend.rms_norm_forward(x, weight, EPS), 4, 2)


def _softmax(backend: Any, x: Array) -> Work:
    return Work(_size(x), lambda: backend.softmax(x, -1), 5, 2)


def _softmax_backward(backend: Any, x: Array) -> Work:
    y = backend.softmax(x, -1)
    return Work(_size(x), lambda: backend.softmax_backward(x, y, -1), 4, 3)


def _log_softmax(backend: Any, x: Array) -> Work:
    return Work(_size(x), lambda: backend.log_softmax(x, -1), 5, 2)


def _images(x: Array) -> Array:
    """(N, positions, 64) of the same elements."""
    return x.reshape(len(x) // 32, -1, 64)


def _group_norm(backend: Any, x: Array) -> Work:
    images = _images(x)
    size = f"{_size(images)}, 8 groups, SiLU and its slope"
    return Work(size, lambda: backend.group_norm_forward(images, 8, None, None, EPS, "silu"), 12, 3)


def _group_norm_backward(backend: Any, x: Array) -> Work:
    images, needs = _images(x), (True, True, True)
    weight = own_copy(backend, images[0, 0])
    _, mean, rstd, slope = backend.group_norm_forward(images, 8, weight, None, EPS, "silu")
    args = images, 8, weight, mean, rstd, slope, needs
    size = f"{_size(images)}, 8 groups"
    return Work(size, lambda: backend.group_norm_backward(images, *args), 16, 4)


def _cross_entropy(backend: Any, x: Array) -> Work:
    """Loss and gradient, which takes the place of the logits."""
    logits, targets = own_copy(backend, x), backend.asarray(np.arange(len(x)))

    def run() -> Any:
        return cross_entropy_in_place(backend, logits, targets % x.shape[1], 1.0), logits

    return Work(f"{_size(x)}, in place", run, 8, 2)


def _gelu(backend: Any, x: Array) -> Work:
    return Work(f"{_size(x)}, with its slope", lambda: backend.gelu_forward(x, "tanh"), 20, 3)


def _swiglu(backend: Any, x: Array) -> Work:
    gate, up = x[:, :384], x[:, 384:]
    size = f"{_size(gate)}, of the halves of one array"
    return Work(size, lambda: backend.swiglu_forward(gate, up), 3, 1.5)


def _swiglu_backward(backend: Any, x: Array) -> Work:
    gate, up = x[:, :384], x[:, 384:]
    g = own_copy(backend, up)
    size = f"{_size(gate)}, of the halves of one array"
    return Work(size, lambda: backend.swiglu_backward(g, gate, up, (True, True)), 6, 2.5)


def _rope(backend: Any, x: Array) -> Work:
    heads = x.reshape(-1, 64, 64)  # (.., T, D)
    angles = random_array(backend, 64, 32)
    cos, sin = backend.xp.cos(angles), backend.xp.sin(angles)
    return Work(_size(heads), lambda: backend.rotate_pairs(heads, cos, sin, False), 3, 2)


def _dropout(backend: Any, x: Array) -> Work:
    return Work(_size(x), lambda: backend.dropout(x, 0.1, KEY, 0), 1, 2)


def _random(backend: Any, x: Array) -> Work:
    return Work(f"{x.size} normal numbers", lambda: backend.random_normal(KEY, 0, x.size), 1, 1)


def _embedding(backend: Any, x: Array) -> Work:
    ids = backend.asarray(np.random.default_rng(1).integers(0, len(x), len(x)))
    return Work(f"{_size(x)} of as many rows", lambda: backend.embedding_forward(x, ids), 0, 2)


def _embedding_backward(backend: Any, x: Array) -> Work:
    ids = backend.asarray(np.random.default_rng(1).integers(0, 64, len(x)))
    size = f"{_size(x)} into 64 rows"
    return Work(size, lambda: backend.embedding_backward(x, ids, 64), 1, 1 + 64 / len(x))


def _bias_gradient(backend: Any, x: Array) -> Work:
    return Work(_size(x), lambda: bias_gradient(backend, x), 1, 1)


def _cast(backend: Any, x: Array) -> Work:
    return Work(f"{_size(x)} to float16", lambda: backend.astype(x, "float16"), 1, 1.5)


def _transpose(backend: Any, x: Array) -> Work:
    return Work(_size(x), lambda: backend.copy(x.T), 0, 2)


def _topk(backend: Any, x: Array) -> Work:
    return Work(f"{_size(x)}, k = 8", lambda: backend.topk(x, 8), 8, 1)


def _adamw(backend: Any, x: Array) -> Work:
    param, grad, m, v = (own_copy(backend, x.reshape(-1)) for _ in range(4))
    v *= v
    options = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}

    def run() -> Any:
        backend.adamw_update(param, grad, m, v, scratch=param, step=10, **options)
        return param, m, v

    return Work(f"{x.size} parameters", run, 13, 7)


_LADDERS: dict[str, tuple[str, Callable[[Any, Array], Work]]] = {
    "layer-norm": ("layer_norm", _layer_norm),
    "add-layer-norm": ("layer_norm", _add_layer_norm),
    "layer-norm-backward": ("layer_norm", _layer_norm_backward),
    "rms-norm": ("rms_norm", _rms_norm),
    "softmax": ("softmax", _softmax),
    "softmax-backward": ("softmax", _softmax_backward),
    "log-softmax": ("log_softmax", _log_softmax),
    "group-norm": ("group_norm", _group_norm),
    "group-norm-backward": ("group_norm", _group_norm_backward),
    "cross-entropy": ("cross_entropy", _cross_entropy),
    "gelu": ("activation", _gelu),
    "swiglu": ("swiglu", _swiglu),
    "swiglu-backward": ("swiglu", _swiglu_backward),
    "rope": ("rope", _rope),
    "dropout": ("dropout", _dropout),
    "random": ("random", _random),
    "embedding": ("embedding", _embedding),
    "embedding-backward": ("embedding", _embedding_backward),
    "bias-gradient": ("column_sums", _bias_gradient),
    "adamw": ("adamw", _adamw),
    "cast": ("cast", _cast),
    "transpose": ("transpose", _transpose),
    "topk": ("topk", _topk),
}

MEMORY_LADDERS: dict[str, Callable[[Any], Iterator[Rung]]] = {
    ladder: partial(_climbed, operation, ladder, prepare)
    for ladder, (operation, prepare) in _LADDERS.items()
}
