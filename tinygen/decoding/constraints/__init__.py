"""Constrained decoding: texts that match a regular expression or a JSON schema, or
lines that hold given words, by construction."""

from tinygen.decoding.constraints.automaton import Automaton, automaton_of
from tinygen.decoding.constraints.constraint import Constraint
from tinygen.decoding.constraints.json_schema import language_of_schema
from tinygen.decoding.constraints.regex import parse
from tinygen.decoding.constraints.words import line_with_words

__all__ = [
    "Automaton",
    "Constraint",
    "automaton_of",
    "language_of_schema",
    "line_with_words",
    "parse",
]
