"""docs/systems.md: every promise of the five systems has a test that exists."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from models.planning import movements
from models.planning.movements import Movement
from settings import ROOT

PAGE = (ROOT / "docs" / "systems.md").read_text()
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
PROMISES = [row for row in ROWS if row[0].strip() != "promise"]
SYSTEMS = ("voice_therapy", "echomind", "clash_ai", "ai_services", "songs")


def test_every_line_has_three_columns() -> None:
    assert len(PROMISES) > 70
    assert [row for row in PROMISES if len(row) != 3] == []


@pytest.mark.parametrize("named", sorted({row[2].strip(" |`") for row in PROMISES}))
def test_every_promise_names_a_test_that_exists(named: str) -> None:
    file, _, test = named.partition("::")
    text = (ROOT / "tests" / file).read_text()
    assert re.search(rf"^def {re.escape(test)}\(", text, re.MULTILINE), named


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_its_journey(system: str) -> None:
    assert (ROOT / "tests" / "system" / "journeys" / f"test_{system}.py").exists()
    assert f"`system/journeys/test_{system}.py::" in PAGE


def test_no_movement_names_two_customers() -> None:
    """Units are not transferable: there is nothing to say it with."""
    kinds = [it for it in vars(movements).values() if isinstance(it, type) and issubclass(it, Movement)]
    assert len(kinds) > 8
    for kind in kinds:
        assert [it.name for it in fields(kind) if "customer" in it.name] == ["customer"]
