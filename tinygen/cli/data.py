"""The data that --data knows by name: tinygen data list, tinygen data fetch tinyshakespeare"""

import argparse
import json
import sys

from tinygen.cli.parser import Parser
from tinygen.data.fetch import DATASETS, fetch, find
from tinygen.data.sources import EMBEDDED, read_corpus
from tinygen.errors import InputError, UsageError


def add_options(parser: Parser) -> None:
    parser.add_argument("action", choices=("list", "fetch"), metavar="list|fetch")
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to fetch")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    if options.action == "fetch":
        return _fetch(options)
    if options.name:
        raise UsageError(f"data list takes no name; did you mean data fetch {options.name}?")
    rows = [_embedded(name) for name in EMBEDDED] + [_fetched(name) for name in DATASETS]
    if options.json:
        print(json.dumps(rows))
    for row in [] if options.json else rows:
        print(f"{row['name']:16}{row['bytes']:>12,} bytes  {row['where']}\n{'':16}{row['origin']}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    if not options.name:
        raise UsageError(f"data fetch needs a name: {', '.join(DATASETS)}")
    path = fetch(options.name, progress=_progress if sys.stderr.isatty() else None)
    print(json.dumps({"name": options.name, "path": str(path)}) if options.json else path)
    return 0


def _embedded(name: str) -> dict[str, object]:
    corpus = read_corpus(name)
    return {
        "name": name,
        "bytes": corpus.size,
        "where": "in every Python",
        "origin": corpus.provenance,
        "sha256": corpus.sha256,
    }


def _fetched(name: str) -> dict[str, object]:
    dataset = DATASETS[name]
    try:
        path = find(name)
        where = str(path) if path else f"not here: tinygen data fetch {name}"
    except InputError as error:
        where = f"damaged: {error}"
    return {
        "name": name,
        "bytes": dataset.size,
        "where": where,
        "origin": dataset.origin,
        "sha256": dataset.sha256,
    }


def _progress(done: int, total: int) -> None:
    print(f"\r{done / total:6.1%}", end="\n" if done == total else "", file=sys.stderr, flush=True)
