"""Every optimiser in turn, and `every_optimizer`, which the tests import."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from every_optimizer import OPTIMIZERS


@pytest.fixture(params=OPTIMIZERS)
def make(request):
    return OPTIMIZERS[request.param]
