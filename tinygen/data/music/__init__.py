"""Music as time steps: chorales and MIDI files read, pieces written as MIDI and as sound."""

from tinygen.data.music.baselines import independent_notes_nats, previous_step_nats
from tinygen.data.music.midi import read_midi, write_midi
from tinygen.data.music.pieces import Piece, as_text, from_text
from tinygen.data.music.sound import write_sound
from tinygen.data.music.sources import Chorales, is_music, read_music

__all__ = [
    "Chorales",
    "Piece",
    "as_text",
    "from_text",
    "independent_notes_nats",
    "is_music",
    "previous_step_nats",
    "read_midi",
    "read_music",
    "write_midi",
    "write_sound",
]
