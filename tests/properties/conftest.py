"""How long the properties are hammered, and how a failure is run again.

`make test-deep` takes fifty times as long as the default. Every run has a seed of its own, shown on failure.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, core, settings

from tests.support.deep import IS_DEEP

settings.register_profile(
    "quick", max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000, stateful_step_count=50)
settings.load_profile("thorough" if IS_DEEP else "quick")

HERE = Path(__file__).parent

if core.global_force_seed is None:
    core.global_force_seed = random.getrandbits(32)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every property goes deeper in a deep run."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.deep)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with which seed a property failed."""
    report = yield
    if report.failed:
        report.sections.append(("Hypothesis", f"again with --hypothesis-seed={core.global_force_seed}"))
    return report
