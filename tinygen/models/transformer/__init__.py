"""Transformers that predict the next token."""

from tinygen.models.transformer.estimate import Estimate, estimate
from tinygen.models.transformer.gpt import GPT, GPTConfig
from tinygen.models.transformer.llama import Llama, LlamaConfig
from tinygen.models.transformer.pretrained import from_pretrained, save_pretrained

__all__ = [
    "GPT",
    "Estimate",
    "GPTConfig",
    "Llama",
    "LlamaConfig",
    "estimate",
    "from_pretrained",
    "save_pretrained",
]
