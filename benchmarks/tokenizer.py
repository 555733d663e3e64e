"""Byte-pair encoding of the standard library's source, beside tokenizers and tiktoken.

    python benchmarks/tokenizer.py [--megabytes 10] [--merges 8000] [--rounds 5]

CPU time of one process, medians; the packages are compiled, and `tokenizers` trains on all cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("RAYON_NUM_THREADS", "1")

from tinygen.data.sources import read_corpus
from tinygen.data.tokenizers import BPETokenizer
from tinygen.data.tokenizers.bpe.patterns import CL100K


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--merges", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    data = read_corpus("stdlib").stream[: int(options.megabytes * 1e6)]
    text = data.decode("utf-8", "ignore")
    size = 256 + options.merges
    tokenizer, seconds = timed(lambda: BPETokenizer.train(text, size))
    print(f"train {options.merges:,} merges on {len(data) / 1e6:.1f} MB")
    print(f"  tinygen     {seconds:6.2f} s")
    encoders: dict[str, Callable[[], Any]] = {"tinygen": lambda: fresh(tokenizer).encode(text)}
    try:
        theirs, seconds = timed(lambda: trained_by_tokenizers(text, size))
    except ImportError:
        print("  tokenizers  is not installed")
    else:
        print(f"  tokenizers  {seconds:6.2f} s")
        encoders["tokenizers"] = lambda: theirs.encode(text).ids
    try:
        import tiktoken
    except ImportError:
        print("tiktoken is not installed")
    else:
        ranks = {token: i for i, token in enumerate(tokenizer.tokens) if token is not None}
        ranked = tiktoken.Encoding("x", pat_str=CL100K, mergeable_ranks=ranks, special_tokens={})
        encoders["tiktoken"] = lambda: ranked.encode_ordinary(text)

    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(options.rounds):
        found = {}
        for name, encode in encoders.items():
            found[name], seconds = timed(encode)
            taken[name].append(len(data) / 1e6 / seconds)
        if len({tuple(ids) for ids in found.values()}) != 1:
            raise SystemExit("they give other ids")
    print(f"encode: equal ids, {len(found['tinygen']):,} of them")
    for name, rates in taken.items():
        low, high = min(rates), max(rates)
        print(f"  {name:11} {statistics.median(rates):6.2f} MB/s  ({low:.2f} - {high:.2f})")


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    began = time.process_time()
    result = run()
    return result, time.process_time() - began


def fresh(tokenizer: BPETokenizer) -> BPETokenizer:
    """Without the pieces that it has met."""
    tokenizer._pieces.clear()
    return tokenizer


def trained_by_tokenizers(text: str, size: int) -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    found = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(CL100K), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    found.train_from_iterator([text], trainer)
    return found


if __name__ == "__main__":
    main()
