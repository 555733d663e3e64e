"""tokenizer.json, as the `tokenizers` package has it, as far as it is byte-level BPE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygen.data.tokenizers.bpe.alphabet import as_bytes, as_characters
from tinygen.data.tokenizers.bpe.patterns import GPT2
from tinygen.errors import InputError

MOST_IDS = 1 << 22
"""Of a vocabulary: what says that it has more is damaged, and would only fill memory."""

REFUSED = (
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
)
"""Settings of its model that change what ids a text has, and that byte-level ones leave empty."""


def from_json(make: Any, data: Any) -> Any:
    """What `make`, a `BPETokenizer`, makes of a parsed tokenizer.json. Raises InputError."""
    if not isinstance(data, dict) or not isinstance(data.get("model"), dict):
        raise InputError("a tokenizer.json is an object with a 'model'")
    model = data["model"]
    if model.get("type", "BPE") != "BPE":
        raise InputError(f"its model is {model.get('type')!r}; byte-level BPE is what is read here")
    for setting in REFUSED:
        if model.get(setting):
            raise InputError(
                f"its model has {setting}={model[setting]!r}, which is not byte-level BPE"
            )
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not vocab:
        raise InputError("its model has no 'vocab', an object of tokens and ids")
    specials, added = _added(data.get("added_tokens") or [])
    ids = dict(vocab)
    for name, i in (specials | added).items():
        if ids.setdefault(name, i) != i:
            raise InputError(f"the token {name!r} has two ids, {ids[name]} and {i}")
    names = _by_id(ids)
    outside = specials.keys() | added.keys()
    tokens = [None if name is None or name in outside else as_bytes(name) for name in names]
    pattern, prefix_space = _cutting(data.get("pre_tokenizer"))
    return make(
        tokens,
        [_pair(merge, vocab) for merge in model.get("merges") or []],
        pattern=pattern,
        special_tokens=specials,
        added_tokens=added,
        whole_first=bool(model.get("ignore_merges")),
        nfc=_normal_form(data.get("normalizer")),
        prefix_space=prefix_space,
    )


def as_json(tokenizer: Any) -> dict[str, Any]:
    """The same as an object for a tokenizer.json, which the `tokenizers` package loads."""
    vocab = {as_characters(t): i for i, t in enumerate(tokenizer.tokens) if t is not None}
    name_of = {i: name for name, i in vocab.items()}
    byte_level: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": tokenizer.prefix_space}
    byte_level |= {"trim_offsets": True, "use_regex": tokenizer.pattern == GPT2}
    if tokenizer.pattern == GPT2:
        cutting: dict[str, Any] = byte_level
    else:
        split: dict[str, Any] = {"type": "Split", "pattern": {"Regex": tokenizer.pattern}}
        split |= {"behavior": "Isolated", "invert": False}
        cutting = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    fixed = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    outside = [(name, i, True) for name, i in tokenizer.special_tokens.items()]
    outside += [(name, i, False) for name, i in tokenizer.added_tokens.items()]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": name, **fixed, "special": special}
            for name, i, special in sorted(outside, key=lambda token: token[1])
        ],
        "normalizer": {"type": "NFC"} if tokenizer.nfc else None,
        "pre_tokenizer": cutting,
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": tokenizer.whole_first,
            "vocab": vocab,
            "merges": [[name_of[left], name_of[right]] for left, right in tokenizer.merges],
        },
    }


def _added(entries: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Special tokens and others, text to id."""
    found: tuple[dict[str, int], dict[str, int]] = {}, {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise InputError("an entry of its 'added_tokens' has no 'content'")
        name = entry["content"]
        for setting in ("single_word", "lstrip", "rstrip"):
            if entry.get(setting):
                raise InputError(f"its added token {name!r} has {setting}, which is not read here")
        found[0 if entry.get("special", True) else 1][name] = entry.get("id", -1)
    return found


def _by_id(ids: Mapping[str, Any]) -> list[str | None]:
    """The name of each id; None where there is none."""
    for name, i in ids.items():
        if type(i) is not int or not 0 <= i < MOST_IDS:
            raise InputError(f"the id of the token {name!r} is {i!r}; ids are 0, 1, 2, ...")
    names: list[str | None] = [None] * (max(ids.values()) + 1)
    for name, i in ids.items():
        if names[i] is not None:
            raise InputError(f"the id {i} has two tokens, {names[i]!r} and {name!r}")
        names[i] = name
    return names


def _pair(merge: Any, vocab: Mapping[str, int]) -> tuple[int, int]:
    """A merge, "left right" or [left, right], as ids."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2:
        raise InputError(f"the merge {merge!r} is no pair of tokens")
    for part in parts:
        if not isinstance(part, str) or part not in vocab:
            raise InputError(f"the merge {merge!r} is of {part!r}, which is no token")
    if parts[0] + parts[1] not in vocab:
        raise InputError(f"the merge {merge!r} makes {parts[0] + parts[1]!r}, which is no token")
    return vocab[parts[0]], vocab[parts[1]]


def _cutting(given: Any) -> tuple[str, bool]:
    """The pattern by which a text is cut, and whether a space is put in front."""
    steps = given.get("pretokenizers") if _type(given) == "Sequence" else [given]
    kinds = [_type(step) for step in steps or []]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return GPT2, bool(steps[0].get("add_prefix_space", True))
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        split, byte_level = steps
        pattern = (split.get("pattern") or {}).get("Regex")
        isolated = split.get("behavior") == "Isolated" and not split.get("invert")
        if isinstance(pattern, str) and isolated:
            return pattern, bool(byte_level.get("add_prefix_space", True))
    raise InputError(
        f"its pre_tokenizer is {' then '.join(map(str, kinds)) or 'missing'}; what is read here is "
        "ByteLevel, or Split by a Regex, Isolated, before a ByteLevel without use_regex"
    )


def _normal_form(given: Any) -> bool:
    if given is None or (_type(given) == "Sequence" and not given.get("normalizers")):
        return False
    if _type(given) == "NFC":
        return True
    raise InputError(f"its normalizer is {_type(given)}; NFC or none is what is read here")


def _type(step: Any) -> Any:
    return step.get("type") if isinstance(step, dict) else None
