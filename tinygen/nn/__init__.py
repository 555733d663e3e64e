"""Layers: what has parameters, and the ways to put such things together."""

from tinygen.nn import init
from tinygen.nn.activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from tinygen.nn.adaptive_norm import AdaptiveNorm, modulate
from tinygen.nn.attention import MultiHeadAttention
from tinygen.nn.attention_block import AttentionBlock
from tinygen.nn.batch_norm import BatchNorm2d
from tinygen.nn.cache import KeyValueCache
from tinygen.nn.class_embedding import ClassEmbedding
from tinygen.nn.container import ModuleList, Sequential
from tinygen.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from tinygen.nn.dropout import Dropout
from tinygen.nn.embedding import Embedding
from tinygen.nn.group_norm import GroupNorm, InstanceNorm
from tinygen.nn.linear import Linear
from tinygen.nn.lora import (
    LoRALinear,
    add_lora,
    load_lora_state,
    lora_parameters,
    lora_state,
    merge_lora,
    without_lora,
)
from tinygen.nn.module import Module
from tinygen.nn.norm import LayerNorm, RMSNorm
from tinygen.nn.parameter import Buffer, Parameter
from tinygen.nn.pooling import AvgPool2d, MaxPool2d
from tinygen.nn.precision import computing_in
from tinygen.nn.resampling import Downsample, Upsample
from tinygen.nn.residual import ResBlock
from tinygen.nn.spectral_norm import SpectralNorm
from tinygen.nn.timestep_embedding import TimestepEmbedding, sinusoidal
from tinygen.nn.transformer import MLP, GatedMLP, TransformerBlock

__all__ = [
    "GELU",
    "MLP",
    "AdaptiveNorm",
    "AttentionBlock",
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "ClassEmbedding",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Downsample",
    "Dropout",
    "Embedding",
    "GatedMLP",
    "GroupNorm",
    "InstanceNorm",
    "KeyValueCache",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LoRALinear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ResBlock",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "SpectralNorm",
    "Tanh",
    "TimestepEmbedding",
    "TransformerBlock",
    "Upsample",
    "add_lora",
    "computing_in",
    "init",
    "load_lora_state",
    "lora_parameters",
    "lora_state",
    "merge_lora",
    "modulate",
    "sinusoidal",
    "without_lora",
]
