"""Constraints: every text matches, whatever the vocabulary and the budget; no other is lost."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import TableModel, assert_distributed, log_prob, texts

import tinygen as tg
from tinygen.decoding import (
    Constraint,
    Sampler,
    beam_search,
    sample,
    sample_speculatively,
)
from tinygen.decoding.constraints import automaton_of, lifting
from tinygen.decoding.constraints.integers import integers_between
from tinygen.decoding.processors import Context
from tinygen.errors import UsageError

BYTES = [bytes([b]) for b in range(256)]
PIECES = [b"a", b"b", b"ab", b"ba", b"aab", None, b""]
PATTERNS = ["a*", "(ab)+", "a{2,5}", "b?a|ab{3}", "(a|b)*bb", "aab|b"]
PROMPT = np.array([[0]])


def run(constraint, vocabulary, budget, way=sample, seed=0, **options):
    model = TableModel(len(vocabulary), "letters")
    if way is not beam_search:
        options["rng"] = tg.random.Generator(seed)
    if way is sample_speculatively:
        options["draft"] = TableModel(len(vocabulary), "draft")
    steps = way(
        model,
        prompts=PROMPT,
        max_new_tokens=budget,
        processors=[constraint],
        end=constraint.end,
        **options,
    )
    tokens = [int(s.tokens[0]) for s in steps]
    return b"".join(vocabulary[t] or b"" for t in tokens), tokens


@given(st.sampled_from(PATTERNS), st.integers(4, 9), st.integers(0, 99), st.booleans())
@pytest.mark.parametrize("way", [sample, beam_search, sample_speculatively])
def test_what_is_written_matches_whatever_the_budget(way, pattern, budget, seed, ends):
    constraint = Constraint.regex(pattern, PIECES, end=5 if ends else ())
    text, tokens = run(constraint, PIECES, budget, way, seed)
    assert re.fullmatch(pattern, text.decode())
    assert tokens.count(5) <= ends
    assert 6 not in tokens  # a token without text would go on for ever


@pytest.mark.parametrize("way", [sample, sample_speculatively])
def test_constrained_texts_are_distributed_as_enumerated(way):
    """Each token from the model's distribution among those that can still be completed."""
    pattern, budget, vocabulary = "a{1,3}b?", 3, [b"a", b"b", b"aa", None]
    constraint = Constraint.regex(pattern, vocabulary, end=3)
    model = TableModel(4, "letters")

    def step(text):
        context = Context(np.array(text), 1, budget - len(text) + 1)
        logits = constraint([context], model.logits(np.array([text]))[:, -1])
        return Sampler().probabilities(logits)[0]

    def ended(added):
        whole = Context(np.array([0, *added]), 1, budget - len(added))
        return added[-1:] == (3,) or constraint.finished(whole)

    expected = texts(step, (0,), budget, 4, ended)
    for added in expected:
        assert re.fullmatch(pattern, b"".join(vocabulary[t] or b"" for t in added).decode())
    found = [tuple(run(constraint, vocabulary, budget, way, seed)[1]) for seed in range(600)]
    assert_distributed(found, expected)


def test_the_first_token_has_the_distribution_among_the_completable():
    vocabulary = [b"a", b"b", b"aa", b"c"]
    constraint = Constraint.regex("aaa|b", vocabulary)
    logits = np.array([[0.3, 0.1, -0.4, 5.0]])
    for budget, allowed in [(3, [0, 1, 2]), (2, [0, 1, 2]), (1, [1])]:
        found = constraint([Context(PROMPT[0], 1, budget)], logits)
        assert np.flatnonzero(found[0] > -np.inf).tolist() == allowed
        assert np.array_equal(found[0][allowed], logits[0][allowed])


@given(st.sampled_from(PATTERNS), st.integers(5, 9), st.integers(0, 9))
def test_where_distances_are_counted_in_bytes_the_text_matches_too(pattern, budget, seed):
    exact = Constraint.regex(pattern, PIECES)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lifting, "EXACT", 0)
        by_bytes = Constraint.regex(pattern, PIECES)
        pairs = Constraint.regex("(ab)+", [b"ab"])  # no byte is a token by itself
    assert (by_bytes.tokens.distances >= exact.tokens.distances).all()
    assert pairs.tokens.distances[0] == 1
    assert re.fullmatch(pattern, run(by_bytes, PIECES, budget, seed=seed)[0].decode())


def test_a_wide_beam_finds_the_likeliest_text_that_matches():
    vocabulary = [b"a", b"b", b"aa", None]
    constraint = Constraint.regex("a{1,3}b?", vocabulary, end=3)
    _, tokens = run(constraint, vocabulary, 4, beam_search, beams=200)
    model, found = TableModel(4, "letters"), {}

    def grow(added):
        text = b"".join(vocabulary[t] or b"" for t in added).decode()
        if len(added) == 4 or added[-1:] == (3,):
            if re.fullmatch("a{1,3}b?", text):
                found[added] = log_prob(model, (0,), added)
            return
        for token in range(4):
            grow((*added, token))

    grow(())
    assert tuple(tokens) == max(found, key=found.get)


