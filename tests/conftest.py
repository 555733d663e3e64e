"""Hypothesis profiles, the device that a test runs on, and bytecode for the processes of tests."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    derandomize=True,  # a failure is a failure for everyone
    deadline=None,  # a noisy machine is no bug
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(
    "deep", settings.get_profile("default"), derandomize=False, max_examples=300
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Some two hundred processes are started, and compile tinygen once instead of each anew: an
    environment in which bytecode is not written makes them three times as slow."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="tinygen-bytecode-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(os.environ.pop("PYTHONPYCACHEPREFIX"), ignore_errors=True)


@pytest.fixture(params=["cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device that this machine has; a test that takes it runs on each."""
    return request.param
