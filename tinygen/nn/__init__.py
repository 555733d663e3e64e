"""Layers: what has parameters, and the ways to put such things together."""

from tinygen.nn import init
from tinygen.nn.activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from tinygen.nn.attention import KeyValueCache, MultiHeadAttention
from tinygen.nn.container import ModuleList, Sequential
from tinygen.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from tinygen.nn.dropout import Dropout
from tinygen.nn.embedding import Embedding
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.norm import LayerNorm, RMSNorm
from tinygen.nn.parameter import Buffer, Parameter
from tinygen.nn.spectral_norm import SpectralNorm
from tinygen.nn.transformer import MLP, TransformerBlock

__all__ = [
    "GELU",
    "MLP",
    "Buffer",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "KeyValueCache",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "SpectralNorm",
    "Tanh",
    "TransformerBlock",
    "init",
]
