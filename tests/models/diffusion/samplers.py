"""The samplers that tests go through, by name."""

from tinygen.models.diffusion import (
    sample_dpmpp_2m,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
)

DETERMINISTIC = {"euler": (sample_euler, 1), "heun": (sample_heun, 2), "2m": (sample_dpmpp_2m, 2)}
BY_SIGMA = {**{n: s for n, (s, _) in DETERMINISTIC.items()}, "ancestral": sample_euler_ancestral}
