"""Hypothesis profiles, the device that a test runs on, and the processes that tests run in."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, Phase, settings

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
settings.register_profile(  # only whether a test fails is asked: tests/kernels/mutants.py
    "mutants",
    settings.get_profile("default"),
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


MOST_PROCESSES = 8
"""More would hold more copies of the libraries in memory than they save time."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A bare `pytest` runs in a process for each core, where pytest-xdist is installed (the extra
    `test` brings it) and nothing else is asked for: -n 0 is one process."""
    if hasattr(config, "workerinput"):  # such a process starts none of its own
        return
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    unasked = config.getoption("numprocesses", 0) is None and not config.option.collectonly
    if whole and unasked and not config.option.usepdb:
        config.option.numprocesses = min(os.cpu_count() or 1, MOST_PROCESSES)
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the cores are taken


def pytest_configure(config: pytest.Config) -> None:
    """Some two hundred processes are started, and compile tinygen once instead of each anew: an
    environment in which bytecode is not written makes them three times as slow."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not hasattr(config, "workerinput"):  # one for all workers, which inherit it
        os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="tinygen-bytecode-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop("PYTHONPYCACHEPREFIX"), ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests found worth printing, from whichever process they ran in."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            terminalreporter.write_line(f"{name}: {text}")


@pytest.fixture(params=["cpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Every device that this machine has; a test that takes it runs on each."""
    return request.param
