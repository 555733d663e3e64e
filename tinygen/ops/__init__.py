"""The operations: the only place where a derivative is written, once.

Every function takes arrays or Tensors: all arrays in, array out; any Tensor in, Tensor out. Names
and arguments are the array API standard's or NumPy's where those have the operation.
"""

from tinygen.ops.activations import (
    erf,
    erfc,
    gelu,
    leaky_relu,
    log_sigmoid,
    relu,
    sigmoid,
    silu,
    softplus,
    swiglu,
    tanh,
)
from tinygen.ops.arithmetic import (
    abs,
    add,
    divide,
    multiply,
    negative,
    subtract,
)
from tinygen.ops.attention import (
    attention,
    packed_attention,
)
from tinygen.ops.batch_norm import (
    batch_norm,
)
from tinygen.ops.bernoulli import (
    bernoulli_nll,
)
from tinygen.ops.casting import (
    astype,
    copy,
)
from tinygen.ops.comparison import (
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
)
from tinygen.ops.convolution import (
    conv1d,
    conv2d,
    conv_transpose2d,
)
from tinygen.ops.creation import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from tinygen.ops.cross_entropy import (
    cross_entropy,
)
from tinygen.ops.dropout import (
    dropout,
)
from tinygen.ops.einsum import (
    einsum,
)
from tinygen.ops.embedding import (
    embedding,
    one_hot,
)
from tinygen.ops.extremes import (
    all,
    any,
    argmax,
    argmin,
    logsumexp,
    max,
    min,
)
from tinygen.ops.group_norm import (
    group_norm,
    instance_norm,
)
from tinygen.ops.indexing import (
    getitem,
    scatter_add,
    take,
    take_along_axis,
)
from tinygen.ops.latent import (
    gaussian_latent,
)
from tinygen.ops.linalg import (
    diagonal,
    matmul,
    outer,
    tril,
    triu,
)
from tinygen.ops.linear import (
    linear,
)
from tinygen.ops.linear_cross_entropy import (
    linear_cross_entropy,
)
from tinygen.ops.loss import (
    bce_with_logits,
    categorical_kl,
    gaussian_kl,
    huber_loss,
    l1_loss,
    mse_loss,
)
from tinygen.ops.norm import (
    add_layer_norm,
    add_rms_norm,
    layer_norm,
    rms_norm,
)
from tinygen.ops.pixel_shuffle import (
    pixel_shuffle,
    pixel_unshuffle,
)
from tinygen.ops.pooling import (
    avg_pool2d,
    max_pool2d,
)
from tinygen.ops.power import (
    power,
    rsqrt,
    sqrt,
    square,
)
from tinygen.ops.product import (
    prod,
)
from tinygen.ops.reduction import (
    cumsum,
    mean,
    std,
    sum,
    sum_to,
    var,
)
from tinygen.ops.repetition import (
    repeat,
    tile,
)
from tinygen.ops.resize import (
    resize,
)
from tinygen.ops.rope import (
    rope,
    rotate_pairs,
)
from tinygen.ops.rounding import (
    ceil,
    floor,
    round,
    sign,
)
from tinygen.ops.selection import (
    clip,
    maximum,
    minimum,
    where,
)
from tinygen.ops.shape import (
    broadcast_to,
    concat,
    expand_dims,
    flip,
    matrix_transpose,
    pad,
    permute_dims,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    unstack,
)
from tinygen.ops.softmax import (
    log_softmax,
    softmax,
)
from tinygen.ops.sorting import (
    argsort,
    sort,
    topk,
)
from tinygen.ops.transcendental import (
    cos,
    exp,
    expm1,
    log,
    log1p,
    sin,
)
from tinygen.ops.vector_norm import (
    norm,
)

__all__ = [
    "abs",
    "add",
    "add_layer_norm",
    "add_rms_norm",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "attention",
    "avg_pool2d",
    "batch_norm",
    "bce_with_logits",
    "bernoulli_nll",
    "broadcast_to",
    "categorical_kl",
    "ceil",
    "clip",
    "concat",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "copy",
    "cos",
    "cross_entropy",
    "cumsum",
    "diagonal",
    "divide",
    "dropout",
    "einsum",
    "embedding",
    "equal",
    "erf",
    "erfc",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "flip",
    "floor",
    "full",
    "full_like",
    "gaussian_kl",
    "gaussian_latent",
    "gelu",
    "getitem",
    "greater",
    "greater_equal",
    "group_norm",
    "huber_loss",
    "instance_norm",
    "isfinite",
    "isinf",
    "isnan",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "less",
    "less_equal",
    "linear",
    "linear_cross_entropy",
    "linspace",
    "log",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "multiply",
    "negative",
    "norm",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "outer",
    "packed_attention",
    "pad",
    "permute_dims",
    "pixel_shuffle",
    "pixel_unshuffle",
    "power",
    "prod",
    "relu",
    "repeat",
    "reshape",
    "resize",
    "rms_norm",
    "roll",
    "rope",
    "rotate_pairs",
    "round",
    "rsqrt",
    "scatter_add",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "sum_to",
    "swiglu",
    "take",
    "take_along_axis",
    "tanh",
    "tile",
    "topk",
    "tril",
    "triu",
    "unstack",
    "var",
    "where",
    "zeros",
    "zeros_like",
]
