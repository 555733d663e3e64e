"""Descriptions of packages: each once, from dpkg and from apt."""

from pathlib import Path

import pytest

from tinygen.data.packages import packages
from tinygen.errors import UnavailableError


def test_each_description_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "status").write_bytes(
        b"Package: a\nDescription: fast library\n more\n\nPackage: b\nDescription: a tool\n"
    )
    (tmp_path / "x_Packages").write_bytes(
        b"Package: c\nDescription: a tool\nDescription-md5: 12\nDescription: caf\xe9\n"
    )
    corpus = packages(tmp_path / "status", tmp_path)
    assert sorted(corpus.text.splitlines()) == ["a tool", "fast library"]


def test_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no descriptions of packages"):
        packages(tmp_path / "status", tmp_path)
