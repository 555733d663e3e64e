"""The dial's formulas."""

import pytest

from tinygen.errors import UsageError
from tinygen.models.transformer import GPTConfig, estimate
from tinygen.models.transformer.depth import learning_rate, sizes, token_budget


def test_depth_12_is_the_smallest_gpt2():
    assert sizes(12) == {"n_layer": 12, "n_head": 12, "width": 768}
    config = GPTConfig(50257, 1024, **sizes(12))
    assert token_budget(config) == 20 * (12 * 12 * 768**2 + 50257 * 768)
    assert estimate(config).parameters == 124_439_808
    with pytest.raises(UsageError, match="depth is 0"):
        sizes(0)


def test_the_learning_rate_falls_with_the_width_and_rises_with_the_step():
    assert learning_rate(6e-4, wider=4, longer=1) == 3e-4
    assert learning_rate(6e-4, wider=1, longer=4) == 1.2e-3
    assert learning_rate(1e-3, wider=3, longer=1) == 5.8e-4
