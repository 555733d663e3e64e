"""Decoding: from a model that gives the distribution of the next token to texts.

    steps = sample(model, prompts, max_new_tokens=100, sampler=Sampler(top_p=0.9), rng=rng)
    for step in steps:
        step.tokens, step.log_probs          # (B,) each

`sample` draws, `beam_search` looks for the likeliest text, `sample_speculatively` draws faster with
a smaller model's help. All take processors (penalties, bans, constraints, a watermark, your own)
and any model with a `session()`: the transformers of `tinygen.models`, one that has read the
beginning already (`Prefixed`), or a plain function (`Recomputed`).
"""

from tinygen.decoding.beam import beam_search
from tinygen.decoding.constraints import Constraint
from tinygen.decoding.prefixed import Prefixed
from tinygen.decoding.processors import (
    Context,
    FrequencyPenalty,
    LogitBias,
    NoRepeatNGram,
    Processor,
    RepetitionPenalty,
)
from tinygen.decoding.protocol import LanguageModel, Session
from tinygen.decoding.recomputed import Recomputed
from tinygen.decoding.rows import NOTHING, Step, Stop
from tinygen.decoding.sampler import Sampler
from tinygen.decoding.sampling import sample
from tinygen.decoding.speculative import sample_speculatively
from tinygen.decoding.text import StopStrings, stream_text
from tinygen.decoding.watermark import Detection, Watermark

__all__ = [
    "NOTHING",
    "Constraint",
    "Context",
    "Detection",
    "FrequencyPenalty",
    "LanguageModel",
    "LogitBias",
    "NoRepeatNGram",
    "Prefixed",
    "Processor",
    "Recomputed",
    "RepetitionPenalty",
    "Sampler",
    "Session",
    "Step",
    "Stop",
    "StopStrings",
    "Watermark",
    "beam_search",
    "sample",
    "sample_speculatively",
    "stream_text",
]
