"""Music: texts and pieces are one to one, MIDI keeps what it can, bad files are told apart."""

from __future__ import annotations

import json
import math
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.batches import TokenBatches
from tinygen.data.music import (
    as_text,
    from_text,
    independent_notes_nats,
    is_music,
    previous_step_nats,
    read_midi,
    read_music,
    write_midi,
    write_sound,
)
from tinygen.data.music.transposing import transposed
from tinygen.data.tokenizers import MusicTokenizer, tokenizer_from_state
from tinygen.errors import InputError
from tinygen.models.transformer import Llama, LlamaConfig
from tinygen.random import Generator
from tinygen.recipes.music import nats_a_step

STEPS = st.frozensets(st.integers(0, 127), max_size=6)
PIECES = st.lists(STEPS, min_size=1, max_size=12).map(tuple)


@given(st.lists(PIECES, min_size=1, max_size=3))
def test_texts_and_tokens_give_the_pieces_back(pieces: list[tuple[frozenset[int], ...]]) -> None:
    text = "\n".join(map(as_text, pieces))
    tokenizer = tokenizer_from_state(MusicTokenizer().state)
    ids = tokenizer.encode(text)
    assert from_text(text) == pieces
    assert tokenizer.decode(ids) == text
    assert len(ids) == sum(len(step) + 1 for p in pieces for step in p) + len(pieces) - 1


def test_a_text_that_is_no_music_and_a_step_that_was_cut() -> None:
    assert from_text("60 .\n64 6") == [(frozenset([60]),)]
    for text in ("sixty .", "128 .", "60, 64"):
        with pytest.raises(InputError, match="is no music"):
            from_text(text)
        with pytest.raises(InputError, match="is no music"):
            MusicTokenizer().encode(text)


@given(PIECES.filter(lambda piece: bool(piece[-1])))
def test_midi_gives_the_piece_back(piece: tuple[frozenset[int], ...]) -> None:
    pytest.importorskip("mido")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "piece.mid")
        write_midi(path, piece)
        assert read_midi(path) == piece


def test_midi_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("mido")
    path = tmp_path / "a.mid"
    path.write_bytes(b"MThd, but no more")
    with pytest.raises(InputError, match="no MIDI"):
        read_midi(path)
    write_midi(path, (frozenset(),))
    with pytest.raises(InputError, match="no note"):
        read_midi(path)


def test_sound_has_the_pitch_of_its_note(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_sound(path, (frozenset([69]),) * 3, beats_a_minute=60.0)
    with wave.open(str(path)) as file:
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    samples = np.frombuffer(data, "<i2").astype(float)
    assert len(samples) == pytest.approx(3.08 * rate, abs=2)
    loudest = int(np.abs(np.fft.rfft(samples)).argmax()) * rate / len(samples)
    assert loudest == pytest.approx(440.0, abs=1.0)


def test_chorales_keep_their_split(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"train": [[[60, 64], []]], "valid": [[[62]]], "test": [[[65]]]}))
    music = read_music(path)
    assert is_music(path)
    assert music.train == ((frozenset([60, 64]), frozenset()),)
    assert music.test == ((frozenset([65]),),)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "no list of pieces"),
        ({"train": [[[60]]], "valid": [], "test": [[[60]]]}, "'valid'"),
        ({"train": [[60]], "valid": [[[60]]], "test": [[[60]]]}, "train 0"),
        ({"train": [[[128]]], "valid": [[[60]]], "test": [[[60]]]}, "128 is no pitch"),
        ({"train": [[[True]]], "valid": [[[60]]], "test": [[[60]]]}, "True is no pitch"),
        ({"train": [[[]]], "valid": [[[60]]], "test": [[[60]]]}, "has no note"),
    ],
)
def test_json_of_another_shape(found: object, why: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match=why):
        read_music(path)


def test_windows_move_as_a_whole_and_stay_in_range() -> None:
    tokens = MusicTokenizer().encode("127 60 .\n126 61 .\n\n" * 20)
    batches = TokenBatches(tokens, 12, 16, Generator(0), change=transposed(5))
    shifts = set()
    for _ in range(5):
        x, y = next(batches)
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
        assert x.max() <= 129
        for row in x:
            top = row[(row > 100) & (row < 128)].max()
            shifts.add(int(127 - top))
            assert {int(p) for p in row if p < 100} <= {60 - 127 + int(top), 61 - 127 + int(top)}
    assert shifts == {0, 1, 2, 3, 4, 5}


def test_counting_notes() -> None:
    held = ((frozenset([60]),) * 9,)
    silent_pitches = 127 * -math.log(10 / 11)  # each as rare as one in eleven
    assert independent_notes_nats(held, held) == pytest.approx(128 * -math.log(10 / 11))
    assert silent_pitches < previous_step_nats(held, held)


@given(st.lists(PIECES, min_size=1, max_size=2), st.integers(0, 99))
def test_nats_a_step_are_those_of_whole_pieces(
    pieces: list[tuple[frozenset[int], ...]], seed: int
) -> None:
    """In a block that holds a piece: the sum of its tokens' losses, over all steps. In a shorter
    block of a model that sees one token only, the same, since no window changes what it sees."""
    tokenizer = MusicTokenizer()
    config = LlamaConfig(tokenizer.vocab_size, 128, 1, 1, 8, window=1)
    model = Llama(config, rng=Generator(seed))
    total = 0.0
    for piece in pieces:
        tokens = tokenizer.encode("\n" + as_text(piece) + "\n").astype(np.int64)
        loss = model.loss(tokens[None, :-1], tokens[None, 1:])
        total += float(loss.item()) * (len(tokens) - 1)
    for block in (128, 7, 2):
        nats = nats_a_step(model, pieces, block, "cpu")
        assert nats == pytest.approx(total / sum(map(len, pieces)), rel=1e-5)