def test_characters_cut_by_tokens_are_put_together():
    pieces = [b"\xe2", b"\x82", b"\xac", b"\xe2\x82", b"\xc3", b"\xa9", b"x"]
    for seed in range(20):
        text, _ = run(Constraint.regex("[é€]{3}", pieces), pieces, 9, seed=seed)
        assert re.fullmatch("[é€]{3}", text.decode())


@given(st.none() | st.integers(-150, 150), st.none() | st.integers(-150, 150))
def test_integers_between(least, most):
    if least is not None and most is not None and least > most:
        least, most = most, least
    automaton = automaton_of(integers_between(least, most))
    for value in [*range(-205, 205), 999, 1000, -12345]:
        expected = (least is None or value >= least) and (most is None or value <= most)
        assert automaton.matches(str(value).encode()) == expected, value
    for text in (b"", b"-", b"-0", b"01", b"-01", b"+1", b"1."):
        assert not automaton.matches(text)


SCHEMA = {
    "$defs": {"tag": {"enum": ["x", 'a "quoted" \\ é', 1.5, None, [1, {"k": True}]]}},
    "title": "a thing",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 4},
        "code": {"type": "string", "pattern": '^[A-Z"\\n]{2}$'},
        "n": {"type": "integer", "minimum": -5, "exclusiveMaximum": 120},
        "size": {"type": ["number", "null"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 2},
        "both": {"anyOf": [{"type": "boolean"}, {"const": {"a": []}}]},
    },
    "required": ["name", "n"],
}


def test_what_a_schema_makes_is_json_of_that_form():
    constraint = Constraint.json_schema(SCHEMA, BYTES)
    seen = set()
    for seed in range(40):
        text, _ = run(constraint, BYTES, 300, seed=seed)
        value = json.loads(text)
        assert {"name", "n"} <= value.keys() <= SCHEMA["properties"].keys()
        assert list(value) == [name for name in SCHEMA["properties"] if name in value]
        assert 1 <= len(value["name"]) <= 4
        assert -5 <= value["n"] < 120
        assert re.fullmatch('[A-Z"\n]{2}', value.get("code", "AA"))
        assert all(t in SCHEMA["$defs"]["tag"]["enum"] for t in value.get("tags", []))
        assert value.get("both", True) in (True, False, {"a": []})
        seen |= value.keys()
    assert seen == SCHEMA["properties"].keys()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "#: a schema is an object with a type"),
        ({}, "#: give a type, const"),
        ({"type": "text"}, "no type 'text'"),
        ({"type": "string", "format": "date"}, "'format' is not supported beside type"),
        ({"type": "number", "minimum": 0}, "'minimum' is not supported"),
        ({"enum": []}, "enum is a list of one entry or more"),
        ({"anyOf": [{"type": "null"}, {}]}, "#/anyOf/1: give a type"),
        ({"$ref": "#/$defs/a"}, "nothing at #/\\$defs/a"),
        ({"$ref": "http://x"}, r"\$ref names a place in this schema"),
        ({"$ref": "#"}, "# leads back to itself"),
        ({"type": "array"}, "an array needs items"),
        ({"type": "array", "items": {"type": "null"}, "minItems": -1}, "minItems is -1"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "nothing is both"),
        ({"type": "string", "pattern": "a", "maxLength": 2}, "pattern and lengths"),
        ({"type": "string", "pattern": "("}, "regular expression '\\(' cannot be read"),
        ({"type": "integer", "minimum": 0.5}, "minimum of an integer is an integer, not 0.5"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no integer is at least 2"),
        ({"type": "object", "required": ["a"]}, "'a' is required and not among"),
        ({"type": "object", "additionalProperties": {"type": "null"}}, "with a schema"),
        ({"type": "object", "patternProperties": {}}, "'patternProperties' is not supported"),
    ],
)
def test_a_schema_that_cannot_be_bound_is_explained(schema, message):
    with pytest.raises(UsageError, match=message):
        Constraint.json_schema(schema, BYTES)


def test_impossible_constraints_are_explained():
    with pytest.raises(UsageError, match="no tokens of the vocabulary"):
        Constraint.regex("abc", [b"a", b"b", None])
    with pytest.raises(UsageError, match="needs 6 tokens to be met, and 5 are left; allow more"):
        run(Constraint.regex("a{6}b*", [b"a", b"b"]), [b"a", b"b"], 5)
    with pytest.raises(UsageError, match="for 2 tokens, and the model has 3"):
        run(Constraint.regex("a", [b"a", b"b"]), [b"a", b"b", b"c"], 5)
    with pytest.raises(UsageError, match="end: a token is -1"):
        Constraint.regex("a", [b"a"], end=-1)


def test_a_text_that_is_complete_ends_of_itself():
    text, tokens = run(Constraint.regex("ab{0,2}", [b"a", b"b"]), [b"a", b"b"], 50)
    assert text == b"abb"
    assert len(tokens) == 3
    assert run(Constraint.regex("", [b"a"]), [b"a"], 5) == (b"", [])
