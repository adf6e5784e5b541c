"""The benchmarks, run small: that a figure counts what was done and nothing else, and what a run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import frame, report
from benchmarks.databases import Database
from benchmarks.frame import Bench, Measure, Result, Row
from benchmarks.rows import kernel, one_deduction, settle
from jobs import usage
from models import database
from runtime.embedded import Servers
from settings import settings

CUSTOMERS = 40


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The tests' own servers; databases of the benchmark's beside that of the tests."""
    assert settings.database_url
    assert settings.redis_url
    servers = Servers(settings.database_url, settings.redis_url)
    yield Bench(settings, servers, quick=True, customers=CUSTOMERS, share=0.005)
    database.bind(settings.database_url, max_connections=64, application_name="tests")


def row(name: str, values: list[float], limit: str | None = None, target: float | None = None, **more: bool) -> Row:
    """A row that measures these values one after the other."""

    @contextmanager
    def prepare(bench: Bench) -> Iterator[Measure]:
        yield iter(values).__next__

    return Row(name, name.lower(), f"figure {name}", "/s", prepare, limit, target, **more)


def test_settling_counts_reports_that_the_default_workers_settled_in_the_ledger(bench: Bench) -> None:
    with settle.settle(bench) as measure:
        assert measure() > 0
        copy = Database(bench.server.url.replace("/scrip?", "/bench_row_p1?"))
        assert copy.value("SELECT count(*) FROM usage_report WHERE state = 'settled'") == 200
        assert copy.value("SELECT -sum(amount) FROM entry WHERE type = 'deduction'") == 200


def test_a_report_that_is_not_settled_spoils_the_figure(db: str, now: datetime) -> None:
    database.connection()
    settle.accept(1, CUSTOMERS)
    with pytest.raises(AssertionError, match="1 reports are not settled"):
        settle.check_settled(Database(db))
    usage.settle(now=now)  # of a customer with nothing: settled, but there is no entry
    with pytest.raises(AssertionError, match="1 reports are not settled"):
        settle.check_settled(Database(db))


def test_the_kernel_counts_entries_that_are_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "WARM_UP_BATCHES", 1)
    with kernel.kernel(1)(bench) as measure:
        assert measure() > 0


def test_the_limit_deducts_on_the_real_tables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_deduction, "CONNECTIONS", (2,))
    with one_deduction.one_deduction(bench) as measure:
        assert measure() > 0
        copy = Database(bench.server.url.replace("/scrip?", "/bench_row_l1?"))
        deducted = copy.value("SELECT -sum(amount) FROM entry WHERE type = 'deduction'")
        assert deducted > 0
        for table, column in (("account", "balance"), ("lot", "remaining")):
            assert copy.value(f"SELECT sum(1000000 - {column}) FROM {table}") == deducted


def test_a_figure_and_its_limit_are_measured_in_turns_and_their_medians_compared(bench: Bench) -> None:
    rows = [row("L", [10, 30, 20, 99, 98, 97]), row("A", [50, 90, 70], "L", 3.0), row("B", [1, 2, 3], "L")]
    rows[0], clear_pending = row("L", [10, 99, 30, 98, 20, 97]), []
    results = {result.row.id: result for result in frame.measure(rows, bench, 3, clear_pending.append)}
    assert clear_pending == ["L prepares", "A prepares", "B prepares", *["L", "A", "L", "B"] * 3]
    assert len(clear_pending) == frame.turns(rows, 3)
    figure = results["A"]
    assert (figure.value, figure.limit, figure.ratio, figure.met) == (70, 20, 3.5, True)
    assert (results["B"].limit, results["B"].met) == (98, None)


@pytest.mark.parametrize(("value", "at_most", "met"), [(4, False, False), (5, False, True), (6, True, False)])
def test_a_target_without_a_limit_holds_for_the_value_itself(value: float, at_most: bool, met: bool) -> None:
    assert Result(row("V", [], target=5, at_most=at_most), [value]).met is met


def test_a_group_brings_its_limits_along() -> None:
    rows = [row("L1", []), row("P1", [], "L1"), row("P2", [])]
    assert [it.id for it in frame.select(rows, ["p1"])] == ["L1", "P1"]
    assert frame.select(rows, []) == rows
    with pytest.raises(ValueError, match="unknown benchmark p9"):
        frame.select(rows, ["p9"])


def test_a_run_leaves_its_figures_and_a_picture(bench: Bench, tmp_path: Path) -> None:
    results = [Result(row("L1", []), [10.0]), Result(row("P1", [], "L1", 2.0), [30.0], [10.0])]
    report.write(results, report.machine(bench), tmp_path)
    left = json.loads((tmp_path / "bench.json").read_bytes())
    figure = left["rows"][1]
    assert (figure["id"], figure["value"], figure["unit"], figure["limit"]) == ("P1", 30.0, "/s", "L1")
    assert (figure["ratio"], figure["target"], figure["met"]) == (3.0, 2.0, True)
    assert left["machine"]["postgres"].startswith("18")
    texts = [element.text or "" for element in ElementTree.parse(tmp_path / "bench.svg").iter()]
    assert any("30 /s = 3.00 × L1" in text for text in texts)
