"""The decimal integers between two limits, as a regular language."""

from __future__ import annotations

from tinygen.decoding.constraints.language import (
    Chain,
    Characters,
    Choice,
    Language,
    Repeat,
    literal,
)


def integers_between(least: int | None = None, most: int | None = None) -> Language:
    """The integers from `least` to `most`, without leading zeros; None is no limit."""
    options: list[Language] = []
    if most is None or most >= 0:
        options.append(_naturals(max(least or 0, 0), most))
    if least is None or least < 0:
        below = None if least is None else -least
        options.append(
            Chain((literal("-"), _naturals(1 if most is None else max(-most, 1), below)))
        )
    return Choice(tuple(options))


def _naturals(least: int, most: int | None) -> Language:
    """From `least`, 0 or more."""
    digits = len(str(least))
    if most is None:  # those of as many digits, and all that have more
        longer = Chain((_digits(1, 9), Repeat(_digits(0, 9), digits)))
        return Choice((_naturals(least, 10**digits - 1), longer))
    options = []
    for length in range(digits, len(str(most)) + 1):
        first = max(least, 10 ** (length - 1) if length > 1 else 0)
        options.append(_same_length(str(first), str(min(most, 10**length - 1))))
    return Choice(tuple(options))


def _same_length(first: str, last: str) -> Language:
    """Numbers of one length, by their first digit: at the limits the rest is limited too."""
    low, high, rest = int(first[0]), int(last[0]), len(first) - 1
    if not rest:
        return _digits(low, high)
    if low == high:
        return Chain((_digits(low, low), _same_length(first[1:], last[1:])))
    options: list[Language] = [
        Chain((_digits(low, low), _same_length(first[1:], "9" * rest))),
        Chain((_digits(high, high), _same_length("0" * rest, last[1:]))),
    ]
    if high - low > 1:
        options.append(Chain((_digits(low + 1, high - 1), Repeat(_digits(0, 9), rest, rest))))
    return Choice(tuple(options))


def _digits(first: int, last: int) -> Characters:
    return Characters(((ord("0") + first, ord("0") + last),))
