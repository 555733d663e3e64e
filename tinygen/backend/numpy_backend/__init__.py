"""The CPU: NumPy, and the fast primitives behind the fused ops, one concept a file.

Every primitive is a plain function on float32 or float64 arrays of any strides; it answers in the
same dtype, never writes to an input, and knows nothing of Tensors. Arguments are checked by the op
that calls it. `NumpyBackend` gathers them under the names that ops use:
`self.backend.layer_norm_forward(...)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend import order
from tinygen.backend.numpy_backend.activation import (
    activation_forward,
    gelu_forward,
    leak,
    leaky_relu,
    relu_forward,
    silu_forward,
)
from tinygen.backend.numpy_backend.adamw import adamw_update
from tinygen.backend.numpy_backend.aligned import empty, in_huge_pages
from tinygen.backend.numpy_backend.allocator import tune_allocator
from tinygen.backend.numpy_backend.attention import attention_backward, attention_forward
from tinygen.backend.numpy_backend.batch_norm import batch_norm_backward, batch_norm_forward
from tinygen.backend.numpy_backend.bernoulli import bernoulli_nll_forward
from tinygen.backend.numpy_backend.convolution import (
    conv2d_forward,
    conv2d_input_gradient,
    conv2d_weight_gradient,
)
from tinygen.backend.numpy_backend.cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    soft_cross_entropy_backward,
    soft_cross_entropy_forward,
)
from tinygen.backend.numpy_backend.embedding import (
    embedding_backward,
    embedding_forward,
    scatter_add,
)
from tinygen.backend.numpy_backend.group_norm import group_norm_backward, group_norm_forward
from tinygen.backend.numpy_backend.latent import (
    gaussian_latent_backward,
    gaussian_latent_forward,
)
from tinygen.backend.numpy_backend.linear import linear_backward, linear_forward
from tinygen.backend.numpy_backend.linear_cross_entropy import linear_cross_entropy
from tinygen.backend.numpy_backend.norm import (
    add_layer_norm_backward,
    add_layer_norm_forward,
    add_rms_norm_backward,
    add_rms_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
    rms_norm_backward,
    rms_norm_forward,
)
from tinygen.backend.numpy_backend.pooling import (
    avg_pool,
    avg_pool_adjoint,
    max_pool_backward,
    max_pool_forward,
)
from tinygen.backend.numpy_backend.resize import resize, resize_adjoint
from tinygen.backend.numpy_backend.rope import rotate_pairs
from tinygen.backend.numpy_backend.softmax import (
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)
from tinygen.backend.numpy_backend.special import erf, erfc
from tinygen.backend.numpy_backend.swiglu import swiglu_backward, swiglu_forward

__all__ = ["NumpyBackend", "tune_allocator"]


class NumpyBackend:
    """The CPU as an op sees it: an array namespace and the primitives."""

    name = "cpu"
    xp = np
    array_type = np.ndarray
    partial = False
    caches = True

    @staticmethod
    def asarray(value: Any) -> Any:
        return np.asarray(value)

    @staticmethod
    def to_numpy(array: Any) -> Any:
        return array

    @staticmethod
    def numbers(scalars: Any) -> list[float]:
        return [float(x) for x in scalars]

    @staticmethod
    def device_of(array: Any) -> str:
        return "cpu"

    from_dlpack = staticmethod(np.from_dlpack)
    empty = staticmethod(empty)
    in_huge_pages = staticmethod(in_huge_pages)

    erf = staticmethod(erf)
    erfc = staticmethod(erfc)

    activation_forward = staticmethod(activation_forward)
    gelu_forward = staticmethod(gelu_forward)
    silu_forward = staticmethod(silu_forward)
    relu_forward = staticmethod(relu_forward)
    leaky_relu = staticmethod(leaky_relu)
    leak = staticmethod(leak)
    swiglu_forward = staticmethod(swiglu_forward)
    swiglu_backward = staticmethod(swiglu_backward)

    linear_forward = staticmethod(linear_forward)
    linear_backward = staticmethod(linear_backward)

    layer_norm_forward = staticmethod(layer_norm_forward)
    layer_norm_backward = staticmethod(layer_norm_backward)
    rms_norm_forward = staticmethod(rms_norm_forward)
    rms_norm_backward = staticmethod(rms_norm_backward)
    add_layer_norm_forward = staticmethod(add_layer_norm_forward)
    add_layer_norm_backward = staticmethod(add_layer_norm_backward)
    add_rms_norm_forward = staticmethod(add_rms_norm_forward)
    add_rms_norm_backward = staticmethod(add_rms_norm_backward)

    batch_norm_forward = staticmethod(batch_norm_forward)
    batch_norm_backward = staticmethod(batch_norm_backward)
    group_norm_forward = staticmethod(group_norm_forward)
    group_norm_backward = staticmethod(group_norm_backward)

    max_pool_forward = staticmethod(max_pool_forward)
    max_pool_backward = staticmethod(max_pool_backward)
    avg_pool = staticmethod(avg_pool)
    avg_pool_adjoint = staticmethod(avg_pool_adjoint)
    resize = staticmethod(resize)
    resize_adjoint = staticmethod(resize_adjoint)

    softmax = staticmethod(softmax)
    softmax_backward = staticmethod(softmax_backward)
    log_softmax = staticmethod(log_softmax)
    log_softmax_backward = staticmethod(log_softmax_backward)

    cross_entropy_forward = staticmethod(cross_entropy_forward)
    cross_entropy_backward = staticmethod(cross_entropy_backward)
    linear_cross_entropy = staticmethod(linear_cross_entropy)
    soft_cross_entropy_forward = staticmethod(soft_cross_entropy_forward)
    soft_cross_entropy_backward = staticmethod(soft_cross_entropy_backward)

    bernoulli_nll_forward = staticmethod(bernoulli_nll_forward)

    gaussian_latent_forward = staticmethod(gaussian_latent_forward)
    gaussian_latent_backward = staticmethod(gaussian_latent_backward)

    attention_forward = staticmethod(attention_forward)
    attention_backward = staticmethod(attention_backward)

    conv2d_forward = staticmethod(conv2d_forward)
    conv2d_input_gradient = staticmethod(conv2d_input_gradient)
    conv2d_weight_gradient = staticmethod(conv2d_weight_gradient)

    rotate_pairs = staticmethod(rotate_pairs)

    embedding_forward = staticmethod(embedding_forward)
    embedding_backward = staticmethod(embedding_backward)
    scatter_add = staticmethod(scatter_add)

    @staticmethod
    def copy(x: Any) -> Any:
        return x.copy()

    @staticmethod
    def astype(x: Any, dtype: Any) -> Any:
        return x.astype(dtype)

    @staticmethod
    def topk(x: Any, k: int) -> Any:
        return order.topk(np, x, k)

    adamw_update = staticmethod(adamw_update)
