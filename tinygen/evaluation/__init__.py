"""How good samples are: what a model's likelihood says, distances of sets, coverage, copies.

Reading order: `features` (the frozen network in whose features images are compared), `frechet`,
`kernel` and `energy` (distances of two sets), `neighbours` (precision, recall, density, coverage,
copies), `verbatim` (copied text), `lines` (names and molecules), `infilling` (gaps filled),
`bounded` (lines with given words), `modes` (of a known mixture), `nats` (bits per dimension),
`judgement` (all of it at once, between a floor and a ceiling).
"""

from tinygen.evaluation.energy import energy_distance, gaussian_fit
from tinygen.evaluation.features import FeatureNet, feature_net
from tinygen.evaluation.frechet import frechet_distance
from tinygen.evaluation.judgement import Judgement, judge
from tinygen.evaluation.kernel import kernel_distance
from tinygen.evaluation.lines import are_molecules, judge_lines
from tinygen.evaluation.modes import ModesFound, modes_found
from tinygen.evaluation.nats import bits_per_dimension
from tinygen.evaluation.neighbours import Coverage, Memorisation, coverage, memorisation
from tinygen.evaluation.verbatim import Overlap, longest_overlap

__all__ = [
    "Coverage",
    "FeatureNet",
    "Judgement",
    "Memorisation",
    "ModesFound",
    "Overlap",
    "are_molecules",
    "bits_per_dimension",
    "coverage",
    "energy_distance",
    "feature_net",
    "frechet_distance",
    "gaussian_fit",
    "judge",
    "judge_lines",
    "kernel_distance",
    "longest_overlap",
    "memorisation",
    "modes_found",
]
