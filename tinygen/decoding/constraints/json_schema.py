"""JSON Schema (draft 2020-12) as a regular language: JSON texts that are valid under the schema.

Supported: `type` (one or several), `enum`, `const`; `properties` and `required` of objects, which
have their properties in the schema's order and no others; `items`, `minItems`, `maxItems` of
arrays; `minLength`, `maxLength` or `pattern` of strings; `minimum`, `maximum` and their exclusive
forms of integers; `anyOf`, and `$ref` to a place in the same schema that does not lead back to
itself. Every other keyword that would restrict the texts is refused by name, since what cannot be
bound must not pass for bound.

The texts have a space or none after `:` and `,`, and none elsewhere; characters stand for
themselves where JSON lets them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygen.arguments import index
from tinygen.decoding.constraints.integers import integers_between
from tinygen.decoding.constraints.language import (
    ANY,
    Chain,
    Characters,
    Choice,
    Language,
    Repeat,
    characters,
    literal,
    optional,
)
from tinygen.decoding.constraints.regex import parse
from tinygen.errors import UsageError

_SAYS_NOTHING = {
    "$comment", "$defs", "$id", "$schema", "definitions", "default", "deprecated", "description",
    "examples", "readOnly", "title", "writeOnly",
}  # fmt: skip
_ESCAPED = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\b": "\\b",
    "\f": "\\f",
}
_PLAIN = characters([(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x10FFFF)])
_QUOTE, _SPACE = literal('"'), optional(literal(" "))
_NUMBER = parse(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")


def language_of_schema(schema: Any) -> Language:
    """The JSON texts of a schema: a dict, as `json.loads` gives it. Raises UsageError."""
    return _Reader(schema).read(schema, ())


class _Reader:
    """Reads a schema; `path` is where in it the reader is."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.open: list[str] = []
        """The references that are being followed."""
        self.types: dict[str, tuple[Callable[..., Language], set[str]]] = {
            "object": (self.object, {"properties", "required", "additionalProperties"}),
            "array": (self.array, {"items", "minItems", "maxItems"}),
            "string": (self.string, {"minLength", "maxLength", "pattern"}),
            "integer": (
                self.integer,
                {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
            ),
            "number": (lambda schema, path: _NUMBER, set()),
            "boolean": (lambda schema, path: Choice((literal("true"), literal("false"))), set()),
            "null": (lambda schema, path: literal("null"), set()),
        }

    def fail(self, path: Sequence[str], what: str) -> UsageError:
        return UsageError(f"the JSON schema at #{''.join('/' + part for part in path)}: {what}.")

    def read(self, schema: Any, path: tuple[str, ...]) -> Language:
        if not isinstance(schema, Mapping):
            raise self.fail(path, f"a schema is an object with a type, not {schema!r}")
        if "$ref" in schema:
            self.only(schema, {"$ref"}, path)
            return self.reference(schema["$ref"], path)
        if "anyOf" in schema:
            self.only(schema, {"anyOf"}, path)
            options = self.sequence(schema, "anyOf", path)
            read = [self.read(s, (*path, "anyOf", str(i))) for i, s in enumerate(options)]
            return Choice(tuple(read))
        for name in ("const", "enum"):
            if name in schema:
                self.only(schema, {name, "type"}, path)
                values = [schema[name]] if name == "const" else self.sequence(schema, name, path)
                return Choice(tuple(_json(value) for value in values))
        if "type" not in schema:
            raise self.fail(path, "give a type, const, enum, anyOf or $ref, to say what comes here")
        names = schema["type"]
        names = names if isinstance(names, Sequence) and not isinstance(names, str) else [names]
        unknown = [name for name in names if name not in self.types]
        if unknown:
            raise self.fail(path, f"there is no type {unknown[0]!r}")
        self.only(schema, {"type"}.union(*(self.types[name][1] for name in names)), path)
        return Choice(tuple(self.types[name][0](schema, path) for name in names))

    def only(self, schema: Mapping[str, Any], known: set[str], path: tuple[str, ...]) -> None:
        """Refuse what would restrict the texts otherwise than is looked at."""
        for word in schema:
            if word not in known | _SAYS_NOTHING:
                beside = " and ".join(sorted(known & set(schema)))
                raise self.fail(path, f"{word!r} is not supported beside {beside}")

    def sequence(self, schema: Mapping[str, Any], name: str, path: tuple[str, ...]) -> list[Any]:
        found = schema[name]
        if not isinstance(found, list) or not found:
            raise self.fail(path, f"{name} is a list of one entry or more, not {found!r}")
        return found

    def count(self, schema: Mapping[str, Any], name: str, path: tuple[str, ...]) -> int | None:
        """The value of a keyword that counts, None if it is not there."""
        try:
            found = index(schema[name]) if name in schema else None
        except TypeError:
            found = -1
        if found is not None and found < 0:
            raise self.fail(path, f"{name} is {schema[name]!r}; it counts, so 0 or more")
        return found

    def counts(
        self, schema: Mapping[str, Any], least: str, most: str, path: tuple[str, ...]
    ) -> tuple[int, int | None]:
        low, high = self.count(schema, least, path) or 0, self.count(schema, most, path)
        if high is not None and high < low:
            raise self.fail(path, f"{least} is {low}, and {most} {high}: nothing is both")
        return low, high

    def reference(self, ref: Any, path: tuple[str, ...]) -> Language:
        if not isinstance(ref, str) or not ref.startswith("#"):
            raise self.fail(path, f"$ref names a place in this schema, '#/...', not {ref!r}")
        if ref in self.open:
            raise self.fail(path, f"{ref} leads back to itself, and a regular language does not")
        found: Any = self.root
        for part in ref[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise self.fail(path, f"there is nothing at {ref}")
            found = found[name]
        self.open.append(ref)
        language = self.read(found, tuple(ref[1:].split("/")[1:]))
        self.open.pop()
        return language

    # ---- types

    def object(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> Language:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise self.fail(path, "properties is an object, and required a list of names")
        missing = [name for name in required if name not in properties]
        if missing:
            raise self.fail(path, f"{missing[0]!r} is required and not among the properties")
        if schema.get("additionalProperties") not in (None, True, False):
            raise self.fail(path, "additionalProperties with a schema is not supported")
        # after: what may follow a property; first: what may begin the object. From the last back.
        after: Language = Chain(())
        first: Language = Chain(())
        for name in reversed(list(properties)):
            value = self.read(properties[name], (*path, "properties", name))
            entry = Chain((_json(name), literal(":"), _SPACE, value))
            follows = Chain((literal(","), _SPACE, entry))
            begins = Chain((entry, after))
            if name in required:
                first, after = begins, Chain((follows, after))
            else:
                first, after = Choice((begins, first)), Chain((optional(follows), after))
        return Chain((literal("{"), first, literal("}")))

    def array(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> Language:
        if "items" not in schema:
            raise self.fail(path, "an array needs items, to say what stands in it")
        least, most = self.counts(schema, "minItems", "maxItems", path)
        if most == 0:
            return literal("[]")
        item = self.read(schema["items"], (*path, "items"))
        more = Chain((literal(","), _SPACE, item))
        rest = Repeat(more, max(least - 1, 0), None if most is None else most - 1)
        items: Language = Chain((item, rest))
        return Chain((literal("["), items if least else optional(items), literal("]")))

    def string(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> Language:
        least, most = self.counts(schema, "minLength", "maxLength", path)
        text: Language = Repeat(ANY, least, most)
        if "pattern" in schema:
            if "minLength" in schema or "maxLength" in schema:
                raise self.fail(path, "pattern and lengths together are not supported")
            if not isinstance(schema["pattern"], str):
                raise self.fail(path, f"pattern is a text, not {schema['pattern']!r}")
            text = parse(schema["pattern"], anywhere=True)
        return Chain((_QUOTE, _quoted(text), _QUOTE))

    def integer(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> Language:
        limits: dict[str, int] = {}
        for word in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
            if word in schema:
                try:
                    limits[word] = index(schema[word])
                except TypeError as error:
                    problem = f"{word} of an integer is an integer, not {schema[word]!r}"
                    raise self.fail(path, problem) from error
        low = [limits["minimum"]] if "minimum" in limits else []
        low += [limits["exclusiveMinimum"] + 1] if "exclusiveMinimum" in limits else []
        high = [limits["maximum"]] if "maximum" in limits else []
        high += [limits["exclusiveMaximum"] - 1] if "exclusiveMaximum" in limits else []
        least, most = max(low, default=None), min(high, default=None)
        if least is not None and most is not None and most < least:
            raise self.fail(path, f"no integer is at least {least} and at most {most}")
        return integers_between(least, most)


def _json(value: Any) -> Language:
    """The text of a JSON value, as this module writes JSON."""
    if isinstance(value, str):
        return Chain((_QUOTE, _quoted(literal(value)), _QUOTE))
    if isinstance(value, Mapping):
        entries = [Chain((_json(k), literal(":"), _SPACE, _json(v))) for k, v in value.items()]
        return Chain((literal("{"), *_separated(entries), literal("}")))
    if isinstance(value, Sequence):
        return Chain((literal("["), *_separated([_json(v) for v in value]), literal("]")))
    return literal(json.dumps(value))


def _separated(parts: Sequence[Language]) -> list[Language]:
    comma: list[Language] = [literal(","), _SPACE]
    return [piece for i, part in enumerate(parts) for piece in (*(comma if i else []), part)]


def _quoted(text: Language) -> Language:
    """The same texts inside a JSON string: some characters are escaped there."""
    if isinstance(text, Characters):
        plain, escapes = [], []
        for first, last in text.ranges:
            plain += [(max(first, a), min(last, b)) for a, b in _PLAIN.ranges]
            special = [*range(first, min(last, 0x1F) + 1), ord('"'), ord("\\")]
            escapes += [code for code in special if first <= code <= last]
        options = [literal(_ESCAPED.get(chr(code), f"\\u{code:04x}")) for code in escapes]
        return Choice((characters(plain), *options)) if options else characters(plain)
    if isinstance(text, Repeat):
        return Repeat(_quoted(text.part), text.least, text.most)
    if isinstance(text, Chain):
        return Chain(tuple(_quoted(part) for part in text.parts))
    return Choice(tuple(_quoted(option) for option in text.options))
