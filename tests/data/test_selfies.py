"""Atoms as tokens, and SELFIES by their package: every sequence of symbols is a molecule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.cli.main import main
from tinygen.data.batches import TokenBatches
from tinygen.data.corpus import Corpus
from tinygen.data.molecules import corpus_in_selfies, is_valid, smiles_of
from tinygen.data.tokenizers import AtomTokenizer, load_tokenizer
from tinygen.errors import InputError, UnavailableError
from tinygen.random import Generator

SMILES = ["Clc1c[nH]cc1", "CC(=O)O", "C[C@@H](N)Br", "C%12CC%12", "c1ccc2ccccc2c1"]


def test_an_atom_is_a_token() -> None:
    tokenizer = AtomTokenizer.train("\n".join(SMILES))
    ids = tokenizer.encode("Clc1[nH]%12Br")
    told = [tokenizer.decode([i]) for i in ids]
    assert told == ["Cl", "c", "1", "[nH]", "%12", "Br"]
    with pytest.raises(InputError, match="unknown symbol 'I'"):
        tokenizer.encode("CI")


@given(st.text("BrClC[]%1(=\n2é", max_size=30), st.data())
def test_any_text_comes_back_and_so_does_a_part_of_it(text: str, data: st.DataObject) -> None:
    tokenizer = AtomTokenizer.train(text + "C")
    assert tokenizer.decode(tokenizer.encode(text)) == text
    cut = data.draw(st.integers(0, len(text)))
    assert tokenizer.decode(tokenizer.encode(text[:cut])) == text[:cut]
    assert tokenizer.decode(tokenizer.encode(text[cut:])) == text[cut:]


def test_the_tokenizer_is_kept(tmp_path: Path) -> None:
    tokenizer = AtomTokenizer.train("\n".join(SMILES))
    tokenizer.save(tmp_path / "t.json")
    assert load_tokenizer(tmp_path / "t.json").state == tokenizer.state
    for symbols, message in (([], "at least one"), (["CC"], "no symbol"), (["C", "C"], "twice")):
        with pytest.raises(InputError, match=message):
            AtomTokenizer(symbols)
    with pytest.raises(InputError, match="'symbols'"):
        AtomTokenizer.from_state({"symbols": [1]})


def test_windows_begin_where_they_may() -> None:
    tokens, starts = np.arange(40), np.array([3, 17, 38])
    batches = TokenBatches(tokens, 8, 50, Generator(0), starts)
    assert set(next(batches)[0][:, 0].tolist()) == {3, 17}
    with pytest.raises(InputError, match="no window of 8"):
        TokenBatches(tokens, 8, 1, Generator(0), starts[2:])


def test_without_the_package_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "selfies", None)
    with pytest.raises(UnavailableError, match=r"pip install 'tinygen\[molecules\]'"):
        smiles_of("[C]")


def test_molecules_come_back() -> None:
    pytest.importorskip("selfies")
    text = "\n".join([*SMILES, "C(("])
    found = corpus_in_selfies(Corpus("m.smi", (text.encode(),), "here"))
    lines = found.documents[0].decode().splitlines()
    assert len(lines) == len(SMILES)
    assert lines[1] == "[C][C][=Branch1][C][=O][O]"
    assert "has no SELFIES" in found.skipped[0]
    assert all(is_valid(smiles_of(line)) for line in lines)
    assert smiles_of(lines[1]) == SMILES[1]
    with pytest.raises(InputError, match="no line is a SMILES"):
        corpus_in_selfies(Corpus("m.smi", (b"((\n",), "here"))


SYMBOLS = "[C] [=C] [#N] [O] [=O] [N+1] [Ring1] [=Ring2] [Branch1] [=Branch2] [F] [S] [#C] [zz]"


@given(st.lists(st.sampled_from(SYMBOLS.split()), max_size=25), st.integers(0, 6))
def test_any_symbols_are_a_molecule(symbols: list[str], cut: int) -> None:
    pytest.importorskip("selfies")
    line = "".join(symbols)
    found = smiles_of(line[: max(0, len(line) - cut)])
    assert not found or is_valid(found)


def test_a_run_learns_selfies_and_writes_smiles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("selfies")
    (tmp_path / "m.smi").write_text("\n".join(SMILES * 8) + "\n")
    run = str(tmp_path / "run")
    settings = "--model.n-layer 1 --model.width 8 --model.n-head 2 --model.block-size 8 --steps 2"
    told = ["--data", str(tmp_path / "m.smi"), "--data.notation", "selfies", "--out", run]
    assert main(["train", "gpt", *told, "--data.windows", "lines", *settings.split()]) == 0
    capsys.readouterr()
    assert main(["sample", run, "--tokens", "60", "--seed", "1", "--temperature", "1"]) == 0
    molecules = capsys.readouterr().out.strip().splitlines()
    assert molecules
    assert all(is_valid(line) for line in molecules if line)
    assert main(["eval", run, "--lines", "20", "--json"]) == 0
    # Only a line without any symbol is no molecule; two steps teach nobody to avoid those.
    assert json.loads(capsys.readouterr().out)["valid"] > 0.5
