"""Settings: every way in gives the same configuration, and nothing else gets in."""

import contextlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.errors import InputError, UsageError
from tinygen.training.config import Settings, differences, read_config, setting

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@dataclass(frozen=True)
class Inner(Settings):
    count: int = setting(3, "an int", least=1)
    rate: float = setting(0.5, "a float")
    pair: tuple[float, float] = setting((0.9, 0.99), "two floats", least=0.0, below=1.0)
    on: bool = setting(False, "a bool")
    name: str = setting("x", "a text")
    kind: Literal["red", "green"] = setting("red", "a choice")


@dataclass(frozen=True)
class Whole(Settings):
    inner_part: Inner = field(default=Inner())
    top: int = setting(0, "a value beside the sections")


unit = st.floats(0.0, 1.0, exclude_max=True)
inners = st.builds(
    Inner,
    count=st.integers(min_value=1),
    rate=FINITE,
    pair=st.tuples(unit, unit),
    on=st.booleans(),
    name=st.text(),
    kind=st.sampled_from(["red", "green"]),
)
wholes = st.builds(Whole, inner_part=inners, top=st.integers())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
near_settings = st.dictionaries(
    st.sampled_from(["inner_part", "top", "tpo"]),
    json_values
    | st.dictionaries(st.sampled_from(["count", "rate", "pair", "on", "kind"]), json_values),
)


def as_toml(values: dict[str, Any]) -> str:
    """TOML of numbers, lists and tables; texts as its unicode escapes."""

    def written(value: Any) -> str:
        if isinstance(value, str):
            return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
        if isinstance(value, list):
            return "[" + ", ".join(map(written, value)) + "]"
        return str(value).lower()

    def table(entries: dict[str, Any]) -> list[str]:
        flat = {k: v for k, v in entries.items() if not isinstance(v, dict)}
        return [f"{name} = {written(value)}" for name, value in flat.items()]

    sections = {name: entry for name, entry in values.items() if isinstance(entry, dict)}
    lines = table(values)
    for name, entries in sections.items():
        lines += [f"[{name}]", *table(entries)]
    return "\n".join(lines)


@given(wholes, wholes)
def test_dicts_and_json_round_trip(config: Whole, base: Whole) -> None:
    values = json.loads(json.dumps(config.to_dict()))
    assert base.updated(values, where="test") == config


@given(wholes, wholes)
def test_command_line_texts_round_trip(config: Whole, base: Whole) -> None:
    assert base.overridden(differences(config, base)) == config


@given(wholes.filter(lambda config: abs(config.top) < 2**63 and config.inner_part.count < 2**63))
def test_toml_round_trips(tmp_path_factory: pytest.TempPathFactory, config: Whole) -> None:
    path = tmp_path_factory.mktemp("config") / "f.toml"
    path.write_text(as_toml(config.to_dict()), encoding="utf-8")
    assert Whole().updated(read_config(path), where=str(path)) == config


@given(near_settings)
def test_any_values_give_settings_or_a_usage_error(values: dict[str, Any]) -> None:
    try:
        config = Whole().updated(values, where="test")
    except UsageError:
        return
    assert config.inner_part.count >= 1
    assert type(config.top) is int
    assert type(config.inner_part.rate) is float


@given(st.binary(max_size=60), st.sampled_from([".toml", ".json"]))
def test_any_file_is_settings_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("config") / f"f{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(UsageError, InputError):
        Whole().updated(read_config(path), where="f")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"inner_part": {"cuont": 3}}, "did you mean inner_part.count?"),
        ({"iner_part": {}}, "did you mean inner_part?"),
        ({"inner_part": {"count": 0}}, "inner_part.count must be at least 1, not 0"),
        ({"inner_part": {"count": True}}, "inner_part.count must be a whole number, not True"),
        ({"inner_part": {"count": 3.0}}, "inner_part.count must be a whole number, not 3.0"),
        ({"inner_part": {"rate": float("nan")}}, "inner_part.rate must be a finite number"),
        ({"inner_part": {"rate": 10**400}}, "inner_part.rate must be a finite number"),
        ({"inner_part": {"pair": [0.5]}}, "inner_part.pair must have 2 values, not 1"),
        ({"inner_part": {"pair": [0.5, 1]}}, "inner_part.pair must be below 1.0, not 1.0"),
        ({"inner_part": {"pair": 3}}, "inner_part.pair must be a list, not 3"),
        ({"inner_part": {"kind": "gren"}}, "inner_part.kind cannot be 'gren'; did you mean green?"),
        ({"inner_part": 3}, "inner_part is a section of settings, not 3"),
        ({"top": {}}, "top must be a whole number, not {}"),
    ],
)
def test_errors_name_the_setting_and_the_cure(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=r"^f\.toml: ") as caught:
        Whole().updated(values, where="f.toml")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (("inner-part.count", "six"), "--inner-part.count must be a whole number, not 'six'"),
        (("inner-part.count", "1e3"), "must be a whole number"),
        (("inner-part.on", "yes"), "--inner-part.on must be true or false, not 'yes'"),
        (("inner-part.pair", "0.1"), "--inner-part.pair must have 2 values, not 1"),
        (("inner-part.cont", "6"), "did you mean --inner-part.count?"),
        (("inner-part.rate", "inf"), "inner_part.rate must be a finite number, not inf"),
    ],
)
def test_command_line_errors_name_the_option(pair: tuple[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Whole().overridden([pair])
    assert words in str(caught.value)


def test_a_missing_or_odd_file_is_named(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="cannot read the configuration"):
        read_config(tmp_path / "missing.toml")
    with pytest.raises(UsageError, match=r"\.toml or a \.json"):
        read_config(tmp_path / "settings.yaml")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(InputError, match="it is a list, not a table"):
        read_config(tmp_path / "list.json")
