"""The operation log: every operation starts, and then succeeds or fails."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from jobs import usage
from jobs.inbox import events
from jobs.ledger import adjustments, charges, holds, lot_expiry, refunds
from models.catalog import catalog
from models.errors import InsufficientBalance, Invalid
from models.operations import log as operations
from tests.support.posting import APP, grant, take
from tests.support.providers.stripe_events import event, paid_session

MINUTE = timedelta(minutes=1)


def app(slug: str = APP) -> Any:
    return catalog.current()[slug]


def log(slug: str = APP, **filters: Any) -> list[dict[str, Any]]:
    return operations.list_page(slug, **{"limit": 200, **filters})[0]


def told(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The log as (operation, status), the oldest first."""
    return [(line["operation"], line["status"]) for line in reversed(lines)]


def charge(customer: str, units: int, id_: str, now: datetime) -> dict[str, Any]:
    return charges.charge(app(), {"id": id_, "customer": customer, "units": units}, now=now)[0]


def report(customer: str, quantity: int, id_: str, now: datetime, *, slug: str = APP, rate: str = "sms") -> None:
    usage.accept(app(slug), [{"id": id_, "customer": customer, "rate": rate, "quantity": quantity}], now=now)


def purchase(customer: str, pack: str, number: str, now: datetime) -> None:
    sent = event("checkout.session.completed", paid_session(APP, customer, pack, number=number), created=now)
    events.receive(APP, "stripe", sent["id"], sent["type"], orjson.dumps(sent).decode(), now=now)


def all_pages(limit: int, **filters: Any) -> list[dict[str, Any]]:
    lines, cursor = operations.list_page(APP, limit=limit, **filters)
    while cursor is not None:
        more, cursor = operations.list_page(APP, limit=limit, cursor=cursor, **filters)
        assert len(more) <= limit
        lines += more
    return lines


def test_the_log_of_an_app_where_nothing_happened_is_empty(db):
    assert operations.list_page(APP) == ([], None)


def test_a_charge_starts_and_succeeds_with_its_entry(db, now):
    grant("ada", 10, key="purchase:1", now=now - MINUTE, meta={"event": "evt_1"})
    answer = charge("ada", 3, "c1", now)
    success, started = log(operation="CHARGE")
    assert (started["status"], started["customer"], started["timestamp"]) == ("STARTED", "ada", now)
    assert started["details"] == {"key": "charge:c1", "id": "c1", "customer": "ada", "units": 3}
    assert (success["status"], success["details"]["key"]) == ("SUCCESS", "charge:c1")
    assert (success["details"]["entry"], success["details"]["amount"]) == (answer["entry"], -3)
    assert started["error"] is success["error"] is None


def test_a_charge_of_nothing_succeeds_without_an_entry(db, now):
    charge("ada", 0, "c1", now)
    assert told(log()) == [("CHARGE", "STARTED"), ("CHARGE", "SUCCESS")]


def test_a_refused_charge_leaves_its_start_and_its_error(db, now):
    with pytest.raises(InsufficientBalance):
        charge("ada", 3, "c1", now)
    assert told(log()) == [("CHARGE", "STARTED"), ("CHARGE", "ERROR")]
    failed = log(status="ERROR")[0]
    assert (failed["customer"], failed["details"]["id"], failed["error"]["required"]) == ("ada", "c1", 3)


def test_a_usage_report_starts_on_receipt_and_succeeds_when_it_is_settled(db, now):
    grant("ada", 10, key="purchase:1", now=now - MINUTE, meta={"event": "evt_1"})
    report("ada", 2, "r1", now)
    assert told(log()) == [("TRACK_USAGE", "STARTED")]
    usage.settle(now=now + MINUTE)
    assert told(log()) == [("TRACK_USAGE", "STARTED"), ("TRACK_USAGE", "SUCCESS")]
    assert {line["details"]["key"] for line in log()} == {"usage:r1"}


def test_a_report_that_takes_nothing_still_succeeds(db, now):
    report("ada", 2, "r1", now)
    usage.settle(now=now + MINUTE)
    assert told(log()) == [("TRACK_USAGE", "STARTED"), ("TRACK_USAGE", "SUCCESS")]
    assert log(status="SUCCESS")[0]["details"]["shortfall"] == 2


def test_a_purchase_starts_with_its_event_and_succeeds_once_it_is_applied(db, now):
    purchase("ada", "starter", "1", now)
    assert told(log()) == [("PAYMENT", "STARTED")]
    events.apply_pending(now=now + MINUTE)
    assert told(log()) == [("PAYMENT", "STARTED"), ("PAYMENT", "SUCCESS")]
    success = log()[0]
    assert (success["customer"], success["timestamp"]) == ("ada", now + MINUTE)
    assert success["details"]["type"] == "checkout.session.completed"
    (entry,) = success["details"]["entries"]
    assert (entry["type"], entry["amount"]) == ("purchase", 100)


def test_a_purchase_of_an_unknown_pack_ends_in_an_error(db, now):
    purchase("ada", "no-such-pack", "1", now)
    events.apply_pending(now=now + MINUTE)
    assert told(log()) == [("PAYMENT", "STARTED"), ("PAYMENT", "ERROR")]
    assert "no-such-pack" in log(status="ERROR")[0]["error"]["message"]


