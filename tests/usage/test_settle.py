"""Usage reports: accepted once, priced by the catalog, settled once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from jobs import dead_letters, usage
from models import database
from models.catalog import catalog
from models.errors import Conflict, Invalid, NotFound
from models.usage import queue, reports
from settings import settings
from tests.support.cast import ADA, BO, app, balance, entries, give, settle_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("db")


def report(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": f"call-{number}", "customer": ADA, "rate": "voice_call", "quantity": 123, **more}


def accept(*reports: dict[str, Any], now: datetime, slug: str = "ai-services") -> tuple[int, int]:
    return usage.accept(app(slug), reports, now=now)


def test_a_call_of_123_seconds_takes_three_minutes(now: datetime) -> None:
    give(ADA, 100, now=now)
    assert accept(report(), now=now) == (1, 0)
    settle_all(now=now)
    assert entries(ADA) == [("bonus", 100), ("deduction", -3)]
    shown = reports.get("ai-services", "call-1")
    assert (shown["state"], shown["units"], shown["shortfall"]) == ("settled", 3, 0)
    assert [(shown["entry"],)] == database.read("SELECT id FROM entry WHERE key = 'usage:call-1'")


def test_the_same_report_again_is_a_duplicate(now: datetime) -> None:
    give(ADA, 100, now=now)
    assert accept(report(), now=now) == (1, 0)
    assert accept(report(), now=now) == (0, 1)
    settle_all(now=now)
    assert accept(report(), now=now) == (0, 1)
    assert settle_all(now=now) == 0
    assert balance(ADA) == 97


def test_the_same_report_twice_in_one_batch_counts_once(now: datetime) -> None:
    assert accept(report(1), report(1), report(2), now=now) == (2, 1)


def test_metadata_and_time_are_no_content(now: datetime) -> None:
    accept(report(metadata={"a": 1}), now=now)
    assert accept(report(metadata={"b": 2}, occurred_at=now), now=now) == (0, 1)


@pytest.mark.parametrize("other", [{"quantity": 124}, {"customer": BO}, {"rate": "sms"}])
def test_an_id_with_other_content_is_refused_and_nothing_of_the_batch_is_stored(
    other: dict[str, Any], now: datetime
) -> None:
    accept(report(1), now=now)
    with pytest.raises(Conflict, match="call-1"):
        accept(report(2), report(1, **other), now=now)
    with pytest.raises(NotFound):
        reports.get("ai-services", "call-2")
    assert reports.get("ai-services", "call-1")["quantity"] == 123


def test_an_id_with_two_contents_in_one_batch_is_refused(now: datetime) -> None:
    with pytest.raises(Conflict, match="in the batch twice"):
        accept(report(1), report(1, quantity=7), now=now)
    assert database.read("SELECT count(*) FROM usage_report") == [(0,)]


def test_an_unknown_rate_is_named_with_its_place_and_nothing_is_stored(now: datetime) -> None:
    with pytest.raises(Invalid) as refused:
        accept(report(1), report(2, rate="fax"), now=now)
    assert [name for name, _ in refused.value.errors] == ["reports[1].rate"]
    assert database.read("SELECT count(*) FROM usage_report") == [(0,)]


def test_the_same_id_in_two_apps_is_two_reports(now: datetime) -> None:
    accept(report(), now=now)
    assert accept(report(rate="call"), now=now, slug="clash-ai") == (1, 0)


def test_what_is_not_there_is_a_shortfall(now: datetime) -> None:
    give(ADA, 2, now=now)
    accept(report(), now=now)
    settle_all(now=now)
    shown = reports.get("ai-services", "call-1")
    assert (shown["units"], shown["shortfall"], balance(ADA)) == (2, 1, 0)


def test_a_customer_nobody_knew_settles_with_a_shortfall_and_no_entry(now: datetime) -> None:
    accept(report(), now=now)
    settle_all(now=now)
    shown = reports.get("ai-services", "call-1")
    assert (shown["state"], shown["units"], shown["shortfall"], shown["entry"]) == ("settled", 0, 3, None)


def test_a_quantity_of_zero_settles_for_nothing(now: datetime) -> None:
    give(ADA, 10, now=now)
    accept(report(quantity=0), now=now)
    settle_all(now=now)
    assert reports.get("ai-services", "call-1")["state"] == "settled"
    assert balance(ADA) == 10


def test_a_backlog_never_costs_a_customer_a_lot_that_was_alive_on_receipt(now: datetime) -> None:
    give(ADA, 10, now=now, expires_after=timedelta(days=1))
    accept(report(), now=now + timedelta(hours=23))
    later = now + timedelta(days=9)
    from jobs import runs

    runs.run(None, "expire", now=later)
    assert balance(ADA) == 10
    settle_all(now=later)
    assert entries(ADA)[-1] == ("deduction", -3)
    runs.run(None, "expire", now=later)
    assert entries(ADA)[-1] == ("expiry", -7)


def test_a_lot_that_had_expired_on_receipt_pays_nothing(now: datetime) -> None:
    give(ADA, 10, now=now, expires_after=timedelta(days=1))
    late = now + timedelta(days=1)
    accept(report(), now=late)
    settle_all(now=late)
    assert reports.get("ai-services", "call-1")["shortfall"] == 3


def test_one_poisoned_report_among_a_thousand_dies_alone(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    give(ADA, 10_000, now=now)
    accept(*[report(n) for n in range(999)], now=now)
    accept(report(9999, rate="sms"), now=now)
    real = usage._movement

    def poisoned(it: queue.Report) -> Any:
        if it.external_id == "call-500":
            raise RuntimeError("poison")
        return real(it)

    monkeypatch.setattr(usage, "_movement", poisoned)
    later = now
    for _ in range(12):
        settle_all(now=later)
        later += timedelta(hours=2)
    states = dict(database.read("SELECT state, count(*) FROM usage_report GROUP BY state"))
    assert states == {"settled": 999, "dead": 1}
    told = reports.get("ai-services", "call-500")["error"]
    assert told.startswith("Internal error: poison. See the worker log for the traceback")
    assert database.read("SELECT attempts FROM usage_queue") == [(8,)]
    assert balance(ADA) == 10_000 - 998 * 3 - 123


def test_a_dead_report_is_replayed(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    give(ADA, 10, now=now)
    accept(report(), now=now)
    real = usage._movement

    def broken(it: queue.Report) -> Any:
        raise RuntimeError("poison")

    monkeypatch.setattr(usage, "_movement", broken)
    for hours in range(0, 24, 2):
        settle_all(now=now + timedelta(hours=hours))
    assert reports.get("ai-services", "call-1")["state"] == "dead"
    monkeypatch.setattr(usage, "_movement", real)
    reports.replay("ai-services", "call-1", now=now)
    settle_all(now=now)
    assert (reports.get("ai-services", "call-1")["state"], balance(ADA)) == ("settled", 7)


def test_a_settled_report_cannot_be_replayed(now: datetime) -> None:
    give(ADA, 10, now=now)
    accept(report(), now=now)
    settle_all(now=now)
    with pytest.raises(Conflict, match="settled"):
        reports.replay("ai-services", "call-1", now=now)


def test_drains_at_once_settle_each_report_once(now: datetime) -> None:
    customers = [f"c{n}" for n in range(50)]
    for customer in customers:
        give(customer, 1000, now=now)
    for chunk in range(10):
        accept(*[report(chunk * 100 + n, customer=customers[n % 50]) for n in range(100)], now=now)

    def drain(_: int) -> int:
        try:
            return sum(usage.settle(now=now, limit=37) for _ in range(60))
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(drain, range(8)))
    settle_all(now=now)
    assert database.read("SELECT count(*), sum(units) FROM usage_report WHERE state = 'settled'") == [(1000, 3000)]
    assert sum(balance(customer) for customer in customers) == 50_000 - 3000


def test_rows_under_the_marker_of_a_dead_worker_are_tried_alone(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(*[report(n) for n in range(3)], now=now)
    ids = [id_ for (id_,) in database.read("SELECT report_id FROM usage_queue ORDER BY 1")]
    _leave_a_marker(ids)
    assert usage.settle(now=now) == 1
    assert usage.settle(now=now) == 1
    assert settle_all(now=now) == 1
    assert database.read("SELECT count(*) FROM drain_marker") == [(0,)]


def test_only_a_death_alone_counts_against_a_report(now: datetime) -> None:
    accept(report(), now=now)
    ((report_id,),) = database.read("SELECT report_id FROM usage_queue")
    _leave_a_marker([report_id])
    assert usage.settle(now=now) == 0
    ((attempts, error),) = database.read("SELECT attempts, error FROM usage_queue")
    assert (attempts, error) == (1, dead_letters.DIED)
    assert settle_all(now=now + timedelta(minutes=1)) == 1


def _leave_a_marker(ids: list[int]) -> None:
    """What a worker leaves behind that dies in a drain: a marker whose connection is gone."""
    database.write(
        """INSERT INTO drain_marker (queue, ids, backend_pid, backend_start)
        VALUES ('usage', %s, 1, now() - interval '1 day')""",
        [ids],
    )


def test_a_report_in_a_lane_that_is_just_being_let_go_is_not_left_to_the_sweep(now: datetime) -> None:
    give(ADA, 100, now=now)
    accept(report(), now=now)
    ((lane,),) = database.read("SELECT lane FROM usage_queue")
    held, let_go = threading.Event(), threading.Event()

    def hold_the_lane() -> None:
        def work(conn: Any) -> None:
            assert queue.lock_lane(conn, lane)
            held.set()
            let_go.wait(10)

        database.transaction(work)
        database.release()

    other = threading.Thread(target=hold_the_lane)
    other.start()
    held.wait(10)
    with ThreadPoolExecutor(1) as pool:
        settling = pool.submit(lambda: (usage.settle(now=now), database.release())[0])
        wait_until(lambda: database.read("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        let_go.set()
        assert settling.result() == 1
    other.join()


def test_a_lane_that_is_not_let_go_is_passed_over(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LONGEST_WAIT", "50ms")
    accept(report(), now=now)
    ((lane,),) = database.read("SELECT lane FROM usage_queue")
    with psycopg.connect(settings.database_url) as stopped:
        assert queue.lock_lane(stopped, lane)
        assert usage.settle(now=now) == 0
    assert usage.settle(now=now) == 1


def test_a_price_that_no_account_could_hold_is_refused_by_name(now: datetime) -> None:
    whole = catalog.current()
    dear = replace(app().rates["sms"], units=10**12)
    catalog.use(catalog.Catalog({**whole.apps, "ai-services": replace(app(), rates={"sms": dear})}))
    with pytest.raises(Invalid) as refused:
        accept(report(rate="sms", quantity=10**12), now=now)
    assert [name for name, _ in refused.value.errors] == ["reports[0].quantity"]
