"""Byte-pair encodings: trained, looked at, applied.

tinygen tokenizer train corpus.txt more/ --vocab-size 8192 --out tokenizer.json
tinygen tokenizer info tokenizer.json
tinygen tokenizer encode tokenizer.json "some text"      (or - for standard input)
tinygen tokenizer decode tokenizer.json 312 9 1047
"""

import argparse
import json
import sys
from pathlib import Path

from tinygen.cli.parser import Parser
from tinygen.cli.session import note
from tinygen.data.sources import read_corpus
from tinygen.data.tokenizers import BPETokenizer, Tokenizer, load_tokenizer
from tinygen.data.tokenizers.bpe.patterns import PATTERNS
from tinygen.errors import OutOfRangeError, OutputError, UsageError

ACTIONS = ("train", "info", "encode", "decode")


def add_options(parser: Parser) -> None:
    parser.add_argument("action", choices=ACTIONS, metavar="|".join(ACTIONS))
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="ARGUMENT",
        help="train: data; the others: a tokenizer's file or folder, then a text or ids",
    )
    parser.add_argument("--out", type=Path, metavar="PATH", help="X.json, X.tiktoken or a folder")
    parser.add_argument("--vocab-size", type=int, default=8192, help="ids in all (8192)")
    parser.add_argument(
        "--pattern", default="cl100k", help=f"{', '.join(PATTERNS)}, or a regular expression"
    )
    parser.add_argument(
        "--special", action="append", default=[], metavar="TEXT", help="a special token; again"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    if not options.arguments:
        what = "data: paths, or docs, stdlib" if options.action == "train" else "a tokenizer"
        raise UsageError(f"tokenizer {options.action} needs {what}")
    if options.action == "train":
        return _train(options)
    tokenizer = load_tokenizer(options.arguments[0])
    return {"info": _info, "encode": _encode, "decode": _decode}[options.action](options, tokenizer)


def _train(options: argparse.Namespace) -> int:
    if options.out is None:
        raise UsageError("tokenizer train needs --out PATH: X.json, X.tiktoken or a folder")
    if options.out.exists():
        raise OutputError(f"{options.out} exists already; give --out another name")
    corpora = [read_corpus(source, raw=True) for source in options.arguments]
    documents = [document for corpus in corpora for document in corpus.documents]
    tokenizer = BPETokenizer.train(
        documents,
        options.vocab_size,
        pattern=options.pattern,
        special_tokens=options.special,
        progress=_progress if sys.stderr.isatty() else None,
    )
    tokenizer.save(options.out)
    size = sum(map(len, documents))
    found = {"path": str(options.out), "vocab_size": tokenizer.vocab_size, "bytes": size}
    told = f"{options.out}: {tokenizer.vocab_size:,} ids learned from {size:,} bytes"
    print(json.dumps(found) if options.json else told)
    if tokenizer.vocab_size < options.vocab_size:
        note("no pair of ids is left to join: give more text, or a smaller --vocab-size")
    return 0


def _info(options: argparse.Namespace, tokenizer: Tokenizer) -> int:
    found = {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size}
    if isinstance(tokenizer, BPETokenizer):
        names = {text: name for name, text in PATTERNS.items()}
        held = [token for token in tokenizer.tokens if token is not None]
        found |= {
            "merges": len(tokenizer.merges),
            "pattern": names.get(tokenizer.pattern, tokenizer.pattern),
            "special_tokens": tokenizer.special_tokens | tokenizer.added_tokens,
            "longest": max(held, key=len).decode("utf-8", "replace"),
        }
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:16}{value}" for name, value in found.items()))
    return 0


def _encode(options: argparse.Namespace, tokenizer: Tokenizer) -> int:
    if len(options.arguments) != 2:
        raise UsageError("tokenizer encode needs a tokenizer and one text, in quotes; - reads it")
    text = options.arguments[1]
    data = sys.stdin.buffer.read() if text == "-" else text.encode(errors="surrogateescape")
    ids = tokenizer.encode(data).tolist()
    print(json.dumps({"ids": ids, "bytes": len(data)}) if options.json else " ".join(map(str, ids)))
    return 0


def _decode(options: argparse.Namespace, tokenizer: Tokenizer) -> int:
    given = options.arguments[1:]
    words = sys.stdin.read().split() if given == ["-"] else given
    try:
        text = tokenizer.decode_bytes([int(word) for word in words])
    except (ValueError, OutOfRangeError) as error:
        raise UsageError(f"tokenizer decode takes ids, whole numbers: {error}") from error
    if options.json:
        print(json.dumps({"text": text.decode("utf-8", "replace")}))
    else:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    return 0


def _progress(done: int, wanted: int) -> None:
    if done == wanted or done % 64 == 0:
        end = "\n" if done == wanted else ""
        print(f"\r{done:,} of {wanted:,} merges", end=end, file=sys.stderr, flush=True)