def test_a_hold_starts_when_it_is_placed_and_succeeds_when_it_ends(db, now):
    grant("ada", 10, key="purchase:1", now=now - MINUTE, meta={"event": "evt_1"})
    for id_ in ("h1", "h2"):
        holds.create(app(), {"id": id_, "customer": "ada", "units": 4}, now=now)
    holds.capture(app(), "h1", {"units": 3}, now=now + MINUTE)
    assert told(log()) == [("HOLD", "STARTED"), ("HOLD", "STARTED"), ("HOLD", "SUCCESS")]
    ended = log()[0]["details"]
    assert (ended["key"], ended["state"], ended["captured"]) == ("hold:h1", "captured", 3)
    holds.release(app(), "h2", now=now + MINUTE)
    assert Counter(told(log())) == {("HOLD", "STARTED"): 2, ("HOLD", "SUCCESS"): 2}


def test_adjustments_and_refunds_start_and_succeed(db, now):
    adjustments.adjust(app(), {"id": "a1", "customer": "ada", "units": 5, "reason": "sorry"}, now=now)
    entry_id = take("ada", 3, key="usage:1", now=now).entry_id
    body = {"id": "f1", "customer": "ada", "entry": entry_id, "reason": "broken"}
    refunds.refund(app(), body, now=now + MINUTE)
    for operation in ("ADJUSTMENT", "REFUND"):
        assert told(log(operation=operation)) == [(operation, "STARTED"), (operation, "SUCCESS")]


def test_what_the_engine_does_by_itself_starts_and_succeeds(db, now):
    grant("ada", 5, key="grant:sub_1:0", now=now, type="subscription_grant", expires_after=MINUTE)
    lot_expiry.expire(now=now + MINUTE)
    expected = [("GRANT", "STARTED"), ("GRANT", "SUCCESS"), ("EXPIRY", "STARTED"), ("EXPIRY", "SUCCESS")]
    assert told(log()) == expected


def busy(now: datetime) -> None:
    """Some of everything, spread over minutes and three customers."""
    for number in range(9):
        at, customer = now + number * MINUTE, ("ada", "bob", "eve")[number % 3]
        purchase(customer, "starter", str(number), at)
        events.apply_pending(now=at)
        report(customer, number, f"r{number}", at)
        charge(customer, 1, f"c{number}", at)
        holds.create(app(), {"id": f"h{number}", "customer": customer, "units": 2}, now=at)
        with pytest.raises(InsufficientBalance):
            charge(customer, 10**9, f"x{number}", at)
        if number % 2:
            while usage.settle(now=at):
                pass
            holds.capture(app(), f"h{number}", {}, now=at)


@pytest.mark.parametrize("limit", [1, 2, 7, 200])
def test_the_pages_together_are_the_whole_log_each_line_once(db, now, limit):
    busy(now)
    lines = all_pages(limit)
    counted = Counter((line["operation"], line["status"]) for line in lines)
    assert counted == {
        ("PAYMENT", "STARTED"): 9,
        ("PAYMENT", "SUCCESS"): 9,
        ("TRACK_USAGE", "STARTED"): 9,
        ("TRACK_USAGE", "SUCCESS"): 8,
        ("CHARGE", "STARTED"): 18,
        ("CHARGE", "SUCCESS"): 9,
        ("CHARGE", "ERROR"): 9,
        ("HOLD", "STARTED"): 9,
        ("HOLD", "SUCCESS"): 4,
    }
    assert len({line["id"] for line in lines}) == len(lines)


def test_a_page_is_in_order_of_time_with_an_end_above_its_start(db, now):
    busy(now)
    lines = log()
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times, reverse=True)
    by_key: dict[str, list[str]] = {}
    for line in lines:
        by_key.setdefault(line["details"].get("key") or line["id"].rpartition(":")[0], []).append(line["status"])
    assert ["SUCCESS", "STARTED"] in by_key.values()
    assert ["ERROR", "STARTED"] in by_key.values()
    assert all("STARTED" not in statuses[:-1] for statuses in by_key.values())


@pytest.mark.parametrize(
    ("limit", "windows"),
    [
        (1, operations.WINDOWS),
        (5, operations.WINDOWS),
        (200, operations.WINDOWS),
        (5, (2, 9)),
        (200, (7,)),
        (200, (1, 99)),
    ],
)
def test_filters_choose_lines_and_lose_none_however_far_one_page_reads(db, now, limit, windows, monkeypatch):
    busy(now)
    whole = all_pages(200)
    monkeypatch.setattr(operations, "WINDOWS", windows)
    for filters in (
        {"customer": "bob"},
        {"status": "ERROR"},
        {"status": "SUCCESS", "customer": "eve"},
        {"operation": "CHARGE"},
        {"operation": "HOLD", "status": "STARTED"},
        {"operation": "PAYMENT", "customer": "ada"},
        {"operation": "TRACK_USAGE", "status": "SUCCESS"},
    ):
        wanted = {line["id"] for line in whole if all(line[name] == value for name, value in filters.items())}
        found = [line["id"] for line in all_pages(limit, **filters)]
        assert wanted
        assert sorted(found) == sorted(wanted), filters


def test_an_operation_that_nothing_is_called_has_no_lines(db, now):
    busy(now)
    assert log(operation="DANCE") == log(operation="DANCE", status="SUCCESS") == log(customer="nobody") == []


def test_the_log_of_one_app_shows_nothing_of_another(db, now):
    busy(now)
    assert log("songs") == []


def test_a_cursor_of_another_list_is_refused(db):
    with pytest.raises(Invalid):
        operations.list_page(APP, cursor="WzFd")
