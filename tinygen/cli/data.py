"""The data that --data knows by name: tinygen data list, tinygen data fetch mnist"""

import argparse
import json
import sys
from collections.abc import Callable

from tinygen.cli.parser import Parser
from tinygen.data.datasets import DATASETS
from tinygen.data.fetch import fetch, find
from tinygen.data.images.sources import EMBEDDED_IMAGES
from tinygen.data.sources import EMBEDDED
from tinygen.errors import InputError, UnavailableError, UsageError

Row = dict[str, object]


def add_options(parser: Parser) -> None:
    parser.add_argument("action", choices=("list", "fetch"), metavar="list|fetch")
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--offline", action="store_true", help="only what is here already")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    if options.action == "fetch":
        return _fetch(options)
    if options.name:
        raise UsageError(f"data list takes no name; did you mean data fetch {options.name}?")
    rows = [_text(name) for name in EMBEDDED]
    rows += [_images(name) for name in EMBEDDED_IMAGES]
    rows += [_fetched(name) for name in DATASETS]
    if options.json:
        print(json.dumps(rows))
    for row in [] if options.json else rows:
        print(f"{row['name']:16}{row['bytes']:>12,} bytes  {row['where']}\n{'':16}{row['origin']}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    if not options.name:
        raise UsageError(f"data fetch needs a name: {', '.join(DATASETS)}")
    if options.name in DATASETS:
        dataset = DATASETS[options.name]
        print(f"{dataset.origin}\nlicence: {dataset.licence}", file=sys.stderr)
    progress = _progress if sys.stderr.isatty() else None
    path = fetch(options.name, offline=options.offline, progress=progress)
    print(json.dumps({"name": options.name, "path": str(path)}) if options.json else path)
    return 0


def _text(name: str) -> Row:
    return _row(name, "text", "in every Python", lambda: _about_text(name))


def _images(name: str) -> Row:
    return _row(name, "images", "in tinygen", lambda: _about_images(name))


def _row(name: str, kind: str, where: str, about: Callable[[], Row]) -> Row:
    try:
        return {"name": name, "kind": kind, "where": where, **about()}
    except UnavailableError as error:
        return {"name": name, "kind": kind, "where": str(error), "bytes": 0, "origin": ""}


def _about_text(name: str) -> Row:
    corpus = EMBEDDED[name]()
    return {
        "bytes": corpus.size,
        "origin": corpus.provenance,
        "licence": corpus.licence,
        "sha256": corpus.sha256,
    }


def _about_images(name: str) -> Row:
    data = EMBEDDED_IMAGES[name]()
    return {
        "bytes": data.images.nbytes,
        "origin": f"{len(data):,} images {data.size}: {data.provenance}",
        "licence": data.licence,
        "sha256": data.sha256,
    }


def _fetched(name: str) -> Row:
    dataset = DATASETS[name]
    try:
        path = find(name)
        where = str(path) if path else f"not here: tinygen data fetch {name}"
    except InputError as error:
        where = f"damaged: {error}"
    return {
        "name": name,
        "kind": dataset.kind,
        "where": where,
        "bytes": dataset.size,
        "origin": dataset.origin,
        "licence": dataset.licence,
        "sha256": {file.filename: file.sha256 for file in dataset.files},
    }


def _progress(done: int, total: int) -> None:
    print(f"\r{done / total:6.1%}", end="\n" if done == total else "", file=sys.stderr, flush=True)
