"""Tokenizers: text to ids and back.

tokenizer = CharTokenizer.train(text)
ids = tokenizer.encode("ROMEO:")        # (T,) unsigned integers
tokenizer.decode(ids)                   # "ROMEO:"
tokenizer.save("tokenizer.json")
load_tokenizer("tokenizer.json")        # of whichever class
"""

from tinygen.data.tokenizers.atoms import AtomTokenizer
from tinygen.data.tokenizers.base import Tokenizer
from tinygen.data.tokenizers.bpe import BPETokenizer
from tinygen.data.tokenizers.byte import ByteTokenizer
from tinygen.data.tokenizers.char import CharTokenizer
from tinygen.data.tokenizers.loading import load_tokenizer, tokenizer_from_state
from tinygen.data.tokenizers.music import MusicTokenizer

__all__ = [
    "AtomTokenizer",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "MusicTokenizer",
    "Tokenizer",
    "load_tokenizer",
    "tokenizer_from_state",
]
