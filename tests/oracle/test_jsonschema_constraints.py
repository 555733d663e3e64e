"""Texts of random schemas, by a model that knows nothing, against the package jsonschema."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen.decoding import Constraint, Recomputed, sample

jsonschema = pytest.importorskip("jsonschema", reason="the oracle needs jsonschema")

BYTES = [bytes([b]) for b in range(256)]
VALUES = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3)
VALUES |= st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=2), VALUES, max_size=2)
COUNTS = st.integers(0, 3)


def bounded(kind, least, most, low, high):
    return {"type": kind, least: min(low, high), most: max(low, high)}


LEAVES = st.one_of(
    st.sampled_from([{"type": t} for t in ("number", "boolean", "null", "integer")]),
    st.builds(
        bounded, st.just("string"), st.just("minLength"), st.just("maxLength"), COUNTS, COUNTS
    ),
    st.builds(
        bounded,
        st.just("integer"),
        st.just("minimum"),
        st.just("maximum"),
        st.integers(-2000, 2000),
        st.integers(-2000, 2000),
    ),
    st.sampled_from(["a", "^[0-9]{2}$", '"+', "^\\\\$", "é|x$"]).map(
        lambda p: {"type": "string", "pattern": p}
    ),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    VALUES.map(lambda value: {"const": value}),
)


@st.composite
def objects(draw, inner):
    properties = draw(st.dictionaries(st.text('ab"\n', max_size=2), inner, max_size=4))
    required = [name for name in properties if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required}


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        objects(inner)
        | st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
        | st.tuples(inner, COUNTS, COUNTS).map(
            lambda t: {**bounded("array", "minItems", "maxItems", t[1], t[2]), "items": t[0]}
        )
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(SCHEMAS, st.integers(0, 99))
def test_every_text_is_valid(schema, seed):
    jsonschema.Draft202012Validator.check_schema(schema)
    model = Recomputed(lambda tokens: np.zeros((*tokens.shape, 256)), 256)
    steps = sample(
        model,
        np.array([[0]]),
        max_new_tokens=500,
        rng=tg.random.Generator(seed),
        processors=[Constraint.json_schema(schema, BYTES)],
    )
    text = b"".join(BYTES[int(s.tokens[0])] for s in steps)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
