"""Byte-level byte-pair encoding: `BPETokenizer`, its training, its files."""

from tinygen.data.tokenizers.bpe.tokenizer import BPETokenizer

__all__ = ["BPETokenizer"]
