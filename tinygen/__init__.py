"""tinygen: generative AI that you can read, prove and measure."""

from tinygen import ops, random, trace
from tinygen.autograd import backward, grad
from tinygen.backend import tune_allocator
from tinygen.function import Function, FusedFunction, enable_grad, freeze, no_grad
from tinygen.recompute import checkpoint
from tinygen.tensor import Tensor, tensor

__version__ = "0.1.0"
