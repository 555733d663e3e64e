"""Transformers that predict the next token."""

from tinygen.models.transformer.gpt import GPT, GPTConfig
from tinygen.models.transformer.llama import Llama, LlamaConfig

__all__ = ["GPT", "GPTConfig", "Llama", "LlamaConfig"]
