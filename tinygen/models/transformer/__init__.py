"""Transformers that predict the next token."""

from tinygen.models.transformer.gpt import GPT, GPTConfig

__all__ = ["GPT", "GPTConfig"]
