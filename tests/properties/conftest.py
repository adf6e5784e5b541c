"""How long the properties are hammered, and how a failure is run again.

`SCRIP_HYPOTHESIS=thorough` takes fifty times as long as the default. Every run has a seed of its own, told on failure.
"""

from __future__ import annotations

import os
import random
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, core, settings

settings.register_profile(
    "quick", max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000, stateful_step_count=50)
settings.load_profile(os.environ.get("SCRIP_HYPOTHESIS", "quick"))

if core.global_force_seed is None:
    core.global_force_seed = random.getrandbits(32)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with which seed a property failed."""
    report = yield
    if report.failed:
        report.sections.append(("Hypothesis", f"again with --hypothesis-seed={core.global_force_seed}"))
    return report
