"""The benchmarks, run small: that a figure counts what was done and nothing else, and what a run leaves behind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psycopg
import pytest

from benchmarks import frame, report
from benchmarks.databases import Database
from benchmarks.frame import Bench, Measure, Result, Row
from benchmarks.hot_paths import cpu, pack_events
from benchmarks.rows import costs, grants, kernel, one_deduction, settle
from jobs import usage
from models import database
from runtime.embedded import Servers
from sandbox.control import purchases
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


def test_the_cost_of_an_event_is_of_purchases_that_were_applied(bench: Bench) -> None:
    with costs.C1.prepare(bench) as measure:
        parts = measure()
        copy = Database(bench.server.url.replace("/scrip?", "/bench_row_c1?"))
        sold = copy.value("SELECT count(*) FROM entry WHERE type = 'purchase' AND reason = 'starter' AND amount = 100")
        assert sold == copy.value("SELECT count(*) FROM inbox_event WHERE state = 'done'") == 2 * 2
    assert all(parts[name] > 50 for name in ("python", "server"))  # µs


def test_an_event_that_is_not_applied_spoils_the_figure(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database.connection()
    paid = purchases.paid_checkout

    def unpaid(*sold: Any) -> dict[str, Any]:
        event = paid(*sold)
        event["data"]["object"]["payment_status"] = "unpaid"
        return event

    monkeypatch.setattr(purchases, "paid_checkout", unpaid)
    pieces = pack_events.pieces(db, 2, CUSTOMERS)
    next(pieces)()
    with pytest.raises(AssertionError, match="4 events were not applied"):
        next(pieces)


def test_the_cost_of_a_start_is_of_sessions_that_hold_their_reserve(bench: Bench) -> None:
    with costs.C2.prepare(bench) as measure:
        parts = measure()
        copy = Database(bench.server.url.replace("/scrip?", "/bench_row_c2?"))
        assert copy.value("SELECT count(*) FROM session WHERE state = 'active'") == 2 * 1
        assert copy.value("SELECT min(held) FROM account WHERE app = 'voice-therapy'") == 120
    assert all(parts[name] > 50 for name in ("python", "server"))


def test_both_grants_write_the_same_rows_for_each_subscriber(bench: Bench) -> None:
    tables = ("account", "entry", "lot", "allocation", "outbox_message", "outbox_delivery", "plan_fact", "payment")

    def written(row: Row) -> dict[str, int]:
        with row.prepare(bench) as measure:
            copy = Database(bench.server.url.replace("/scrip?", f"/bench_row_{row.id.lower()}?"))
            before = {table: copy.value(f"SELECT count(*) FROM {table}") for table in tables}
            assert measure() > 0
            assert copy.value("SELECT min(balance) FROM account") == 2000
            return {table: copy.value(f"SELECT count(*) FROM {table}") - before[table] for table in tables}

    each = {"entry": 50, "lot": 50, "allocation": 50, "outbox_message": 50, "outbox_delivery": 50}
    assert written(grants.L4) == written(grants.P8) == {**dict.fromkeys(tables, 0), **each}


def test_a_subscriber_who_is_not_granted_spoils_the_figure(bench: Bench) -> None:
    with grants.P8.prepare(bench) as measure:
        copy = Database(bench.server.url.replace("/scrip?", "/bench_row_p8?"))
        copy.run("UPDATE subscription SET next_due_at = NULL WHERE id = 1")
        with pytest.raises(AssertionError, match="49000 units were granted, not 50000"):
            measure()


def test_cpu_time_is_that_of_this_process_and_of_the_named_backends(bench: Bench) -> None:
    url = bench.server.url
    with psycopg.connect(url, application_name=cpu.APPLICATION) as mine, psycopg.connect(url) as other:

        def busy_python() -> int:
            until = time.process_time() + 0.1
            while time.process_time() < until:
                pass
            return 10

        def busy_server() -> int:
            mine.execute("SELECT count(*) FROM generate_series(1, 500000)")
            other.execute("SELECT count(*) FROM generate_series(1, 5000000)")
            time.sleep(0.2)
            return 1

        (python, server) = cpu.in_turns(url, {"": iter([busy_python, busy_server])})[""]
        assert server.server < cpu.cpu_seconds(other.info.backend_pid)
    assert python.python >= 0.1 / 10
    assert python.server < server.server
    assert server.python < 0.1


def test_a_row_in_parts_counts_with_their_sum(bench: Bench) -> None:
    result = Result(row("C1", []))
    for python, server in ((1.0, 5.0), (2.0, 3.0), (9.0, 4.0)):
        result.add({"python": python, "server": server})
    assert (result.values, result.value) == ([6.0, 5.0, 13.0], 6.0)
    assert result.median_parts == {"python": 2.0, "server": 4.0}


def test_a_figure_and_its_limit_are_measured_in_turns_and_their_medians_compared(bench: Bench) -> None:
    rows = [row("L", [10, 30, 20, 99, 98, 97]), row("A", [50, 90, 70], "L", 3.0), row("B", [1, 2, 3], "L")]
    rows[0], steps = row("L", [10, 99, 30, 98, 20, 97]), []
    results = {result.row.id: result for result in frame.measure(rows, bench, 3, steps.append)}
    assert steps == ["L prepares", "A prepares", "B prepares", *["L", "A", "L", "B"] * 3]
    assert len(steps) == frame.turns(rows, 3)
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
    results[0].parts.append({"python": 7.0, "server": 3.0})
    report.write(results, report.machine(bench), tmp_path)
    left = json.loads((tmp_path / "bench.json").read_bytes())
    figure = left["rows"][1]
    assert (figure["id"], figure["value"], figure["unit"], figure["limit"]) == ("P1", 30.0, "/s", "L1")
    assert (figure["ratio"], figure["target"], figure["met"]) == (3.0, 2.0, True)
    assert left["rows"][0]["parts"] == {"python": 7.0, "server": 3.0}
    assert left["machine"]["postgres"].startswith("18")
    texts = [element.text or "" for element in ElementTree.parse(tmp_path / "bench.svg").iter()]
    assert any("30 /s = 3.00 × L1" in text for text in texts)
