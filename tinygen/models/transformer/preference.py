"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290).

Of two answers the better one is made likelier than a reference model has it, the worse one less
likely, without a model of rewards.
"""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value


def answer_log_probs(logits: Value, targets: Value, ignored: int) -> Any:
    """log p of each row's answer: the sum over its targets (B, T) that are not `ignored`. logits
    (B, T, V) -> (B,)."""
    losses = ops.cross_entropy(logits, targets, reduction="none", ignore_index=ignored)
    return -ops.sum(losses, axis=-1)


def dpo_loss(chosen: Value, rejected: Value, reference: tuple[Value, Value], beta: float) -> Any:
    """(loss, margins (B,)): the mean of -log sigmoid(margin), eq. 7, with

        margin = beta ((log p(chosen) - log r(chosen)) - (log p(rejected) - log r(rejected)))

    of log probabilities (B,) by the model, p, and by the `reference`, r, of chosen and rejected
    answers. A margin above 0 prefers what was chosen."""
    margins = beta * ((chosen - reference[0]) - (rejected - reference[1]))
    return ops.mean(ops.softplus(-margins)), margins
