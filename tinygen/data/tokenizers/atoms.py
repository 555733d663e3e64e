"""Each atom of a molecule is a token, and each other sign: for lines of SMILES or of SELFIES.

    SMILES    Clc1c[nH]%12          ->  "Cl" "c" "1" "c" "[nH]" "%12"
    SELFIES   [C][=Branch1][Ring2]  ->  "[C]" "[=Branch1]" "[Ring2]"

What stands in brackets, chlorine and bromine, and the number of a ring from 10 on are one token;
every other character is one (Schwaller et al. 2018, arXiv:1711.04810, section 2.2).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tinygen.data.tokenizers.base import Ids, State, Tokenizer, as_str
from tinygen.errors import InputError

SYMBOL = re.compile(r"\[[^\[\]\n]*\]|Br|Cl|%\d\d|.", re.DOTALL)
"""Every text is a sequence of these, and nothing of it is left out."""


_WITHOUT_BRACKETS = re.compile(r"Br|Cl|%\d\d")


class AtomTokenizer(Tokenizer):
    """Id i stands for `symbols[i]`; `train` sorts them."""

    kind = "atoms"

    def __init__(self, symbols: list[str]):
        if not symbols:
            raise InputError("a tokenizer of atoms needs at least one symbol")
        for symbol in symbols:
            if not SYMBOL.fullmatch(symbol):
                raise InputError(f"{symbol!r} is no symbol of a tokenizer of atoms")
        if len(set(symbols)) != len(symbols):
            twice = next(s for s in symbols if symbols.count(s) > 1)
            raise InputError(f"the symbol {twice!r} stands twice in the vocabulary")
        self.symbols = symbols

    @classmethod
    def train(cls, text: str | bytes) -> Self:
        """The tokenizer of all symbols in the text and of what may be left of one where a text is
        cut; bytes are read as UTF-8."""
        read = as_str(text)
        return cls(sorted({*SYMBOL.findall(read), *_WITHOUT_BRACKETS.findall(read), *read}))

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str | bytes) -> Ids:
        """InputError names a symbol that is not in the vocabulary."""
        found = SYMBOL.findall(as_str(text))
        unknown = next((symbol for symbol in found if symbol not in self._ids), None)
        if unknown is not None:
            raise InputError(
                f"unknown symbol {unknown!r}: it is not among the {self.vocab_size} symbols of "
                "this tokenizer; leave it out, or train with the byte tokenizer"
            )
        smallest = np.min_scalar_type(self.vocab_size - 1)
        ids: Ids = np.array([self._ids[symbol] for symbol in found], smallest)
        return ids

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        return "".join(self.symbols[i] for i in self.checked(ids).tolist()).encode("utf-8")

    @property
    def state(self) -> State:
        return {"kind": self.kind, "symbols": self.symbols}

    @classmethod
    def from_state(cls, state: State) -> Self:
        symbols = state.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(s, str) for s in symbols):
            raise InputError("the state of a tokenizer of atoms needs a list of texts 'symbols'")
        return cls(symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols)}
